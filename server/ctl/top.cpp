#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
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

/// Counts at one time.
struct Sample {
  std::uint64_t uptime_ms = 0;
  std::uint64_t engine_us = 0;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  std::vector<std::uint64_t> buckets;
  std::map<std::uint64_t, std::uint64_t> of_sessions;  ///< requests by session
};

Sample sample_of(const Told& stats) {
  Sample out;
  out.uptime_ms = stats.natural("uptime_ms").value_or(0);
  out.engine_us = stats.natural("engine_us").value_or(0);
  const auto kinds = stats.at("kinds");
  if (!kinds || !kinds->is(Kind::array)) return out;
  for (const Value item : kinds->items()) {
    const Told kind(item);
    out.requests += kind.natural("count").value_or(0);
    out.errors += kind.natural("errors").value_or(0);
    const auto buckets = kind.at("buckets");
    if (!buckets || !buckets->is(Kind::array)) continue;
    out.buckets.resize(std::max<std::size_t>(out.buckets.size(), buckets->size()));
    std::size_t i = 0;
    for (const Value count : buckets->items())
      out.buckets[i++] += count.is(Kind::unsigned_integer) ? count.natural() : 0;
  }
  return out;
}

/// The time in µs within which this share of the requests between two samples was answered; bucket
/// i ends at 2^i µs. Empty if there was none.
std::string percentile(const Sample& before, const Sample& now, double share) {
  std::vector<std::uint64_t> counts = now.buckets;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (i < before.buckets.size()) counts[i] -= std::min(counts[i], before.buckets[i]);
    total += counts[i];
  }
  if (total == 0) return "–";
  double left = share * static_cast<double>(total);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto count = static_cast<double>(counts[i]);
    if (count >= left && count > 0) {
      const double begin = i == 0 ? 0 : std::ldexp(1, static_cast<int>(i) - 1);
      const double end = std::ldexp(1, static_cast<int>(i));
      return microseconds_text(static_cast<std::uint64_t>(begin + (end - begin) * left / count));
    }
    left -= count;
  }
  return "–";
}

std::string rate_text(std::uint64_t before, std::uint64_t now, double seconds) {
  std::array<char, 32> text{};
  const double rate = seconds > 0 ? static_cast<double>(now - std::min(now, before)) / seconds : 0;
  std::snprintf(text.data(), text.size(), rate < 10 ? "%.1f" : "%.0f", rate);
  return text.data();
}

std::string running_text(const Told& session) {
  const auto running = session.at("running");
  if (!running || !running->is(Kind::map)) return "";
  const Told told(running);
  return told.text("kind") + " " + told.count("request") + " for " + told.microseconds("us");
}

/// The sessions of all pages, as an array of JSON, and as rows of a table.
struct Sessions {
  std::string json = "[";
  std::vector<std::vector<std::string>> rows{
      {"SESSION", "TOKEN", "PEER", "REQUESTS", "/S", "QUEUE", "TENSORS", "SIZE", "RUNNING"}};
};

Result<Sessions> read_sessions(Connection& connection, const Sample& before, Sample& now,
                               double seconds) {
  Sessions out;
  std::uint64_t after = 0;
  for (bool more = true; more;) {
    OUTRIGGER_TRY(const Reply reply, connection.request("sessions", {{"after", after}}));
    const Told told(reply.value());
    const auto sessions = told.at("sessions");
    if (!sessions || !sessions->is(Kind::array))
      return fail(ErrorCode::bad_frame, "the reply has no sessions");
    more = told.flag("more") && sessions->size() > 0;
    for (const Value item : sessions->items()) {
      const Told session(item);
      out.json += (out.json.size() > 1 ? ", " : "") + to_json(item);
      const std::uint64_t number = session.natural("session").value_or(0);
      const std::uint64_t requests = session.natural("requests").value_or(0);
      const auto had = before.of_sessions.find(number);
      now.of_sessions[number] = requests;
      out.rows.push_back(
          {session.count("session"), session.text("token"), session.text("peer"),
           session.count("requests"),
           rate_text(had == before.of_sessions.end() ? 0 : had->second, requests, seconds),
           session.count("queue"), session.count("tensors"), session.bytes("bytes"),
           running_text(session)});
      after = std::max(after, number);
    }
  }
  out.json += ']';
  return out;
}

std::string head_text(const Told& info, const Told& stats, const Sample& before, const Sample& now,
                      double seconds) {
  const Told memory(info.at("memory"));
  const std::string limit = memory.count("limit") == "0" ? "no limit" : memory.bytes("limit");
  const double busy =
      seconds > 0 ? static_cast<double>(now.engine_us - std::min(now.engine_us, before.engine_us)) /
                        seconds / 1e4
                  : 0;
  return table(
      {{"uptime", info.duration("uptime_ms")},
       {"memory", memory.bytes("used") + " of " + limit + ", peak " + memory.bytes("peak")},
       {"engine", std::to_string(static_cast<int>(std::lround(std::min(busy, 100.0)))) +
                      " % busy, " + stats.count("queue") + " requests wait"},
       {"requests", rate_text(before.requests, now.requests, seconds) + "/s, " +
                        rate_text(before.errors, now.errors, seconds) + " errors/s, " +
                        stats.count("slow") + " slow since the start"},
       {"answered", "50 % within " + percentile(before, now, 0.5) + ", 90 % within " +
                        percentile(before, now, 0.9) + ", 99 % within " +
                        percentile(before, now, 0.99)}});
}

Result<void> show(Connection& connection, Sample& before, bool json, bool terminal) {
  OUTRIGGER_TRY(const Reply info_reply, connection.request("info"));
  OUTRIGGER_TRY(const Reply stats_reply, connection.request("stats"));
  const Told info_told(info_reply.value());
  const Told stats(stats_reply.value());
  Sample now = sample_of(stats);
  const double seconds = static_cast<double>(now.uptime_ms - before.uptime_ms) / 1000;
  OUTRIGGER_TRY(const Sessions sessions, read_sessions(connection, before, now, seconds));
  if (json) {
    std::printf("{\"info\": %s, \"stats\": %s, \"sessions\": %s}\n",
                to_json(info_reply.value()).c_str(), to_json(stats_reply.value()).c_str(),
                sessions.json.c_str());
  } else {
    // Home, and clear below: so the picture does not flicker.
    std::printf("%s%s\n%s%s", terminal ? "\x1b[H\x1b[J" : "",
                head_text(info_told, stats, before, now, seconds).c_str(),
                columns(sessions.rows).c_str(), terminal ? "" : "\n");
  }
  before = std::move(now);
  if (std::fflush(stdout) != 0) return fail(ErrorCode::io_error, "cannot write the output");
  return {};
}

/// The first picture has the rates since the server's start.
Result<void> top(Connection& connection, double interval, std::uint64_t count, bool json) {
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  Sample before;
  for (std::uint64_t shown = 0; count == 0 || shown < count; ++shown) {
    if (shown > 0) std::this_thread::sleep_for(std::chrono::duration<double>(interval));
    OUTRIGGER_CHECK(show(connection, before, json, terminal));
  }
  return {};
}

}  // namespace

void add_top(CLI::App& app, const bool& json, Command& chosen) {
  static double interval = 2;
  static std::uint64_t pictures = 0;
  CLI::App* command = app.add_subcommand(
      "top", "Show sessions, rates, times and memory, again and again; Ctrl+C ends it");
  command->add_option("--interval", interval, "Seconds between two pictures")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_option("--count", pictures, "End after so many pictures; 0: never")
      ->capture_default_str();
  command->callback([&] {
    chosen = {[&json](Connection& server) { return top(server, interval, pictures, json); }, true};
  });
}

}  // namespace outrigger::ctl
