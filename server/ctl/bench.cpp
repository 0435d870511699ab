#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <msgpack.hpp>

#include <CLI/CLI.hpp>

#include "ctl/arguments.hpp"
#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/deadline.hpp"
#include "ctl/pipeline.hpp"
#include "ctl/text.hpp"

namespace outrigger::ctl {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t called_tensor = 1;  ///< the handle of the calls' tensor
constexpr std::uint64_t large = 2;          ///< the handle of the transfers' tensor
constexpr std::uint64_t program = 1;

struct Options {
  std::uint64_t calls = 20'000;
  std::uint64_t pipeline = 64;
  std::uint64_t mebibytes = 256;
};

struct Figures {
  std::vector<double> ping_us;  ///< in the order of their size
  std::vector<double> call_us;
  double calls_per_s = 0;
  double upload_mb_per_s = 0;
  double download_mb_per_s = 0;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Result<void> nothing(std::uint64_t, const Reply&) { return {}; }

/// A program that adds 1 to its parameter in place, and has no outputs.
Packed add_one() {
  msgpack::sbuffer buffer;
  msgpack::packer<msgpack::sbuffer> packer(buffer);
  packer.pack_map(3);
  packer.pack("params");
  packer.pack_array(1);
  packer.pack(0);
  packer.pack("body");
  packer.pack_array(1);
  packer.pack_map(4);
  packer.pack("op");
  packer.pack("add");
  packer.pack("in");
  packer.pack_array(2);
  packer.pack(0);
  packer.pack_map(1);
  packer.pack("number");
  packer.pack(1.0);
  packer.pack("out");
  packer.pack_array(1);
  packer.pack(1);
  packer.pack("in_place");
  packer.pack(true);
  packer.pack("outputs");
  packer.pack_array(0);
  return Packed({buffer.data(), buffer.size()});
}

Arguments call_arguments() {
  return {{"program_id", program},
          {"args", std::vector<std::uint64_t>{called_tensor}},
          {"results", std::vector<std::uint64_t>{}}};
}

/// The times of requests that each wait for the reply to the one before.
Result<std::vector<double>> round_trips(Connection& connection, std::uint64_t count,
                                        std::string_view kind, const Arguments& arguments) {
  std::vector<double> times;
  times.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto start = Clock::now();
    OUTRIGGER_CHECK(connection.request(kind, arguments));
    times.push_back(seconds_since(start) * 1e6);
  }
  std::sort(times.begin(), times.end());
  return times;
}

Result<void> measure_calls(Connection& connection, const Options& options, Figures& figures) {
  const std::vector<float> zeros(4);
  OUTRIGGER_CHECK(connection.request("upload", {{"handle", called_tensor},
                                                {"dtype", "f32"},
                                                {"shape", std::vector<std::uint64_t>{4}},
                                                {"offset", std::uint64_t{0}},
                                                {"data", std::as_bytes(std::span(zeros))}}));
  OUTRIGGER_CHECK(connection.request("prepare", {{"program_id", program}, {"program", add_one()}}));
  const Arguments call = call_arguments();
  OUTRIGGER_TRY(figures.call_us, round_trips(connection, options.calls, "call", call));
  const auto start = Clock::now();
  OUTRIGGER_CHECK(pipeline(
      connection, options.calls, options.pipeline,
      [&](std::uint64_t) { return connection.send("call", call); }, nothing));
  figures.calls_per_s = static_cast<double>(options.calls) / seconds_since(start);
  return {};
}

Result<void> measure_transfers(Connection& connection, const Options& options, Figures& figures) {
  OUTRIGGER_TRY(const std::uint64_t chunk, chunk_of(connection));
  const std::uint64_t bytes = options.mebibytes << 20;
  const std::vector<std::byte> data(std::min(bytes, chunk));
  const auto length = [&](std::uint64_t i) { return std::min(chunk, bytes - i * chunk); };
  const std::uint64_t chunks = (bytes + chunk - 1) / chunk;
  auto start = Clock::now();
  OUTRIGGER_CHECK(pipeline(
      connection, chunks, chunks_in_flight,
      [&](std::uint64_t i) {
        return connection.send("upload", {{"handle", large},
                                          {"dtype", "u8"},
                                          {"shape", std::vector<std::uint64_t>{bytes}},
                                          {"offset", i * chunk},
                                          {"data", std::span(data).first(length(i))}});
      },
      nothing));
  figures.upload_mb_per_s = static_cast<double>(bytes) / 1e6 / seconds_since(start);
  start = Clock::now();
  OUTRIGGER_CHECK(pipeline(
      connection, chunks, chunks_in_flight,
      [&](std::uint64_t i) {
        return connection.send("download",
                               {{"handle", large}, {"offset", i * chunk}, {"length", length(i)}});
      },
      nothing));
  figures.download_mb_per_s = static_cast<double>(bytes) / 1e6 / seconds_since(start);
  return {};
}

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[96];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string times_text(const std::vector<double>& sorted) {
  return formatted("p50 %.1f µs, p99 %.1f µs", quantile(sorted, 0.5), quantile(sorted, 0.99));
}

void print(const Options& options, const Figures& figures, bool json) {
  if (json) {
    std::printf(
        "{\"ping_p50_us\": %.1f, \"ping_p99_us\": %.1f, \"call_p50_us\": %.1f, "
        "\"call_p99_us\": %.1f, \"pipeline\": %llu, \"calls_per_s\": %.0f, "
        "\"upload_mb_per_s\": %.1f, \"download_mb_per_s\": %.1f}\n",
        quantile(figures.ping_us, 0.5), quantile(figures.ping_us, 0.99),
        quantile(figures.call_us, 0.5), quantile(figures.call_us, 0.99),
        static_cast<unsigned long long>(options.pipeline), figures.calls_per_s,
        figures.upload_mb_per_s, figures.download_mb_per_s);
    return;
  }
  const std::string pipelined = "calls, " + std::to_string(options.pipeline) + " in flight";
  std::fputs(table({{"round trip of ping", times_text(figures.ping_us)},
                    {"round trip of a call", times_text(figures.call_us)},
                    {pipelined, formatted("%.0f/s", figures.calls_per_s)},
                    {"upload", formatted("%.0f MB/s", figures.upload_mb_per_s)},
                    {"download", formatted("%.0f MB/s", figures.download_mb_per_s)}})
                 .c_str(),
             stdout);
}

Result<void> bench(Connection& connection, const Options& options, bool json) {
  now_doing("measuring");
  Figures figures;
  OUTRIGGER_TRY(figures.ping_us, round_trips(connection, options.calls, "ping", {}));
  OUTRIGGER_CHECK(measure_calls(connection, options, figures));
  OUTRIGGER_CHECK(measure_transfers(connection, options, figures));
  print(options, figures, json);
  return {};
}

}  // namespace

void add_bench(CLI::App& app, const bool& json, Command& chosen) {
  static Options options;
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure round trips, calls of a prepared program that adds to 4 numbers, and transfers");
  command->add_option("--calls", options.calls, "Pings and calls of each measurement")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  command->add_option("--pipeline", options.pipeline, "Calls that are in flight at the same time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--size", options.mebibytes, "MiB of the tensor that is transferred")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->callback([&] {
    chosen = {[&json](Connection& server) { return bench(server, options, json); }, true};
  });
}

}  // namespace outrigger::ctl
