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
#include "engine/planner/plan.hpp"

namespace outrigger::engine {

/// How large a program is when its calls are expanded.
struct Extent {
  std::uint64_t instructions = 0;
  std::uint64_t bytes = 0;    ///< of the program as data, about
  std::uint64_t nesting = 0;  ///< regions and calls inside each other
};

/// The prepared programs of one session, each with its plans for the argument types that it was
/// called with. Both are bounded; the least recently used goes first.
class Programs {
 public:
  /// `threads`: the team that plans are made for.
  Programs(Memory& memory, const Limits& limits, int threads)
      : memory_(memory), limits_(limits), threads_(threads) {}

  /// Replaces a program of the same id. Errors: link's, what check_program finds, limit_exceeded;
  /// calls of a new id then give that error again for a while, so that a client that did not wait
  /// learns the cause.
  Result<void> prepare(std::uint64_t id, Program program);
  /// The same for a program that could not even be read.
  void refuse(std::uint64_t id, const Error& error);
  /// Binds each `call` in the program to the prepared program that it names now: a program can only
  /// call earlier ones, so none calls itself. One that names none stays unbound. Errors:
  /// limit_exceeded if what it calls makes it too large.
  Result<Extent> link(Program& program);
  void forget(std::uint64_t id);
  void clear();
  std::size_t size() const { return index_.size(); }

  /// Errors: unknown_program, prepare's, and what make_plan finds.
  Result<std::shared_ptr<const Plan>> plan(std::uint64_t id, std::span<const TensorType> arguments);

 private:
  class Linker;
  struct Prepared {
    std::uint64_t id = 0;
    std::shared_ptr<const Program> program;
    Extent extent;
    std::vector<std::shared_ptr<const Plan>> plans;  ///< most recently used first
  };
  Memory& memory_;
  const Limits& limits_;
  const int threads_;
  Result<void> check_new(std::uint64_t id, Program& program, Extent& extent);
  /// The program, which now is the most recently used one; null if there is none.
  Prepared* use(std::uint64_t id);

  std::list<Prepared> by_use_;  ///< most recently used first
  std::uint64_t bytes_ = 0;     ///< of all of them
  std::unordered_map<std::uint64_t, std::list<Prepared>::iterator> index_;
  /// Why the latest refused programs were: ids that name no program.
  static constexpr std::size_t refusals_max = 64;
  std::list<std::pair<std::uint64_t, Error>> refusals_;
};

}  // namespace outrigger::engine
