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

std::string shape_text(const Told& told) {
  std::string out;
  const auto shape = told.at("shape");
  if (!shape || !shape->is(Kind::array)) return out;
  for (const Value dim : shape->items()) {
    if (dim.is(Kind::unsigned_integer))
      out += (out.empty() ? "" : ",") + std::to_string(dim.natural());
  }
  return "[" + out + "]";
}

std::vector<std::string> row_of(Value name) {
  const Told told(name);
  return {told.text("name"),       told.text("dtype") + shape_text(told),
          told.bytes("bytes"),     told.count("version"),
          told.duration("ttl_ms"), told.text("token")};
}

/// The server tells at most 1,000 names at a time.
Result<void> list(Connection& connection, const std::string& prefix, bool json) {
  std::vector<std::vector<std::string>> rows{
      {"NAME", "TYPE", "SIZE", "VERSION", "ENDS IN", "TOKEN"}};
  std::string after;
  std::string array;
  for (bool more = true; more;) {
    Arguments arguments{{"prefix", prefix}};
    if (!after.empty()) arguments.add("after", after);
    OUTRIGGER_TRY(const Reply reply, connection.request("names", arguments));
    const Told told(reply.value());
    const auto names = told.at("names");
    if (!names || !names->is(Kind::array))
      return fail(ErrorCode::bad_frame, "the reply has no names");
    more = told.flag("more") && names->size() > 0;
    for (const Value name : names->items()) {
      const auto text = find(name, "name");
      if (!text || !text->is(Kind::string))
        return fail(ErrorCode::bad_frame, "the reply has a tensor without a name");
      after = text->string();
      if (json) {
        array += (array.empty() ? "[" : ",\n ") + to_json(name);
      } else {
        rows.push_back(row_of(name));
      }
    }
  }
  if (json)
    std::puts(array.empty() ? "[]" : (array + "]").c_str());
  else
    std::fputs(columns(rows).c_str(), stdout);
  return {};
}

}  // namespace

void add_ls(CLI::App& app, const bool& json, Command& chosen) {
  static std::string prefix;
  CLI::App* command = app.add_subcommand("ls", "List the published tensors");
  command->add_option("prefix", prefix, "Only names that begin with it");
  command->callback(
      [&] { chosen = {[&json](Connection& server) { return list(server, prefix, json); }}; });
}

}  // namespace outrigger::ctl
