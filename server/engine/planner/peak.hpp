#pragma once

#include <cstdint>
#include <vector>

namespace outrigger::engine {

struct Plan;
class PlanningSteps;

/// What a run may take on top of its arguments, at most.
struct Peak {
  /// Bytes of values and of the ops' temporaries.
  std::uint64_t bytes = 0;
  /// By argument: how often the program writes it in place after having made a view of it. Each
  /// such write copies the argument's buffer, whose size only the store knows.
  std::vector<std::uint32_t> argument_copies;
};

/// Scalars whose memory a run keeps for others, at most.
inline constexpr std::size_t spare_scalars_max = 16;

/// What is known of an argument.
struct ArgumentLayout {
  bool plain = false;  ///< in C order
  bool apart = false;  ///< no other argument has its buffer
  /// Bytes of its buffer, if only the run holds it: it was donated.
  std::uint64_t donated = 0;
};

/// Follows a run of the plan step by step, as an upper bound: work in place counts only where the
/// plan alone shows that it will happen. `layouts` are those of the arguments, `threads` is the
/// size of the team. Throws PlanningInterrupted.
Peak find_peak(const Plan& plan, const std::vector<ArgumentLayout>& layouts, int threads,
               PlanningSteps& steps);

/// Sums of sizes that a hostile program may name.
constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a + b < a ? ~std::uint64_t{0} : a + b;
}

}  // namespace outrigger::engine
