#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/program.hpp"
#include "support/random.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::test {

/// A value that an instruction may use.
struct Known {
  ValueId id = 0;
  TensorType type;
};

/// Draws shapes that meet: axes of 0, 1 and few other sizes, or of one large one.
class Shapes {
 public:
  explicit Shapes(Random& random);
  Dims draw(Random& random) const;
  std::int64_t size(Random& random) const { return any_of(random, sizes_); }

 private:
  std::vector<std::int64_t> sizes_;
};

/// An element at random: special values of the dtype now and then, small numbers, any bits.
void draw_element(Random& random, DType dtype, std::byte* element);

/// A random instruction of any op but `while` and `cond`, with results from `next` on. It fits its
/// operands more often than not.
Instruction draw_instruction(Random& random, const Shapes& shapes, std::span<const Known> known,
                             ValueId next);

/// Instructions that put what is made of windows of a value into that value, changed a little: a
/// step of a stencil. Their results are `next` and those behind it.
std::vector<Instruction> draw_stencil(Random& random, const Known& known, ValueId next);

}  // namespace outrigger::test
