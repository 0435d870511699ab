#include <algorithm>
#include <array>
#include <optional>

#include "ops/pass.hpp"
#include "ops/strided.hpp"

namespace outrigger::ops {
namespace {

/// A copy of which each side walks another axis in steps of one element: axis `row` of `from`, the
/// last axis of `to`.
struct Transposition {
  Dims dims;
  Dims to;
  Dims from;
  std::size_t row = 0;
};

/// Axes shorter than this are not worth a tile.
constexpr std::int64_t side_min = 8;

std::optional<Transposition> as_transposition(const Tensor& from, const Tensor& to) {
  Dims dims = to.shape();
  std::array<Dims, 2> strides{to.strides, from.strides};
  collapse(dims, strides);
  if (dims.size() < 2) return std::nullopt;
  const std::size_t last = dims.size() - 1;
  if (strides[0][last] != 1 || strides[1][last] == 1 || dims[last] < side_min) return std::nullopt;
  for (std::size_t axis = 0; axis < last; ++axis) {
    if (strides[1][axis] == 1 && dims[axis] >= side_min)
      return Transposition{std::move(dims), std::move(strides[0]), std::move(strides[1]), axis};
  }
  return std::nullopt;
}

/// Copies rows × columns elements by way of a buffer in the L1 cache, so that both sides see whole
/// cache lines.
template <typename T, std::int64_t side>
void copy_tile(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride,
               std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t pitch = side + 1;
  std::array<T, static_cast<std::size_t>(side * pitch)> buffer;
  for (std::int64_t column = 0; column < columns; ++column)
    std::copy_n(from + column * from_stride, rows, buffer.data() + column * pitch);
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* x = buffer.data() + row;
    T* out = to + row * to_stride;
    for (std::int64_t column = 0; column < columns; ++column) out[column] = x[column * pitch];
  }
}

template <typename T>
Result<void> transpose_copy(Context& context, const T* from, T* to, const Transposition& t) {
  constexpr std::int64_t side = sizeof(T) <= 4 ? 64 : 32;
  const std::size_t last = t.dims.size() - 1;
  const std::int64_t rows = t.dims[t.row];
  const std::int64_t columns = t.dims[last];
  const std::int64_t row_tiles = (rows + side - 1) / side;
  const std::int64_t column_tiles = (columns + side - 1) / side;
  const std::int64_t n = element_count(t.dims);
  const std::int64_t tasks = n / (rows * columns) * row_tiles * column_tiles;
  constexpr std::int64_t tiles_per_chunk = 16;
  return parallel_ranges(
      context, tasks, tiles_per_chunk, n, [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t column = task % column_tiles * side;
          const std::int64_t row = task / column_tiles % row_tiles * side;
          std::int64_t from_at = row + column * t.from[last];
          std::int64_t to_at = row * t.to[t.row] + column;
          std::int64_t rest = task / column_tiles / row_tiles;
          for (std::size_t axis = last; axis-- > 0;) {
            if (axis == t.row) continue;
            from_at += rest % t.dims[axis] * t.from[axis];
            to_at += rest % t.dims[axis] * t.to[axis];
            rest /= t.dims[axis];
          }
          copy_tile<T, side>(from + from_at, t.from[last], to + to_at, t.to[t.row],
                             std::min(side, rows - row), std::min(side, columns - column));
        }
      });
}

}  // namespace

Result<void> copy_tensor(Context& context, const Tensor& from, const Tensor& to) {
  if (to.size() == 0) return {};
  if (const auto transposition = as_transposition(from, to)) {
    return with_width(size_of(to.dtype()), [&](auto tag) {
      using T = typename decltype(tag)::type;
      return transpose_copy(context, from.as<T>(), to.as<T>(), *transposition);
    });
  }
  Pass pass;
  pass.space = to.shape();
  pass.inputs = 1;
  pass.registers = {from.dtype()};
  pass.stores = {0};
  pass.finish();
  return run_pass(context, pass, std::span(&from, 1), std::span(&to, 1));
}

Result<Tensor> to_contiguous(Context& context, const Tensor& from) {
  if (from.contiguous()) return from;
  OUTRIGGER_TRY(Tensor copy, allocate_tensor(context.memory, from.type));
  OUTRIGGER_CHECK(copy_tensor(context, from, copy));
  return copy;
}

}  // namespace outrigger::ops
