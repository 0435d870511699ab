#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "engine/plan.hpp"

namespace outrigger::engine {

/// The prepared programs of one session, each with its plans for the argument types that it was
/// called with. Both are bounded; the least recently used goes first.
class Programs {
 public:
  /// `threads`: the team that plans are made for.
  Programs(Memory& memory, const Limits& limits, int threads)
      : memory_(memory), limits_(limits), threads_(threads) {}

  /// Replaces a program of the same id. Errors: what check_program finds; calls of a new id then
  /// give that error again for a while, so that a client that did not wait learns the cause.
  Result<void> prepare(std::uint64_t id, Program program);
  void forget(std::uint64_t id);
  void clear();
  std::size_t size() const { return index_.size(); }

  /// Errors: unknown_program, prepare's, and what make_plan finds.
  Result<std::shared_ptr<const Plan>> plan(std::uint64_t id, std::span<const TensorType> arguments);

 private:
  struct Prepared {
    std::uint64_t id = 0;
    std::shared_ptr<const Program> program;
    std::vector<std::shared_ptr<const Plan>> plans;  ///< most recently used first
  };
  Memory& memory_;
  const Limits& limits_;
  const int threads_;
  std::list<Prepared> by_use_;  ///< most recently used first
  std::unordered_map<std::uint64_t, std::list<Prepared>::iterator> index_;
  /// Why the latest refused programs were: ids that name no program.
  static constexpr std::size_t refusals_max = 64;
  std::list<std::pair<std::uint64_t, Error>> refusals_;
};

}  // namespace outrigger::engine
