// Compares the planner's peak with the resident set of the process. A separate daemon gets as much
// memory as the plan states. Its resident set must stay within that, and must come near to it.

#include <cstdio>
#include <fstream>
#include <sstream>

#include "engine/builder.hpp"
#include "support/client.hpp"

namespace outrigger::engine::test {
namespace {

using outrigger::test::Client;
using outrigger::test::DaemonClient;

/// Memory for stacks, the heap's overhead, replies, and code that is read for the first time.
constexpr std::uint64_t slack = 12 * MiB;

/// A line of /proc/<pid>/status, in bytes.
std::uint64_t status(int pid, const std::string& key) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key + ":")) continue;
    std::istringstream rest(line.substr(key.size() + 1));
    std::uint64_t kibibytes = 0;
    rest >> kibibytes;
    return kibibytes * 1024;
  }
  ADD_FAILURE() << "no " << key;
  return 0;
}

/// Sets VmHWM back to VmRSS.
void reset_high_water(int pid) {
  std::ofstream("/proc/" + std::to_string(pid) + "/clear_refs") << "5";
}

struct PeakCase {
  const char* name;
  std::vector<Instruction> body;
  ValueId output;
  /// The smallest share of the planned memory that the run takes: some plans count the worst layout
  /// of operands.
  double share;
};

/// Programs over f32[2048][2048], 16 MiB. No argument has this type: it would count twice.
std::vector<PeakCase> cases() {
  const auto x = iota(0, "f32", {2048, 2048});
  const Attrs first_axis{{"axes", List{0}}};
  const Attrs window{{"window", List{3, 3}}};
  return {
      {"chain", {x, op("multiply", {v(0), real(0.5)}, 1), op("sin", {v(1)}, 2)}, 2, 0.9},
      {"kept",
       {x, op("sin", {v(0)}, 1), op("sort", {v(0)}, 2), op("add", {v(1), v(2)}, 3)},
       3,
       0.7},
      {"transposed", {x, op("transpose", {v(0)}, 1), op("add", {v(0), v(1)}, 2)}, 2, 0.6},
      {"sum", {x, op("sum", {v(0)}, 1, first_axis)}, 1, 0.9},
      {"dot", {x, op("dot", {v(0), v(0)}, 1)}, 1, 0.9},
      {"window", {x, op("window_max", {v(0)}, 1, window)}, 1, 0.9},
      {"argsort", {x, op("argsort", {v(0)}, 1)}, 1, 0.6},
      {"cumulative", {x, op("cumulative_sum", {v(0)}, 1)}, 1, 0.9},
      {"fft", {x, op("fft", {v(0)}, 1)}, 1, 0.7},
  };
}

TEST(Rss, StaysWithinThePlannedPeak) {
  for (const PeakCase& c : cases()) {
    SCOPED_TRACE(c.name);
    Program program{{}, c.body, {c.output}};
    Runner runner;
    const auto plan = runner.plan(program, {}, 2);
    ASSERT_TRUE(plan) << plan.error().text;
    const std::uint64_t planned = (*plan)->peak.bytes;

    const auto connect = [](std::uint64_t limit, int& pid) {
      auto daemon = std::make_unique<DaemonClient>(
          outrigger::test::EngineSettings{.threads = 2, .memory_limit = limit});
      pid = daemon->pid();
      return Client(std::move(daemon));
    };
    int pid = 0;
    {
      Client client = connect(planned - 1, pid);
      const std::uint64_t result = client.new_handle();
      EXPECT_EQ(client.run(program, {}, std::span(&result, 1)).code(), "out_of_memory");
    }
    // A small amount is in use already.
    Client client = connect(planned + MiB, pid);
    // The permanent memory of the first program: code, stacks of the team.
    const std::uint64_t warm = client.new_handle();
    Program small{{}, c.body, {c.output}};
    std::get<std::vector<std::int64_t>>(small.body[0].attrs[1].second) = {64, 64};
    ASSERT_TRUE(client.run(small, {}, std::span(&warm, 1)).ok());
    client.release(std::span(&warm, 1));
    reset_high_water(pid);
    const std::uint64_t before = status(pid, "VmRSS");
    const std::uint64_t result = client.new_handle();
    const auto reply = client.run(program, {}, std::span(&result, 1));
    ASSERT_TRUE(reply.ok()) << reply.text();
    const std::uint64_t grown = status(pid, "VmHWM") - before;
    std::printf("  %-11s planned %4llu MiB, resident %4llu MiB\n", c.name,
                static_cast<unsigned long long>(planned / MiB),
                static_cast<unsigned long long>(grown / MiB));
    EXPECT_LE(grown, planned + slack);
    EXPECT_GE(static_cast<double>(grown), c.share * static_cast<double>(planned));
  }
}

}  // namespace
}  // namespace outrigger::engine::test
