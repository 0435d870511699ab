#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/executor/execute.hpp"

/// The parts that the programs that compare the engine with a limit share.

namespace outrigger::bench {

inline int threads() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

[[noreturn]] inline void give_up(const Error& error) {
  std::fprintf(stderr, "%s\n", error.text.c_str());
  std::exit(1);
}

template <typename T>
T value(tl::expected<T, Error> result) {
  if (!result) give_up(result.error());
  return std::move(*result);
}

inline Operand v(ValueId id) { return id; }
inline Operand number(std::int64_t i) { return Number{i}; }
inline Operand number(double x) { return Number{x}; }

inline Instruction op(std::string name, std::vector<Operand> in, ValueId out, Attrs attrs = {},
                      bool in_place = false) {
  return Instruction{std::move(name), std::move(in), {out}, std::move(attrs), {}, in_place};
}

/// A program with its arguments, for many runs.
class Bound {
 public:
  Bound(Memory& memory, Program program, std::vector<Tensor> arguments)
      : memory_(memory), arguments_(std::move(arguments)) {
    std::vector<TensorType> types;
    for (const Tensor& tensor : arguments_) types.push_back(tensor.type);
    plan_ = value(engine::make_plan(memory, std::make_shared<const Program>(std::move(program)),
                                    types, {.threads = threads()}));
  }

  void run() {
    ops::Context context{memory_, interrupt_, threads(), scratch_};
    engine::Outcome outcome = engine::execute(context, *plan_, arguments_);
    if (outcome.error) give_up(*outcome.error);
    benchmark::DoNotOptimize(outcome.results.data());
  }

 private:
  Memory& memory_;
  std::vector<Tensor> arguments_;
  std::shared_ptr<const engine::Plan> plan_;
  ops::Interrupt interrupt_;
  std::vector<std::byte> scratch_;
};

/// One line of the table: the engine and its limit.
struct Row {
  std::string name;
  std::string against;
  double goal;  ///< largest ratio of the times
  /// True if each side has a second measurement with twice the turns. The differences of the two
  /// measurements are then compared, so that work that happens once (the first copy) does not
  /// count.
  bool slope = false;
};

struct Suite {
  std::vector<Row> rows;

  void add(const Row& row, std::function<void()> ours, std::function<void()> limit) {
    rows.push_back(row);
    add_side(row.name + "/ours", std::move(ours));
    add_side(row.name + "/limit", std::move(limit));
  }

  static void add_side(const std::string& name, std::function<void()> work) {
    const auto measure = [work = std::move(work)](benchmark::State& state) {
      for (auto _ : state) work();
    };
    benchmark::RegisterBenchmark(name.c_str(), measure)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond)
        ->MinTime(0.15)
        ->Repetitions(7);
  }
};

/// Keeps the fastest repetition of each benchmark.
class Fastest : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      const std::string& name = run.run_name.function_name;
      const double ms = run.GetAdjustedRealTime();
      const auto [entry, fresh] = times_.emplace(name, ms);
      if (!fresh) entry->second = std::min(entry->second, ms);
    }
  }
  bool has(const Row& row) const { return times_.contains(row.name + "/ours"); }
  double of(const Row& row, const std::string& side) const {
    const double once = times_.at(row.name + side);
    return row.slope ? times_.at(row.name + side + "/twice") - once : once;
  }

 private:
  std::map<std::string, double> times_;
};

inline void report(const Suite& suite, const Fastest& fastest, const char* title,
                   const char* json_path) {
  std::printf("%s, %d threads; the fastest of 7 interleaved repetitions\n\n", title, threads());
  std::printf("%-34s %10s %10s %8s %8s  %s\n", "", "ours ms", "limit ms", "ratio", "goal",
              "against");
  std::ofstream json(json_path);
  json << "[";
  const char* separator = "\n";
  for (std::size_t i = 0; i < suite.rows.size(); ++i) {
    const Row& row = suite.rows[i];
    if (!fastest.has(row)) continue;  // --benchmark_filter has excluded it
    const double ours = fastest.of(row, "/ours");
    const double limit = fastest.of(row, "/limit");
    std::printf("%-34s %10.3f %10.3f %8.2f %8.2f  %s%s\n", row.name.c_str(), ours, limit,
                ours / limit, row.goal, row.against.c_str(),
                ours / limit > row.goal ? "  << missed" : "");
    json << separator << "  {\"name\": \"" << row.name << "\", \"ours_ms\": " << ours
         << ", \"limit_ms\": " << limit << ", \"goal\": " << row.goal << "}";
    separator = ",\n";
  }
  json << "\n]\n";
}

}  // namespace outrigger::bench
