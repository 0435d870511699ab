#include <cstdio>

#include <CLI/CLI.hpp>

#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/json.hpp"
#include "ctl/told.hpp"

namespace outrigger::ctl {

namespace {

Result<void> checkpoint(Connection& connection, bool json) {
  OUTRIGGER_TRY(const Reply reply, connection.request("checkpoint"));
  const auto map = find(reply.value(), "checkpoint");
  if (!map || !map->is(wire::Kind::map))
    return fail(ErrorCode::bad_frame, "the reply has no checkpoint");
  const Told told(map);
  if (json)
    std::printf("%s\n", to_json(*map).c_str());
  else if (told.natural("number") == 0U)
    std::puts("nothing was ever published: there is nothing to keep");
  else
    std::printf("checkpoint %s of %s: %s names, %s written in %s ms\n",
                told.count("number").c_str(), told.time("taken_at_ms").c_str(),
                told.count("names").c_str(), told.bytes("bytes").c_str(),
                told.count("duration_ms").c_str());
  return {};
}

}  // namespace

void add_checkpoint(CLI::App& app, const bool& json, Command& chosen) {
  app.add_subcommand("checkpoint",
                     "Write what has changed in published tensors to the server's data folder;\n"
                     "--timeout limits only the wait")
      ->callback(
          [&] { chosen = {[&json](Connection& server) { return checkpoint(server, json); }}; });
}

}  // namespace outrigger::ctl
