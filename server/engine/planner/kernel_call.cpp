#include "engine/planner/kernel_call.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "engine/planner/plan.hpp"
#include "kernel/check.hpp"

namespace outrigger::engine {
namespace {

using kernel::Mode;
using kernel::Param;

/// True if a dtype of kernels has every number of the class. All numbers of a class have the same
/// answer, so that a plan fits all of them.
bool fits(const NumberClass& number, kernel::Type type) {
  constexpr std::uint8_t real = 2;
  if (number.kind > real) return false;
  if (kernel::is_float(type)) return true;
  if (number.kind == real) return false;
  const auto bits = static_cast<std::uint64_t>(8 * kernel::bytes_of(type));
  if (kernel::is_unsigned(type)) return !number.negative && number.bits <= bits;
  return number.bits < bits;
}

class Inference {
 public:
  Inference(const kernel::Machine& machine, std::span<const ops::InferOperand> operands,
            std::span<const std::uint32_t> path)
      : machine_(machine), head_(machine.head()), operands_(operands), path_(path) {}

  Result<KernelCall> run() {
    std::size_t tensor = 0;
    for (const Param& param : head_.params) {
      std::string_view name;
      if (param.mode != Mode::scalar) name = head_.tensors[tensor++];
      if (param.mode != Mode::fresh) OUTRIGGER_CHECK(operand(param, name));
    }
    auto dims = kernel::bind_dims(head_, given_, false);
    if (!dims) return refuse(ErrorCode::bad_shape, dims.error());
    for (const kernel::Type type : head_.results) call_.results.push_back({dtype_of(type), {}});
    std::vector<kernel::Sizes> shapes;
    auto next = given_.begin();
    for (const Param& param : head_.params) {
      if (param.mode == Mode::scalar) continue;
      if (param.mode != Mode::fresh) {
        shapes.push_back(std::move(*next++));
        continue;
      }
      TensorType& type = call_.results.emplace_back(TensorType{dtype_of(param.type), {}});
      for (const kernel::Dim& dim : param.dims) type.shape.push_back(kernel::size_of(dim, *dims));
      if (auto fine = check_shape(type.shape, size_of(type.dtype)); !fine)
        return refuse(fine.error().code, fine.error().text);
      shapes.emplace_back(type.shape.begin(), type.shape.end());
    }
    call_.memory = machine_.memory_for(shapes);
    // A tensor of bytes holds it.
    constexpr std::uint64_t memory_max = std::uint64_t{1} << 62;
    if (call_.memory > memory_max)
      return refuse(ErrorCode::bad_shape, "its scratch memory has more than 2^62 bytes");
    return std::move(call_);
  }

 private:
  tl::unexpected<Error> refuse(ErrorCode code, std::string_view text) const {
    return tl::make_unexpected(kernel_error(code, head_.name, text, path_));
  }

  Result<void> operand(const Param& param, std::string_view name) {
    const std::size_t position = call_.operands.size();
    const ops::InferOperand& given = operands_[position];
    const DType dtype = dtype_of(param.type);
    call_.operands.push_back(dtype);
    const bool scalar = param.mode == Mode::scalar;
    const std::size_t rank = scalar ? 0 : param.dims.size();
    std::string wanted = scalar ? "operand " + std::to_string(position) + " must be a number of "
                                : std::string(name) + " must be a tensor of ";
    wanted += name_of(dtype);
    if (!scalar) wanted += " with " + std::to_string(rank) + (rank == 1 ? " axis" : " axes");
    if (given.literal != nullptr) {
      if (!scalar) return refuse(ErrorCode::bad_shape, wanted + ", got a number");
      if (!fits(class_of(*given.literal), param.type))
        return refuse(ErrorCode::bad_dtype, wanted + ", and the given number is none");
      return {};
    }
    const TensorType& type = given.type;
    if (type.dtype != dtype)
      return refuse(ErrorCode::bad_dtype, wanted + ", got " + to_string(type) + ": cast it before");
    if (type.shape.size() != rank)
      return refuse(ErrorCode::bad_shape, wanted + ", got " + to_string(type));
    if (!scalar) given_.emplace_back(type.shape.begin(), type.shape.end());
    return {};
  }

  const kernel::Machine& machine_;
  const kernel::Kernel& head_;
  std::span<const ops::InferOperand> operands_;
  std::span<const std::uint32_t> path_;
  std::vector<kernel::Sizes> given_;
  KernelCall call_;
};

}  // namespace

DType dtype_of(kernel::Type type) {
  constexpr std::array dtypes{DType::u8,  DType::u8,  DType::u16, DType::u32, DType::u64, DType::s8,
                              DType::s16, DType::s32, DType::s64, DType::f32, DType::f64};
  return dtypes.at(static_cast<std::size_t>(type));
}

std::size_t kernel_results(const kernel::Kernel& head, bool in_place) {
  const auto named = std::count_if(head.params.begin(), head.params.end(), [&](const Param& param) {
    return param.mode == Mode::fresh || (param.mode == Mode::mut && !in_place);
  });
  return head.results.size() + static_cast<std::size_t>(named);
}

std::vector<std::uint32_t> written_operands(const kernel::Kernel& head) {
  std::vector<std::uint32_t> written;
  std::uint32_t position = 0;
  for (const Param& param : head.params) {
    if (param.mode == Mode::mut) written.push_back(position);
    if (param.mode != Mode::fresh) ++position;
  }
  return written;
}

Result<KernelCall> infer_kernel(const kernel::Machine& machine,
                                std::span<const ops::InferOperand> operands,
                                std::span<const std::uint32_t> path) {
  return Inference(machine, operands, path).run();
}

}  // namespace outrigger::engine
