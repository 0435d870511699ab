#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <boost/smart_ptr/intrusive_ptr.hpp>

#include "base/error.hpp"
#include "tensor/dims.hpp"
#include "tensor/dtype.hpp"
#include "tensor/memory.hpp"

namespace outrigger {

/// The dtype and the shape: all data of a tensor that inference uses.
struct TensorType {
  DType dtype = DType::f32;
  Dims shape;

  friend bool operator==(const TensorType&, const TensorType&) = default;
};

/// The type as users write it: "f32[344][403]".
std::string to_string(const TensorType& type);
std::string to_string(std::span<const std::int64_t> dims);

/// The number of elements of a shape that has passed check_shape.
std::int64_t element_count(std::span<const std::int64_t> shape);
inline std::int64_t byte_count(const TensorType& type) {
  return element_count(type.shape) * static_cast<std::int64_t>(size_of(type.dtype));
}

/// Errors: bad_shape for a negative dimension, more than rank_max axes, or more than 2^63 bytes.
Result<void> check_shape(std::span<const std::int64_t> shape, std::size_t element_bytes);

/// The strides, in elements, of a tensor in C order.
Dims contiguous_strides(std::span<const std::int64_t> shape);

/// The identity of a handle's memory: mutable views share a Storage, so that a write through one is
/// visible in all. Values that share only bytes (views, copies that have not been made yet) have
/// one Storage each over one Buffer. A write through one of them first gives its Storage a new
/// Buffer.
struct Storage {
  BufferPtr buffer;
  std::atomic<std::uint32_t> references{0};
  /// Handles of several sessions may refer to it: only sessions with the right to publish write.
  bool published = false;

  bool unique() const { return references.load(std::memory_order_acquire) == 1; }
  friend void intrusive_ptr_add_ref(Storage* storage) {
    storage->references.fetch_add(1, std::memory_order_relaxed);
  }
  friend void intrusive_ptr_release(Storage* storage) {
    if (storage->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete storage;
  }
};
using StoragePtr = boost::intrusive_ptr<Storage>;

/// A typed, strided window onto a Storage.
struct Tensor {
  TensorType type;
  Dims strides;             ///< in elements; 0 for broadcast, negative for reversed axes
  std::int64_t offset = 0;  ///< position of the first element, in elements
  StoragePtr storage;

  DType dtype() const { return type.dtype; }
  const Dims& shape() const { return type.shape; }
  std::int64_t size() const { return element_count(type.shape); }
  std::byte* data() const {
    return storage->buffer->data() + offset * static_cast<std::int64_t>(size_of(type.dtype));
  }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data());
  }
  bool contiguous() const;

  /// True if no other tensor refers to the bytes of this tensor.
  bool unique() const { return storage->unique() && storage->buffer->unique(); }
};

/// A new tensor in C order, whose elements are not initialised. Errors: out_of_memory.
Result<Tensor> allocate_tensor(Memory& memory, TensorType type);

/// The same elements under another type and layout: as a value (with a Storage of its own) or, if
/// `mutable_view`, as a window onto the same Storage.
Tensor view_of(const Tensor& base, TensorType type, const Dims& strides, std::int64_t offset,
               bool mutable_view);

/// True if the two windows may share bytes, and do not have each element at the same address.
bool overlap_differently(const Tensor& a, const Tensor& b);

}  // namespace outrigger
