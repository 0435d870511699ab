#pragma once

#include <cstdint>
#include <span>

#include "engine/executor/execute.hpp"
#include "engine/planner/plan.hpp"
#include "ops/support/context.hpp"

namespace outrigger::engine {

/// Assertions about a run: each step keeps to the plan, and the run leaves nothing behind. They
/// find mistakes of the planner, of the executor and of the ops, and depend on no data of a client.
/// A build without assertions has none of them.
#ifdef NDEBUG

class RunChecks {
 public:
  RunChecks(const ops::Context&, const Plan&, std::span<const Tensor>) {}
  void after(const Step&, std::span<const Tensor>) {}
  void at_end(const Outcome&, std::span<const StoragePtr>) const {}
};

#else

class RunChecks {
 public:
  /// At the start of a run: the arguments in `frame` are those that the plan was made for. Resets
  /// the watermark of the memory.
  RunChecks(const ops::Context& context, const Plan& plan, std::span<const Tensor> frame);

  /// After a step, when its dead slots are dropped: the results have the planned types and lie in
  /// their buffers, no other value sees memory that the step wrote, and the run has taken no more
  /// memory than the plan says.
  void after(const Step& step, std::span<const Tensor> frame);

  /// When the run's values are gone: the memory that it took is that of its results, and of the
  /// arguments that it wrote. `arguments` are the storages of those that the run did not take over.
  void at_end(const Outcome& outcome, std::span<const StoragePtr> arguments) const;

 private:
  const Memory& memory_;
  const Plan& plan_;
  const std::uint64_t used_before_;
  StepPeaks peaks_;
  /// The largest of the peaks of the steps that have run. A turn of a loop comes after steps that
  /// stand behind its first one.
  std::uint64_t peak_ = 0;
  /// Bytes of the copies of arguments that the run writes, at most.
  std::uint64_t copies_ = 0;
};

#endif

}  // namespace outrigger::engine
