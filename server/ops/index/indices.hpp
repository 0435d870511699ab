#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "ops/op.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {

/// Indices of s32, s64 and u64 keep their dtype; other integers become s64.
inline Result<DType> index_dtype(const TensorType& indices) {
  if (!is_integer(indices.dtype)) {
    return fail(ErrorCode::bad_dtype, "indices must be integers, got " + to_string(indices));
  }
  const bool stays = indices.dtype == DType::s32 || indices.dtype == DType::u64;
  return stays ? indices.dtype : DType::s64;
}

/// Calls f(type_tag<Index>{}) for the dtype of prepared indices. A u64 is read as s64: a value that
/// becomes negative is out of bounds for every axis.
template <typename F>
decltype(auto) with_index_type(DType dtype, F&& f) {
  if (dtype == DType::s32) return f(type_tag<std::int32_t>{});
  return f(type_tag<std::int64_t>{});
}

/// Rows of `depth` prepared indices, with any strides.
template <typename Index>
class IndexRows {
 public:
  explicit IndexRows(const Tensor& indices, std::int64_t depth = 1)
      : first_(indices.as<Index>()),
        walk_(indices.shape(), indices.strides),
        depth_(depth),
        unsigned_(indices.dtype() == DType::u64) {}

  std::int64_t depth() const { return depth_; }

  /// An index as the user wrote it.
  std::string written(Index index) const {
    return unsigned_ ? std::to_string(static_cast<std::uint64_t>(index)) : std::to_string(index);
  }

  /// Calls f(row, indices, n) for rows [begin, end): once if they are adjacent, else for copies of
  /// some of them at a time.
  template <typename F>
  void for_each(std::int64_t begin, std::int64_t end, F&& f) const {
    if (walk_.together() || depth_ == 0) return f(begin, first_ + begin * depth_, end - begin);
    constexpr std::int64_t copied = 1024;
    static_assert(copied >= std::int64_t{Limits::rank_max});
    std::array<Index, copied> copy;
    for (std::int64_t row = begin; row < end; row += copied / depth_) {
      const std::int64_t n = std::min(copied / depth_, end - row);
      gather_tile(copy.data(), first_, walk_.dims, walk_.strides, row * depth_, n * depth_);
      f(row, copy.data(), n);
    }
  }

 private:
  const Index* first_;
  WalkedAxes walk_;
  std::int64_t depth_;
  bool unsigned_;
};

/// Checks all indices before the first write. Errors: bad_index.
template <typename Index>
Result<void> check_indices(const RunCall& call, const IndexRows<Index>& indices, std::int64_t rows,
                           const Dims& sizes, std::span<const std::int64_t> axes) {
  const std::int64_t depth = indices.depth();
  std::atomic<bool> outside{false};
  OUTRIGGER_CHECK(parallel_ranges(
      call.context, rows, std::int64_t{1} << 16, rows * depth / 32,
      [&](int, std::int64_t begin, std::int64_t end) {
        indices.for_each(begin, end, [&](std::int64_t, const Index* index, std::int64_t n) {
          bool bad = false;
          if (depth == 1) {
            const std::int64_t size = sizes[0];
            for (std::int64_t i = 0; i < n; ++i) bad |= index[i] < 0 || index[i] >= size;
          } else {
            for (std::int64_t i = 0; i < n; ++i) {
              for (std::int64_t k = 0; k < depth; ++k)
                bad |= index[i * depth + k] < 0 ||
                       index[i * depth + k] >= sizes[static_cast<std::size_t>(k)];
            }
          }
          if (bad) outside.store(true, std::memory_order_relaxed);
        });
      }));
  if (!outside.load()) return {};
  Result<void> found;
  indices.for_each(0, rows, [&](std::int64_t row, const Index* index, std::int64_t n) {
    for (std::int64_t i = 0; found && i < n * depth; ++i) {
      const auto k = static_cast<std::size_t>(i % depth);
      if (index[i] >= 0 && index[i] < sizes[k]) continue;
      found =
          fail(ErrorCode::bad_index,
               "index " + indices.written(index[i]) + " in row " + std::to_string(row + i / depth) +
                   " of the indices is out of bounds for axis " + std::to_string(axes[k]) +
                   " of size " + std::to_string(sizes[k]));
    }
  });
  return found;
}

}  // namespace outrigger::ops
