#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "ctl/arguments.hpp"
#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/json.hpp"
#include "ctl/text.hpp"
#include "ctl/told.hpp"

namespace outrigger::ctl {

namespace {

using wire::Kind;
using wire::Value;

/// The ops of a slow program, the most frequent ones first: `add 7, sum 1`.
std::string ops_text(const Told& entry) {
  constexpr std::size_t shown = 4;
  std::string out;
  const auto ops = entry.at("ops");
  if (!ops || !ops->is(Kind::map)) return out;
  std::size_t count = 0;
  for (const auto& [name, uses] : ops->entries()) {
    if (count++ == shown) return out + ", …";
    if (!uses.is(Kind::unsigned_integer)) continue;
    out += (out.empty() ? "" : ", ") + printable(name) + " " + std::to_string(uses.natural());
  }
  return out;
}

std::vector<std::string> slow_row(Value value) {
  const Told entry(value);
  const std::string code = entry.text("code");
  return {entry.time("at_ms"),          entry.count("session"),     entry.text("token"),
          entry.count("request"),       entry.text("kind"),         entry.microseconds("wait_us"),
          entry.microseconds("run_us"), code.empty() ? "ok" : code, ops_text(entry)};
}

Result<void> slow_log(Connection& connection, std::uint64_t limit, bool json) {
  OUTRIGGER_TRY(const Reply reply, connection.request("slowlog", {{"limit", limit}}));
  const Told told(reply.value());
  const auto entries = told.at("entries");
  if (!entries || !entries->is(Kind::array))
    return fail(ErrorCode::bad_frame, "the reply has no entries");
  if (json) {
    std::printf("%s\n", to_json(*entries).c_str());
    return {};
  }
  if (entries->size() == 0) {
    std::printf("no request has run for %s or longer\n", told.microseconds("slow_us").c_str());
    return {};
  }
  std::vector<std::vector<std::string>> rows{
      {"ENDED", "SESSION", "TOKEN", "REQUEST", "KIND", "WAITED", "RAN", "RESULT", "OPS"}};
  for (const Value entry : entries->items()) rows.push_back(slow_row(entry));
  std::fputs(columns(rows).c_str(), stdout);
  return {};
}

}  // namespace

void add_slowlog(CLI::App& app, const bool& json, Command& chosen) {
  static std::uint64_t limit = 20;
  CLI::App* command =
      app.add_subcommand("slowlog", "Show the last requests that ran for long, the newest first");
  command->add_option("--limit", limit, "Requests, at most")
      ->check(CLI::Range(1, 128))
      ->capture_default_str();
  command->callback(
      [&] { chosen = {[&json](Connection& server) { return slow_log(server, limit, json); }}; });
}

}  // namespace outrigger::ctl
