// `cancel` and `kick`: they end a request, or a connection, of another client.

#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "ctl/arguments.hpp"
#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/told.hpp"

namespace outrigger::ctl {

namespace {

/// `missing` is the error if the server has not found it, `done` what is printed if it has.
Result<void> end_it(Connection& connection, std::string_view kind, const Arguments& arguments,
                    const std::string& missing, const std::string& done, bool json) {
  OUTRIGGER_TRY(const Reply reply, connection.request(kind, arguments));
  if (!Told(reply.value()).flag("found")) return fail(ErrorCode::bad_value, missing);
  std::puts(json ? "{\"found\": true}" : done.c_str());
  return {};
}

}  // namespace

void add_cancel(CLI::App& app, const bool& json, Command& chosen) {
  static std::uint64_t session = 0;
  static std::uint64_t request = 0;
  CLI::App* command =
      app.add_subcommand("cancel", "End a request of a session, as top or monitor names it");
  command->add_option("session", session, "The number of the session")->required();
  command->add_option("request", request, "The id of the request")->required();
  command->callback([&] {
    chosen = {[&json](Connection& server) {
      const std::string what = "request " + std::to_string(request);
      const std::string whose = "session " + std::to_string(session);
      return end_it(server, "cancel", {{"request", request}, {"session", session}},
                    whose + " has no pending " + what, what + " of " + whose + " is cancelled",
                    json);
    }};
  });
}

void add_kick(CLI::App& app, const bool& json, Command& chosen) {
  static std::uint64_t session = 0;
  CLI::App* command =
      app.add_subcommand("kick", "End the connection of a session, and free its tensors");
  command->add_option("session", session, "The number of the session")->required();
  command->callback([&] {
    chosen = {[&json](Connection& server) {
      const std::string whose = "session " + std::to_string(session);
      return end_it(server, "kick", {{"session", session}}, "there is no " + whose,
                    whose + " is ended", json);
    }};
  });
}

}  // namespace outrigger::ctl
