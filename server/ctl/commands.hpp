#pragma once

#include <functional>

#include "base/error.hpp"

namespace CLI {
class App;
}

namespace outrigger::ctl {

class Connection;

/// A command of the command line.
struct Command {
  /// Prints the result to standard output when that is complete.
  std::function<Result<void>(Connection&)> run;
  /// Without --timeout it takes the time that it needs, once the server has answered hello.
  bool lasting = false;
};

/// Each declares its subcommand. When the command line names it, `chosen` is set.
void add_ping(CLI::App& app, const bool& json, Command& chosen);
void add_info(CLI::App& app, const bool& json, Command& chosen);
void add_checkpoint(CLI::App& app, const bool& json, Command& chosen);
void add_ls(CLI::App& app, const bool& json, Command& chosen);
void add_get(CLI::App& app, const bool& json, Command& chosen);
void add_put(CLI::App& app, const bool& json, Command& chosen);
void add_top(CLI::App& app, const bool& json, Command& chosen);
void add_slowlog(CLI::App& app, const bool& json, Command& chosen);
void add_monitor(CLI::App& app, const bool& json, Command& chosen);
void add_cancel(CLI::App& app, const bool& json, Command& chosen);
void add_kick(CLI::App& app, const bool& json, Command& chosen);
void add_bench(CLI::App& app, const bool& json, Command& chosen);
/// The script for a shell, which has the words of all commands that `app` has then.
void add_completion(CLI::App& app);

}  // namespace outrigger::ctl
