#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "ops/op.hpp"

namespace outrigger::ops {

/// Indices stay s32 or s64; other integers become s64.
inline Result<DType> index_dtype(const TensorType& indices) {
  if (!is_integer(indices.dtype)) {
    return fail(ErrorCode::bad_dtype, "indices must be integers, got " + to_string(indices));
  }
  return indices.dtype == DType::s32 ? DType::s32 : DType::s64;
}

/// Calls f(type_tag<Index>{}) for the dtype of prepared indices.
template <typename F>
decltype(auto) with_index_type(DType dtype, F&& f) {
  if (dtype == DType::s32) return f(type_tag<std::int32_t>{});
  return f(type_tag<std::int64_t>{});
}

/// Checks every index before anything is written. Errors: bad_index.
template <typename Index>
Result<void> check_indices(const RunCall& call, const Index* indices, std::int64_t rows,
                           const Dims& sizes, std::span<const std::int64_t> axes) {
  const auto depth = static_cast<std::int64_t>(sizes.size());
  std::atomic<bool> outside{false};
  OUTRIGGER_CHECK(parallel_ranges(call.context, rows, std::int64_t{1} << 16, rows * depth / 32,
                                  [&](int, std::int64_t begin, std::int64_t end) {
                                    bool bad = false;
                                    if (depth == 1) {
                                      const std::int64_t size = sizes[0];
                                      for (std::int64_t row = begin; row < end; ++row)
                                        bad |= indices[row] < 0 || indices[row] >= size;
                                    } else {
                                      for (std::int64_t row = begin; row < end; ++row) {
                                        for (std::int64_t k = 0; k < depth; ++k) {
                                          const Index index = indices[row * depth + k];
                                          bad |= index < 0 ||
                                                 index >= sizes[static_cast<std::size_t>(k)];
                                        }
                                      }
                                    }
                                    if (bad) outside.store(true, std::memory_order_relaxed);
                                  }));
  if (!outside.load()) return {};
  for (std::int64_t i = 0; i < rows * depth; ++i) {
    const auto k = static_cast<std::size_t>(i % depth);
    if (indices[i] >= 0 && indices[i] < sizes[k]) continue;
    return fail(ErrorCode::bad_index,
                "index " + std::to_string(indices[i]) + " in row " + std::to_string(i / depth) +
                    " of the indices is out of bounds for axis " + std::to_string(axes[k]) +
                    " of size " + std::to_string(sizes[k]));
  }
  return {};
}

}  // namespace outrigger::ops
