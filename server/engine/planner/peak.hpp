#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace outrigger::engine {

struct Plan;
class PlanningSteps;
struct Step;

/// A bound of the memory that a run takes on top of its arguments.
struct Peak {
  /// Bytes of values and of the ops' temporaries.
  std::uint64_t bytes = 0;
  /// For each argument, the number of writes in place that come after a view of it was made. Each
  /// such write copies the argument's buffer. Only the store knows the size of that buffer.
  std::vector<std::uint32_t> argument_copies;
};

/// Dead scalars whose memory a run keeps for new ones.
inline constexpr std::size_t spare_scalars_max = 16;

/// The properties of an argument that the peak depends on.
struct ArgumentLayout {
  bool plain = false;  ///< in C order
  bool apart = false;  ///< no other argument has its buffer
  /// Bytes of its buffer, if only the run holds it: it was donated.
  std::uint64_t donated = 0;
};

/// For each step, the peak from the start of the run to the end of the step.
using StepPeaks = std::unordered_map<const Step*, std::uint64_t>;

/// Follows a run of the plan step by step, by the sources of the steps' results, and gives an upper
/// bound. A result takes the memory of an operand here only where the plan alone shows that it
/// will. `layouts` are those of the arguments, `threads` is the size of the team. Fills `by_step`,
/// if there is one. Throws PlanningInterrupted.
Peak find_peak(const Plan& plan, const std::vector<ArgumentLayout>& layouts, int threads,
               PlanningSteps& steps, StepPeaks* by_step = nullptr);

/// Sums of sizes that a hostile program may name.
constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a + b < a ? ~std::uint64_t{0} : a + b;
}

}  // namespace outrigger::engine
