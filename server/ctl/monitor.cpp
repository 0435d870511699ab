#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/json.hpp"
#include "ctl/text.hpp"
#include "ctl/told.hpp"

namespace outrigger::ctl {

namespace {

std::string event_text(const Told& event) {
  const std::string token = event.text("token");
  const std::string code = event.text("code");
  return event.time("at_ms") + "  session " + event.count("session") +
         (token.empty() ? "" : " (" + token + ")") + "  " + event.text("kind") + " " +
         event.count("request") + "  waited " + event.microseconds("wait_us") + ", ran " +
         event.microseconds("run_us") + (code.empty() ? "" : "  " + code);
}

Result<void> watch_requests(Connection& connection, std::uint64_t count, bool json) {
  OUTRIGGER_CHECK(connection.request("monitor"));
  for (std::uint64_t seen = 0; count == 0 || seen < count; ++seen) {
    OUTRIGGER_TRY(const Reply event, connection.next_event());
    const Told told(event.value());
    if (json) {
      std::printf("%s\n", to_json(event.value()).c_str());
    } else {
      const std::uint64_t dropped = told.natural("dropped").value_or(0);
      if (dropped > 0)
        std::printf("%llu requests are not shown: this client reads too slowly\n",
                    static_cast<unsigned long long>(dropped));
      std::printf("%s\n", event_text(told).c_str());
    }
    if (std::fflush(stdout) != 0) return fail(ErrorCode::io_error, "cannot write the output");
  }
  return {};
}

}  // namespace

void add_monitor(CLI::App& app, const bool& json, Command& chosen) {
  static std::uint64_t count = 0;
  CLI::App* command = app.add_subcommand(
      "monitor", "Show each request of other sessions when it is done; Ctrl+C ends it");
  command->add_option("--count", count, "End after so many requests; 0: never")
      ->capture_default_str();
  command->callback([&] {
    chosen = {[&json](Connection& server) { return watch_requests(server, count, json); }, true};
  });
}

}  // namespace outrigger::ctl
