#pragma once

#include <cstdint>
#include <vector>

#include "kernel/check.hpp"

namespace outrigger::kernel {

/// About how many simple operations a part of a kernel takes; a loop's body counts once.
struct Work {
  std::int64_t cost = 0;
  bool loops = false;  ///< it has a loop, or calls a kernel that has one

  Work& operator+=(const Work& other) {
    cost += other.cost;
    loops = loops || other.loops;
    return *this;
  }
};

/// The work of a block. `kernels` is that of the kernels before.
Work work_of_block(const Kernel& kernel, std::uint32_t block, const std::vector<Work>& kernels);
/// The work of an expression.
Work work_of_expression(const Kernel& kernel, std::uint32_t expression,
                        const std::vector<Work>& kernels);
/// The work of a whole kernel, without the clearing of scratch.
Work work_of_kernel(const Kernel& kernel, const std::vector<Work>& kernels);

}  // namespace outrigger::kernel
