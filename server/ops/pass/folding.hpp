#pragma once

#include <cstdint>

#include "tensor/dims.hpp"

namespace outrigger::ops {

class Reducer;

/// The folding of a shape: an order of its axes in which they are [outer][reduced][inner].
struct Folding {
  Dims order;
  std::int64_t outer = 1;
  std::int64_t reduced = 1;
  std::int64_t inner = 1;

  friend bool operator==(const Folding&, const Folding&) = default;
};

/// The reduction of an operand along some axes.
struct Reduction {
  const Reducer* reducer = nullptr;
  Folding folding;
};

}  // namespace outrigger::ops
