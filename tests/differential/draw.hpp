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

/// Draws shapes that can be broadcast together: axes of 0, 1 and few other sizes, or of one large
/// size.
class Shapes {
 public:
  explicit Shapes(Random& random);
  Dims draw(Random& random) const;
  std::int64_t size(Random& random) const { return any_of(random, sizes_); }

 private:
  std::vector<std::int64_t> sizes_;
};

/// Draws an element: a special value of the dtype in some cases, a small number, or any bits.
void draw_element(Random& random, DType dtype, std::byte* element);

/// A random instruction of any op except `while` and `cond`, with results from `next` on. In most
/// cases it is valid for its operands.
Instruction draw_instruction(Random& random, const Shapes& shapes, std::span<const Known> known,
                             ValueId next);

/// Instructions for a step of a stencil: they compute from windows of a value, and put the result
/// into that value at other positions. Their results are `next` and the ids after it.
std::vector<Instruction> draw_stencil(Random& random, const Known& known, ValueId next);

}  // namespace outrigger::test
