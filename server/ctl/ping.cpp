#include <chrono>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/json.hpp"
#include "ctl/text.hpp"

namespace outrigger::ctl {

namespace {

Result<void> ping(Connection& connection, bool json) {
  const auto start = std::chrono::steady_clock::now();
  OUTRIGGER_CHECK(connection.request("ping"));
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - start;
  const auto server = find(connection.hello().value(), "server");
  const std::string name =
      server && server->is(wire::Kind::string) ? std::string(server->string()) : "the server";
  if (json)
    std::printf("{\"server\": %s, \"round_trip_ms\": %.3f}\n", json_string(name).c_str(),
                taken.count());
  else
    std::printf("%s answered in %.3f ms\n", printable(name).c_str(), taken.count());
  return {};
}

}  // namespace

void add_ping(CLI::App& app, const bool& json, Command& chosen) {
  app.add_subcommand("ping", "Ask for a sign of life, which a busy server gives at once")
      ->callback([&] { chosen = {[&json](Connection& server) { return ping(server, json); }}; });
}

}  // namespace outrigger::ctl
