#pragma once

#include <string>
#include <string_view>

#include "wire/value.hpp"

namespace outrigger::ctl {

/// A value as JSON, on one line. Binaries and floats that JSON does not have become null.
std::string to_json(wire::Value value);

/// The string in quotes.
std::string json_string(std::string_view text);

}  // namespace outrigger::ctl
