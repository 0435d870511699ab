#include "files/c_order.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace outrigger::files {
namespace {

/// The rows and the columns of a square that is moved in one step, so that whole cache lines are
/// read and written.
constexpr std::int64_t block = 32;

std::uint8_t swapped(std::uint8_t x) { return x; }
std::uint16_t swapped(std::uint16_t x) { return __builtin_bswap16(x); }
std::uint32_t swapped(std::uint32_t x) { return __builtin_bswap32(x); }
std::uint64_t swapped(std::uint64_t x) { return __builtin_bswap64(x); }
Bits128 swapped(Bits128 x) { return {swapped(x.high), swapped(x.low)}; }

Dims fortran_strides(const Dims& shape) {
  Dims strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/// A matrix whose columns are contiguous in `from` and whose rows are contiguous in `to`.
template <typename T>
void transpose(const T* from, std::int64_t column_stride, T* to, std::int64_t row_stride,
               std::int64_t rows, std::int64_t columns) {
  for (std::int64_t row = 0; row < rows; row += block) {
    const std::int64_t row_end = std::min(row + block, rows);
    for (std::int64_t column = 0; column < columns; column += block) {
      const std::int64_t column_end = std::min(column + block, columns);
      for (std::int64_t i = row; i < row_end; ++i) {
        for (std::int64_t j = column; j < column_end; ++j) {
          to[i * row_stride + j] = from[i + j * column_stride];
        }
      }
    }
  }
}

/// Goes to the next index of the axes between the first and the last. Returns false after the last
/// index.
bool advance(Dims& index, const Dims& shape) {
  for (std::size_t axis = shape.size() - 1; axis-- > 1;) {
    if (++index[axis] < shape[axis]) return true;
    index[axis] = 0;
  }
  return false;
}

std::int64_t offset_of(const Dims& index, const Dims& strides) {
  std::int64_t offset = 0;
  for (std::size_t axis = 0; axis < index.size(); ++axis) offset += index[axis] * strides[axis];
  return offset;
}

template <typename T>
void copy_to_c_order(const T* from, T* to, const Dims& shape) {
  const Dims from_strides = fortran_strides(shape);
  const Dims to_strides = contiguous_strides(shape);
  Dims index(shape.size());
  do {
    transpose(from + offset_of(index, from_strides), from_strides.back(),
              to + offset_of(index, to_strides), to_strides[0], shape[0], shape.back());
  } while (advance(index, shape));
}

}  // namespace

void swap_bytes(std::span<std::byte> elements, DType dtype) {
  with_width(is_complex(dtype) ? size_of(dtype) / 2 : size_of(dtype), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* first = reinterpret_cast<T*>(elements.data());
    std::transform(first, first + elements.size() / sizeof(T), first,
                   [](T x) { return swapped(x); });
  });
}

Result<Tensor> c_order_from_fortran(Memory& memory, Tensor from) {
  Dims shape;
  for (const std::int64_t dim : from.shape()) {
    if (dim != 1) shape.push_back(dim);
  }
  if (shape.size() < 2 || from.size() == 0) return from;
  OUTRIGGER_TRY(Tensor to, allocate_tensor(memory, from.type));
  with_width(size_of(from.dtype()), [&](auto tag) {
    using T = typename decltype(tag)::type;
    copy_to_c_order(from.as<const T>(), to.as<T>(), shape);
  });
  return to;
}

}  // namespace outrigger::files
