#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "ops/pass/pass.hpp"
#include "ops/support/stream.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {
namespace {

/// The fewest axes that describe the copy, with the strides of both sides.
struct Walk {
  Walk(const Tensor& tensor_from, const Tensor& tensor_to) : dims(tensor_to.shape()) {
    std::array<Dims, 2> strides{tensor_to.strides, tensor_from.strides};
    collapse(dims, strides);
    to = strides[0];
    from = strides[1];
  }

  bool in_one_piece() const {
    return dims.empty() || (dims.size() == 1 && to[0] == 1 && from[0] == 1);
  }

  Dims dims;
  Dims to;
  Dims from;
};

/// A copy in which the two sides have unit stride along different axes: axis `row` of `from`, and
/// the last axis of `to`.
struct Transposition : Walk {
  std::size_t row = 0;
};

/// Up to this size, one thread copies as fast as several threads, and the copy needs no
/// preparation.
constexpr std::size_t piece_bytes_max = std::size_t{64} << 10;

/// An axis shorter than this is not cut into tiles.
constexpr std::int64_t side_min = 8;

std::optional<Transposition> as_transposition(const Walk& walk) {
  if (walk.dims.size() < 2) return std::nullopt;
  const std::size_t last = walk.dims.size() - 1;
  if (walk.to[last] != 1 || walk.from[last] == 1 || walk.dims[last] < side_min) return std::nullopt;
  for (std::size_t axis = 0; axis < last; ++axis) {
    if (walk.from[axis] == 1 && walk.dims[axis] >= side_min) return Transposition{walk, axis};
  }
  return std::nullopt;
}

/// The bytes of a row of a tile: two cache lines.
constexpr std::int64_t row_bytes = 128;
constexpr std::int64_t tile_rows = 128;
/// From this size on, transposed results bypass the caches.
constexpr std::size_t streamed_transposition_min = std::size_t{4} << 20;

/// Copies rows × columns elements through a buffer in the L1 cache, so that both sides access whole
/// cache lines.
template <typename T>
void copy_tile(const T* from, std::int64_t from_stride, T* to, std::int64_t to_stride,
               std::int64_t rows, std::int64_t columns, bool stream) {
  constexpr std::int64_t width = row_bytes / static_cast<std::int64_t>(sizeof(T));
  constexpr std::int64_t pitch = width + 1;
  std::array<T, static_cast<std::size_t>(tile_rows * pitch)> buffer;
  for (std::int64_t column = 0; column < columns; ++column) {
    const T* x = from + column * from_stride;
    for (std::int64_t row = 0; row < rows; ++row) buffer[row * pitch + column] = x[row];
  }
  const bool whole = stream && columns == width;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* x = buffer.data() + row * pitch;
    if (whole)
      stream_copy(reinterpret_cast<std::byte*>(to + row * to_stride),
                  reinterpret_cast<const std::byte*>(x), static_cast<std::size_t>(row_bytes));
    else
      std::copy_n(x, columns, to + row * to_stride);
  }
}

template <typename T>
Result<void> transpose_copy(Context& context, const T* from, T* to, const Transposition& t) {
  constexpr std::int64_t tile_columns = row_bytes / static_cast<std::int64_t>(sizeof(T));
  const std::size_t last = t.dims.size() - 1;
  const std::int64_t rows = t.dims[t.row];
  const std::int64_t columns = t.dims[last];
  const std::int64_t row_tiles = (rows + tile_rows - 1) / tile_rows;
  const std::int64_t column_tiles = (columns + tile_columns - 1) / tile_columns;
  const std::int64_t n = element_count(t.dims);
  const std::int64_t tasks = n / (rows * columns) * row_tiles * column_tiles;
  const bool stream = static_cast<std::size_t>(n) * sizeof(T) >= streamed_transposition_min &&
                      reinterpret_cast<std::uintptr_t>(to) % cache_line == 0 &&
                      std::all_of(t.to.begin(), t.to.end() - 1, [](std::int64_t stride) {
                        return static_cast<std::uintptr_t>(stride) * sizeof(T) % cache_line == 0;
                      });
  constexpr std::int64_t tiles_per_chunk = 16;
  return parallel_ranges(
      context, tasks, tiles_per_chunk, n, [&](int, std::int64_t begin, std::int64_t end) {
        for (std::int64_t task = begin; task < end; ++task) {
          // Neighbouring tiles are adjacent along the rows of `from`, so that they share pages.
          const std::int64_t row = task % row_tiles * tile_rows;
          const std::int64_t column = task / row_tiles % column_tiles * tile_columns;
          std::int64_t from_at = row + column * t.from[last];
          std::int64_t to_at = row * t.to[t.row] + column;
          std::int64_t rest = task / row_tiles / column_tiles;
          for (std::size_t axis = last; axis-- > 0;) {
            if (axis == t.row) continue;
            from_at += rest % t.dims[axis] * t.from[axis];
            to_at += rest % t.dims[axis] * t.to[axis];
            rest /= t.dims[axis];
          }
          copy_tile(from + from_at, t.from[last], to + to_at, t.to[t.row],
                    std::min(tile_rows, rows - row), std::min(tile_columns, columns - column),
                    stream);
        }
        if (stream) end_of_stream();
      });
}

}  // namespace

Result<void> copy_tensor(Context& context, const Tensor& from, const Tensor& to) {
  if (to.size() == 0) return {};
  const Walk walk(from, to);
  const auto bytes = static_cast<std::size_t>(byte_count(to.type));
  if (walk.in_one_piece() && bytes <= piece_bytes_max) {
    std::memmove(to.data(), from.data(), bytes);
    return {};
  }
  const auto transposition = as_transposition(walk);
  if (transposition && !overlap_differently(from, to)) {
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
