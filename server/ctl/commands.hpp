#pragma once

#include <functional>

#include "base/error.hpp"

namespace CLI {
class App;
}

namespace outrigger::ctl {

class Connection;

/// A command of the command line. It prints its result to standard output when that is complete.
using Command = std::function<Result<void>(Connection&)>;

/// Each declares its subcommand. When the command line names it, `chosen` is set.
void add_ping(CLI::App& app, const bool& json, Command& chosen);
void add_info(CLI::App& app, const bool& json, Command& chosen);
void add_checkpoint(CLI::App& app, const bool& json, Command& chosen);

}  // namespace outrigger::ctl
