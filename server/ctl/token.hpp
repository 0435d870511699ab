#pragma once

#include <istream>
#include <optional>
#include <string>

#include "base/error.hpp"

namespace outrigger::ctl {

/// The token of a text that has it alone on a line, or of a list as the daemon's `--token-file`
/// has it (`NAME RIGHTS TOKEN`): that of its first line. Empty lines, and those that begin with
/// `#`, do not count. The text of an error has no token.
Result<std::string> read_token(std::istream& text);

/// The token of the file, or without one of the variable OUTRIGGER_TOKEN, or of the file that
/// OUTRIGGER_TOKEN_FILE names; none if there is none of them.
Result<std::optional<std::string>> find_token(const std::string& file);

}  // namespace outrigger::ctl
