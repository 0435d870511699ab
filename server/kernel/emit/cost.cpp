#include "kernel/emit/cost.hpp"

namespace outrigger::kernel {
namespace {

/// Operations that take longer than others. An element may be in no cache.
std::int64_t cost_of(What what) {
  if (what == What::load || what == What::store) return 4;
  if (what == What::quotient || what == What::remainder) return 16;
  if (what >= What::exp && what <= What::atanh) return 64;
  if (what == What::pow || what == What::atan2) return 64;
  if (what == What::sqrt || what == What::divide) return 4;
  return 1;
}

class Sum {
 public:
  Sum(const Kernel& kernel, const std::vector<Work>& kernels)
      : kernel_(kernel), kernels_(kernels) {}

  void block(std::uint32_t number) {
    for (const std::uint32_t at : kernel_.blocks[number]) statement(kernel_.nodes[at]);
  }
  void expression(std::uint32_t at) {
    const Node& n = kernel_.nodes[at];
    work.cost += cost_of(n.what);
    // The conversion of a large float is a call.
    if (n.what == What::as && is_integer(n.type)) work.cost += 8;
    if (n.what == What::size) return;
    for (const std::uint32_t operand : n.operands) expression(operand);
    if (n.what == What::call) work += kernels_[n.at];
    for (const Argument& argument : n.arguments) {
      if (!argument.is_tensor) expression(argument.at);
      for (const std::uint32_t index : argument.indices) expression(index);
    }
  }

  Work work;

 private:
  void statement(const Node& n) {
    work.cost += cost_of(n.what);
    switch (n.what) {
      case What::if_:
        expression(n.operands[0]);
        block(n.operands[1]);
        block(n.operands[2]);
        return;
      case What::while_:
        work.loops = true;
        block(n.operands[0]);
        expression(n.operands[1]);
        block(n.operands[2]);
        return;
      case What::for_:
        work.loops = true;
        for (std::size_t i = 0; i < 3; ++i) expression(n.operands[i]);
        block(n.operands[3]);
        return;
      case What::give:
        expression(n.operands[0]);
        return;
      default:
        for (const std::uint32_t operand : n.operands) expression(operand);
    }
  }

  const Kernel& kernel_;
  const std::vector<Work>& kernels_;
};

}  // namespace

Work work_of_block(const Kernel& kernel, std::uint32_t block, const std::vector<Work>& kernels) {
  Sum sum(kernel, kernels);
  sum.block(block);
  return sum.work;
}

Work work_of_expression(const Kernel& kernel, std::uint32_t expression,
                        const std::vector<Work>& kernels) {
  Sum sum(kernel, kernels);
  sum.expression(expression);
  return sum.work;
}

Work work_of_kernel(const Kernel& kernel, const std::vector<Work>& kernels) {
  Sum sum(kernel, kernels);
  sum.block(static_cast<std::uint32_t>(kernel.blocks.size() - 1));
  // To clear 64 bytes takes as long as an operation.
  for (const Array& array : kernel.local)
    sum.work.cost += array.dims.front().plus * bytes_of(array.type) / 64;
  return sum.work;
}

}  // namespace outrigger::kernel
