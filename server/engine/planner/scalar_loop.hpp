#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"

namespace outrigger::engine {

struct LoopStep;
struct Plan;

/// A loop over scalars alone. Its values are in cells of one element each, and no tensor is made
/// for them.
struct ScalarLoop {
  using Cell = std::uint32_t;
  using Slot = std::uint32_t;
  struct Op {
    ops::TileFn run = nullptr;
    Cell out = 0;
    std::array<Cell, 3> in{};
  };

  Cell cells = 0;
  /// Values from outside that the regions read.
  std::vector<std::pair<Slot, Cell>> captured;
  /// The cells of the carried values, and the cells of the values that the body gives for them.
  std::vector<Cell> carried;
  std::vector<Cell> given;
  std::vector<Op> condition;
  Cell verdict = 0;
  DType verdict_type = DType::u8;
  std::vector<Op> body;
};

/// The loop without tensors; nothing if it does more than passes over scalars.
std::optional<ScalarLoop> flatten(const LoopStep& loop, const Plan& plan);

/// Carries out the loop. `cells` holds the captured and the carried values. In the end the cells of
/// the carried values hold the results. Errors: cancelled, deadline_exceeded.
Result<void> run(const ScalarLoop& loop, const ops::Interrupt& interrupt, std::span<Bits128> cells);

}  // namespace outrigger::engine
