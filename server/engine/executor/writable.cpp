#include "engine/executor/writable.hpp"

#include <algorithm>

#include "ops/pass/pass.hpp"

namespace outrigger::engine {

bool repeats_elements(const Tensor& tensor) {
  if (tensor.size() == 0) return false;
  for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    if (tensor.strides[axis] == 0 && tensor.shape()[axis] > 1) return true;
  }
  return false;
}

Result<Tensor> compact_copy(ops::Context& context, const Tensor& tensor) {
  OUTRIGGER_TRY(Tensor copy, allocate_tensor(context.memory, tensor.type));
  OUTRIGGER_CHECK(ops::copy_tensor(context, tensor, copy));
  return copy;
}

bool has_too_large_buffer(const Tensor& tensor) {
  constexpr std::size_t any_tensor_may_keep = 4096;
  const auto needed = static_cast<std::size_t>(byte_count(tensor.type));
  return tensor.storage->buffer->bytes() > std::max(2 * needed, any_tensor_may_keep);
}

Result<Tensor> as_value(ops::Context& context, const Tensor& tensor) {
  if (has_too_large_buffer(tensor)) return compact_copy(context, tensor);
  return view_of(tensor, tensor.type, tensor.strides, tensor.offset, false);
}

Result<void> make_writable(ops::Context& context, Tensor& tensor) {
  if (tensor.storage->unique() && (!tensor.storage->buffer->unique() || repeats_elements(tensor))) {
    OUTRIGGER_TRY(tensor, compact_copy(context, tensor));
  } else if (!tensor.storage->buffer->unique()) {
    // Other windows onto this Storage must see the copy: the whole buffer is copied.
    const auto bytes = static_cast<std::int64_t>(tensor.storage->buffer->bytes());
    const Tensor whole{TensorType{DType::u8, {bytes}}, {1}, 0, tensor.storage};
    OUTRIGGER_TRY(const Tensor copy, compact_copy(context, whole));
    tensor.storage->buffer = copy.storage->buffer;
  }
  return {};
}

}  // namespace outrigger::engine
