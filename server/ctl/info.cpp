#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/json.hpp"
#include "ctl/text.hpp"
#include "ctl/told.hpp"

namespace outrigger::ctl {

namespace {

using wire::Kind;
using wire::Value;

std::string with_quota(const std::string& use, const std::string& quota) {
  return quota.empty() ? use : use + " of " + quota;
}

/// One line: all that the sessions of a token have together, and its quotas.
std::string tenant_text(const Told& tenant) {
  const Told quotas(tenant.at("quotas"));
  std::string text = with_quota(tenant.count("sessions"), quotas.count("sessions")) + " sessions, ";
  text += with_quota(tenant.bytes("bytes"), quotas.bytes("bytes")) + ", ";
  text += with_quota(tenant.count("handles"), quotas.count("handles")) + " handles, ";
  text += with_quota(tenant.count("programs"), quotas.count("programs")) + " programs, ";
  text += tenant.duration("engine_ms") + " of engine time";
  if (const std::string minute = quotas.duration("minute_ms"); !minute.empty())
    text += " (this minute " + with_quota(tenant.duration("minute_ms"), minute) + ")";
  return text + ", priority " + tenant.count("priority");
}

/// Rows for the tokens that the server tells this one of.
void add_tenants(const Told& info, std::vector<std::pair<std::string, std::string>>& rows) {
  const auto tenants = info.at("tenants");
  if (!tenants || !tenants->is(Kind::array)) return;
  for (const Value item : tenants->items()) {
    const Told tenant(item);
    const std::string token = tenant.text("token");
    rows.emplace_back(token.empty() ? "all clients" : "token " + token, tenant_text(tenant));
  }
}

std::string limit_text(const Told& memory) {
  return memory.count("limit") == "0" ? "none" : memory.bytes("limit");
}

/// The reply about the process and all sessions, then about this connection. A session of
/// outriggerctl holds nothing, so only --json has its counts.
std::string as_table(Value hello_map, Value info_map) {
  const Told hello(hello_map);
  const Told info(info_map);
  const Told memory(info.at("memory"));
  const Told connection(info.at("connection"));
  const Told checkpoint(info.at("checkpoint"));
  std::vector<std::pair<std::string, std::string>> rows{
      {"server", hello.text("server")},
      {"epoch", hello.count("epoch")},
      {"process", hello.count("os_pid")},
      {"uptime", info.duration("uptime_ms")},
      {"threads", hello.count("threads")},
      {"instruction set", hello.text("isa")},
      {"pass compiler", info.text("compiler")},
      {"machine code", info.bytes("code_bytes")},
      {"memory limit", limit_text(memory)},
      {"memory used", memory.bytes("used")},
      {"memory peak", memory.bytes("peak")},
      {"memory pooled", memory.bytes("pooled")},
      {"memory kept", memory.bytes("kept")},
      {"memory kept limit", memory.bytes("kept_limit")},
      {"last checkpoint", checkpoint.time("taken_at_ms")},
      {"checkpoint names",
       checkpoint.natural("number").value_or(0) == 0 ? "" : checkpoint.count("names")},
      {"checkpoint lacks", checkpoint.flag("changed") ? "later changes" : ""},
      {"checkpoint error", checkpoint.text("error")},
      {"sessions", connection.count("sessions")},
      {"this session", connection.count("session")},
      {"transport", connection.text("transport")},
      {"peer", connection.text("peer")},
      {"token", connection.text("token")},
      {"rights", connection.list("rights")},
  };
  add_tenants(info, rows);
  std::erase_if(rows, [](const auto& row) { return row.second.empty(); });
  return table(rows);
}

/// The entries of both replies, as the protocol names them.
std::string as_json(Value hello, Value info) {
  std::string out;
  for (const Value reply : {hello, info}) {
    for (const auto& [key, value] : reply.entries()) {
      if (key == "id" || key == "status") continue;
      out += (out.empty() ? "{" : ", ") + json_string(key) + ": " + to_json(value);
    }
  }
  return out + "}\n";
}

Result<void> info(Connection& connection, bool json) {
  OUTRIGGER_TRY(const Reply reply, connection.request("info"));
  const Value hello = connection.hello().value();
  const std::string text = json ? as_json(hello, reply.value()) : as_table(hello, reply.value());
  std::fputs(text.c_str(), stdout);
  return {};
}

}  // namespace

void add_info(CLI::App& app, const bool& json, Command& chosen) {
  app.add_subcommand("info", "Show the server's memory, threads and limits, and this connection")
      ->callback([&] { chosen = {[&json](Connection& server) { return info(server, json); }}; });
}

}  // namespace outrigger::ctl
