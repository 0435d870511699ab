#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/planner/plan.hpp"
#include "wire/reply.hpp"

namespace outrigger::engine {

/// The bytes that the step reads and writes at least. An update touches the bytes of its operands
/// twice, those of the target aside: it reads them, and writes them into the target. `frame` has
/// the values of the run by slot.
std::uint64_t bytes_moved(const Step& step, const Plan& plan, std::span<const Tensor> frame);

/// The costs of the steps of one run. Only a run that asks for them is measured.
class Profile {
 public:
  using Clock = std::chrono::steady_clock;

  /// Calls `run`, which carries out the step, and counts it with so many bytes. The time of steps
  /// inside of it counts for them only.
  template <typename Run>
  auto measure(const Step& step, std::uint64_t bytes, Run&& run) {
    const Clock::duration outside = inside_;
    inside_ = {};
    const auto begin = Clock::now();
    auto result = run();
    const Clock::duration elapsed = Clock::now() - begin;
    Cost& cost = costs_[&step];
    cost.calls += 1;
    cost.bytes += bytes;
    cost.time += elapsed - inside_;
    inside_ = outside + elapsed;
    return result;
  }

  /// The steps of the plan that have run, in its order; if there are many, those that took longest.
  /// They point into the plan.
  std::vector<wire::StepProfile> steps(const Plan& plan) const;

 private:
  struct Cost {
    std::uint64_t calls = 0;
    std::uint64_t bytes = 0;
    Clock::duration time{};
  };
  void collect(const StepBlock& block, std::vector<wire::StepProfile>& out) const;

  std::unordered_map<const Step*, Cost> costs_;
  /// Time of the steps measured inside of the one that is running.
  Clock::duration inside_{};
};

}  // namespace outrigger::engine
