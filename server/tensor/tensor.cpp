#include "tensor/tensor.hpp"

#include <limits>
#include <utility>

#include "base/limits.hpp"

namespace outrigger {

std::string to_string(std::span<const std::int64_t> dims) {
  std::string text;
  for (const std::int64_t dim : dims) text.append("[").append(std::to_string(dim)).append("]");
  return text.empty() ? "[]" : text;
}

std::string to_string(const TensorType& type) {
  std::string text{name_of(type.dtype)};
  return type.shape.empty() ? text : text + to_string(type.shape);
}

std::int64_t element_count(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t dim : shape) count *= dim;
  return count;
}

Result<void> check_shape(std::span<const std::int64_t> shape, std::size_t element_bytes) {
  if (shape.size() > Limits::rank_max) {
    return fail(ErrorCode::bad_shape, "a shape may have at most " +
                                          std::to_string(Limits::rank_max) + " axes, got " +
                                          std::to_string(shape.size()));
  }
  // The product without the zeros must fit, too, because strides are computed from it.
  std::int64_t bytes = static_cast<std::int64_t>(element_bytes);
  for (const std::int64_t dim : shape) {
    if (dim < 0)
      return fail(ErrorCode::bad_shape, "negative dimension in shape " + to_string(shape));
    if (dim == 0) continue;
    if (bytes > std::numeric_limits<std::int64_t>::max() / 2 / dim) {
      return fail(ErrorCode::bad_shape, "shape " + to_string(shape) + " is too large");
    }
    bytes *= dim;
  }
  return {};
}

Dims contiguous_strides(std::span<const std::int64_t> shape) {
  Dims strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

bool Tensor::contiguous() const {
  std::int64_t expected = 1;
  for (std::size_t axis = type.shape.size(); axis-- > 0;) {
    if (type.shape[axis] == 0) return true;
    if (type.shape[axis] != 1 && strides[axis] != expected) return false;
    expected *= type.shape[axis];
  }
  return true;
}

Result<Tensor> allocate_tensor(Memory& memory, TensorType type) {
  OUTRIGGER_TRY(BufferPtr buffer, memory.allocate(static_cast<std::size_t>(byte_count(type))));
  StoragePtr storage(new Storage);
  storage->buffer = std::move(buffer);
  Dims strides = contiguous_strides(type.shape);
  return Tensor{std::move(type), std::move(strides), 0, std::move(storage)};
}

Tensor view_of(const Tensor& base, TensorType type, const Dims& strides, std::int64_t offset,
               bool mutable_view) {
  StoragePtr storage = base.storage;
  if (!mutable_view) {
    storage = StoragePtr(new Storage);
    storage->buffer = base.storage->buffer;
  }
  return Tensor{std::move(type), strides, offset, std::move(storage)};
}

namespace {

/// The memory from the first to the last element in address order: its begin and its end.
std::pair<const std::byte*, const std::byte*> extent(const Tensor& tensor) {
  std::int64_t before = 0;
  std::int64_t behind = 1;
  for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    const std::int64_t reach = (tensor.shape()[axis] - 1) * tensor.strides[axis];
    (reach < 0 ? before : behind) += reach;
  }
  const auto width = static_cast<std::int64_t>(size_of(tensor.dtype()));
  return {tensor.data() + before * width, tensor.data() + behind * width};
}

}  // namespace

bool overlap_differently(const Tensor& a, const Tensor& b) {
  if (a.storage->buffer != b.storage->buffer || a.size() == 0 || b.size() == 0) return false;
  const bool same = a.offset == b.offset && a.strides == b.strides && a.shape() == b.shape() &&
                    size_of(a.dtype()) == size_of(b.dtype());
  if (same) return false;
  const auto [a_begin, a_end] = extent(a);
  const auto [b_begin, b_end] = extent(b);
  return a_begin < b_end && b_begin < a_end;
}

}  // namespace outrigger
