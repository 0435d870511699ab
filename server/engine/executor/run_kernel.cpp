#include "engine/executor/run_kernel.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/planner/kernel_call.hpp"
#include "kernel/check.hpp"
#include "kernel/interpret.hpp"

namespace outrigger::engine {
namespace {

using kernel::Mode;

ErrorCode code_of(kernel::FailureCode code) {
  switch (code) {
    case kernel::FailureCode::bad_index:
      return ErrorCode::bad_index;
    case kernel::FailureCode::bad_value:
      return ErrorCode::bad_value;
    case kernel::FailureCode::bad_shape:
      return ErrorCode::bad_shape;
    case kernel::FailureCode::raised:
    case kernel::FailureCode::interrupted:
      break;
  }
  return ErrorCode::raised;
}

kernel::TensorView view_of(const Tensor& tensor) {
  return {tensor.data(),
          {tensor.shape().begin(), tensor.shape().end()},
          {tensor.strides.begin(), tensor.strides.end()}};
}

std::span<std::byte> bytes_of(const Tensor& tensor) {
  return {tensor.data(), static_cast<std::size_t>(byte_count(tensor.type))};
}

}  // namespace

Result<void> check_apart(const Step& step, const KernelStep& kind, std::span<const Tensor> in) {
  const kernel::Kernel& head = kind.machine->head();
  for (const std::uint32_t written : written_operands(head)) {
    for (std::size_t other = 0; other < in.size(); ++other) {
      if (other == written || in[other].shape().empty() || in[other].storage != in[written].storage)
        continue;
      return tl::make_unexpected(
          kernel_error(ErrorCode::bad_program, head.name,
                       "operands " + std::to_string(std::min<std::size_t>(written, other)) +
                           " and " + std::to_string(std::max<std::size_t>(written, other)) +
                           " share one memory, and the kernel writes one of them in place",
                       step.path));
    }
  }
  return {};
}

Result<void> run_kernel(ops::Context& context, const Step& step, const KernelStep& kind,
                        std::span<const Tensor> in, std::span<const Tensor> out) {
  const kernel::Machine& machine = *kind.machine;
  const kernel::Kernel& head = machine.head();
  OUTRIGGER_TRY(
      const Tensor memory,
      allocate_tensor(context.memory, {DType::u8, {static_cast<std::int64_t>(kind.memory)}}));
  std::vector<std::uint64_t> scalars;
  std::vector<kernel::TensorView> tensors;
  std::size_t fresh = head.results.size();
  std::size_t written = fresh;
  for (const kernel::Param& param : head.params) written += param.mode == Mode::fresh ? 1 : 0;
  std::size_t given = 0;
  for (const kernel::Param& param : head.params) {
    if (param.mode == Mode::scalar) {
      scalars.push_back(kernel::read_cell(in[given++].data(), param.type));
    } else if (param.mode == Mode::in) {
      tensors.push_back(view_of(in[given++]));
    } else if (param.mode == Mode::mut) {
      tensors.push_back(view_of(out[written++]));
      ++given;
    } else {
      if (!kernel::clear(bytes_of(out[fresh]), context.interrupt))
        return tl::make_unexpected(context.interrupt.error());
      tensors.push_back(view_of(out[fresh++]));
    }
  }
  auto results = machine.run({scalars, tensors, bytes_of(memory), context.interrupt});
  if (!results) {
    kernel::Failure& failure = results.error();
    if (failure.code == kernel::FailureCode::interrupted)
      return tl::make_unexpected(context.interrupt.error());
    return tl::make_unexpected(kernel_error(code_of(failure.code), failure.kernel, failure.text,
                                            step.path, {std::move(failure.file), failure.line}));
  }
  for (std::size_t i = 0; i < results->size(); ++i)
    kernel::write_cell(out[i].data(), head.results[i], (*results)[i]);
  return {};
}

}  // namespace outrigger::engine
