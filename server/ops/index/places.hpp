#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "ops/index/indices.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {

/// The axes that the last axis of `indices` selects: those of the attribute, or else the leading
/// axes.
inline Result<Dims> indexed_axes(const TensorType& tensor, const TensorType& indices,
                                 const AttrView& attrs) {
  if (indices.shape.empty()) {
    return fail(ErrorCode::bad_shape,
                "indices must have at least 1 axis, got " + to_string(indices));
  }
  const std::size_t rank = tensor.shape.size();
  const std::int64_t depth = indices.shape.back();
  const std::string found = "indices " + to_string(indices) + " into " + to_string(tensor);
  if (!attrs.has("axes")) {
    if (depth > static_cast<std::int64_t>(rank)) {
      return fail(ErrorCode::bad_shape,
                  found + ": their last axis must not be longer than the tensor has axes");
    }
    return all_axes(static_cast<std::size_t>(depth));
  }
  OUTRIGGER_TRY(Dims axes, normalize_axes(attrs.integers("axes"), rank));
  if (static_cast<std::int64_t>(axes.size()) != depth) {
    return fail(ErrorCode::bad_shape, found + ": their last axis must be as long as axes, " +
                                          std::to_string(axes.size()));
  }
  if (!std::is_sorted(axes.begin(), axes.end())) {
    return fail(ErrorCode::bad_axis, "axes must be in ascending order");
  }
  return axes;
}

inline Dims gathered_shape(const TensorType& tensor, const TensorType& indices,
                           std::span<const std::int64_t> axes) {
  Dims shape(indices.shape.begin(), indices.shape.end() - 1);
  const Dims rest = remove_axes(tensor.shape, axes, false);
  shape.append(rest.begin(), rest.end());
  return shape;
}

/// A tensor as a table of blocks, and rows of indices that select blocks.
struct Places {
  /// `part` is the shape of the part of each block that is used, from the block's beginning; by
  /// default the whole block.
  Places(const Tensor& tensor, Tensor index_rows, std::span<const std::int64_t> axes,
         const Dims* part = nullptr)
      : indices(std::move(index_rows)), depth(static_cast<std::int64_t>(axes.size())) {
    const Dims& shape = indices.shape();
    rows = element_count(std::span(shape).first(shape.size() - 1));
    Dims inner, inner_strides;
    for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
      const bool indexed = contains(axes, static_cast<std::int64_t>(axis));
      (indexed ? sizes : inner).push_back(tensor.shape()[axis]);
      (indexed ? strides : inner_strides).push_back(tensor.strides[axis]);
    }
    block = WalkedAxes(part == nullptr ? inner : *part, inner_strides);
  }

  /// True if each row is one index that selects one element.
  bool single() const { return depth == 1 && block.count == 1; }

  template <typename Index>
  std::int64_t offset(const Index* row) const {
    std::int64_t offset = 0;
    for (std::size_t k = 0; k < strides.size(); ++k) offset += row[k] * strides[k];
    return offset;
  }

  Tensor indices;
  std::int64_t rows = 0;
  std::int64_t depth;  ///< the number of indices in a row
  Dims sizes;          ///< sizes of the indexed axes
  Dims strides;        ///< strides of the indexed axes, in elements
  WalkedAxes block;    ///< the axes that are not indexed
};

/// Calls f(IndexRows) with the rows in their dtype.
template <typename F>
decltype(auto) with_rows(const Places& places, F&& f) {
  return with_index_type(places.indices.dtype(), [&](auto tag) -> decltype(auto) {
    return f(IndexRows<typename decltype(tag)::type>(places.indices, places.depth));
  });
}

/// Errors: bad_index.
inline Result<void> check_places(const RunCall& call, const Places& places,
                                 std::span<const std::int64_t> axes) {
  return with_rows(places, [&](const auto& rows) {
    return check_indices(call, rows, places.rows, places.sizes, axes);
  });
}

/// Calls f(row, element offset of its block) for rows [begin, end).
template <typename F>
void for_each_place(const Places& places, std::int64_t begin, std::int64_t end, F&& f) {
  with_rows(places, [&](const auto& rows) {
    rows.for_each(begin, end, [&](std::int64_t first, const auto* index, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) f(first + i, places.offset(index + i * places.depth));
    });
  });
}

}  // namespace outrigger::ops
