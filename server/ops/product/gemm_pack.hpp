#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "ops/product/gemm.hpp"
#include "ops/product/gemm_kernel.hpp"
#include "ops/support/transpose.hpp"

/// Packs pieces of the operands in the order in which the kernel reads them, and in the type of the
/// computation.

namespace outrigger::ops::gemm {

inline constexpr std::int64_t line_bytes = 64;

inline std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

template <typename C>
void prefetch(const C* from, std::int64_t count) {
  const auto* bytes = reinterpret_cast<const char*>(from);
  for (std::int64_t i = 0; i < count * std::int64_t{sizeof(C)}; i += line_bytes)
    __builtin_prefetch(bytes + i, 0, 2);
}

/// Loads elements [first, first + n) along one axis of a converted operand, relative to `origin`. T
/// may be narrower than C.
template <typename C, typename T>
void load_run(C* to, const Matrices<T>& matrices, std::int64_t origin, const Axis& axis,
              std::int64_t first, std::int64_t n) {
  const Conversion& conversion = *matrices.conversion;
  const std::size_t width = conversion.from_width();
  const auto at = [&](std::int64_t i) {
    return static_cast<const std::byte*>(matrices.data) +
           (origin + axis(i)) * static_cast<std::int64_t>(width);
  };
  if constexpr (sizeof(C) != sizeof(T)) {
    T converted[Conversion::run_max];
    for (std::int64_t done = 0; done < n; done += Conversion::run_max) {
      const std::int64_t count = std::min(Conversion::run_max, n - done);
      load_run<T, T>(converted, matrices, origin, axis, first + done, count);
      for (std::int64_t i = 0; i < count; ++i) to[done + i] = static_cast<C>(converted[i]);
    }
  } else if (axis.table == nullptr) {
    conversion.gather(at(first), axis.stride, to, n);
  } else {
    for (std::int64_t i = 0; i < n; ++i) conversion.run(at(first + i), to + i, 1);
  }
}

/// Stores complete sums at positions [first, first + n) of the result.
template <typename T, typename C>
void store_run(const Output& out, std::int64_t first, const C* sums, std::int64_t n) {
  if (out.conversion == nullptr) {
    T* const to = static_cast<T*>(out.data) + first;
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(sums[i]);
    return;
  }
  auto* to = static_cast<std::byte*>(out.data);
  const auto width = static_cast<std::int64_t>(out.conversion->to_width());
  for (std::int64_t done = 0; done < n; done += Conversion::run_max) {
    const std::int64_t count = std::min(Conversion::run_max, n - done);
    if constexpr (sizeof(C) == sizeof(T)) {
      out.conversion->run(sums + done, to + (first + done) * width, count);
    } else {
      T narrowed[Conversion::run_max];
      for (std::int64_t i = 0; i < count; ++i) narrowed[i] = static_cast<T>(sums[done + i]);
      out.conversion->run(narrowed, to + (first + done) * width, count);
    }
  }
}

/// The lines of a converted operand that are transposed in one step.
inline constexpr std::int64_t turned_lines = 8;

/// to[j · pitch + i] = element (i, j) of the operand, with i along `across` from `first` on and j
/// along `along` from `start` on. Elements are adjacent along `along`.
template <typename C, typename T>
void load_turned(C* to, std::int64_t pitch, const Matrices<T>& matrices, std::int64_t origin,
                 const Axis& across, std::int64_t first, std::int64_t lines, const Axis& along,
                 std::int64_t start, std::int64_t n) {
  constexpr std::int64_t run = 512;
  C loaded[turned_lines * run];
  for (std::int64_t j = 0; j < n; j += run) {
    const std::int64_t count = std::min(run, n - j);
    for (std::int64_t i = 0; i < lines; ++i)
      load_run(loaded + i * run, matrices, origin + across(first + i), along, start + j, count);
    transpose(to + j * pitch, pitch, loaded, run, lines, count);
  }
}

/// Packs rows [row, row + rows) × columns [k0, k0 + k) of a matrix of the left operand, a_pitch
/// elements for each row.
template <typename C, typename T>
void pack_left(C* to, const Matrices<T>& left, std::int64_t batch, std::int64_t row,
               std::int64_t rows, std::int64_t k0, std::int64_t k) {
  const Axis& row_axis = left.rows;
  const Axis& k_axis = left.columns;
  if (left.conversion != nullptr) {
    const std::int64_t origin = left.batch(batch);
    if (row_axis.unit() && !k_axis.unit()) {
      for (std::int64_t p = 0; p < k; p += turned_lines) {
        load_turned(to + p, a_pitch, left, origin, k_axis, k0 + p, std::min(turned_lines, k - p),
                    row_axis, row, rows);
      }
    } else {
      for (std::int64_t i = 0; i < rows; ++i)
        load_run(to + i * a_pitch, left, origin + row_axis(row + i), k_axis, k0, k);
    }
    return;
  }
  const T* from = left.at(batch);
  if (row_axis.unit() && k_axis.table == nullptr) {
    transpose(to, a_pitch, from + row + k0 * k_axis.stride, k_axis.stride, k, rows);
    return;
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* line = from + row_axis(row + i);
    C* out = to + i * a_pitch;
    if (k_axis.unit()) {
      line += k0;
      // The rows are far apart: a later row is prefetched while this one is copied.
      if (i + 4 < rows) prefetch(from + row_axis(row + i + 4) + k0, k);
      for (std::int64_t p = 0; p < k; ++p) out[p] = static_cast<C>(line[p]);
    } else {
      for (std::int64_t p = 0; p < k; ++p) out[p] = static_cast<C>(line[k_axis(k0 + p)]);
    }
  }
}

/// pack_right for a converted operand.
template <typename C, typename T>
void pack_right_converted(C* to, const Matrices<T>& right, std::int64_t batch, std::int64_t k0,
                          std::int64_t k, std::int64_t column, std::int64_t columns) {
  constexpr std::int64_t width = tile_columns<C>;
  const Axis& k_axis = right.rows;
  const Axis& column_axis = right.columns;
  const std::int64_t origin = right.batch(batch);
  if (k_axis.unit() && !column_axis.unit()) {
    constexpr std::int64_t lines = std::min(turned_lines, width);
    for (std::int64_t j = 0; j < columns; j += lines) {
      load_turned(to + j / width * width * k + j % width, width, right, origin, column_axis,
                  column + j, std::min(lines, columns - j), k_axis, k0, k);
    }
    return;
  }
  constexpr std::int64_t run = Conversion::run_max / width * width;
  C line[run];
  for (std::int64_t p = 0; p < k; ++p) {
    for (std::int64_t j = 0; j < columns; j += run) {
      const std::int64_t count = std::min(run, columns - j);
      load_run(line, right, origin + k_axis(k0 + p), column_axis, column + j, count);
      for (std::int64_t i = 0; i < count; i += width)
        std::copy_n(line + i, std::min(width, count - i), to + (j + i) * k + p * width);
    }
  }
}

/// Packs rows [k0, k0 + k) × columns [column, column + columns) of a matrix of the right operand as
/// consecutive panels, each with k rows of tile_columns. The elements beyond the edge are zeros.
template <typename C, typename T>
void pack_right(C* to, const Matrices<T>& right, std::int64_t batch, std::int64_t k0,
                std::int64_t k, std::int64_t column, std::int64_t columns) {
  constexpr std::int64_t width = tile_columns<C>;
  const Axis& k_axis = right.rows;
  const Axis& column_axis = right.columns;
  const std::int64_t full = columns / width * width;
  if (full < columns) std::fill_n(to + full * k, width * k, C{});
  if (right.conversion != nullptr)
    return pack_right_converted(to, right, batch, k0, k, column, columns);
  const T* from = right.at(batch);
  if (k_axis.unit() && column_axis.table == nullptr) {
    for (std::int64_t j = 0; j < columns; j += width) {
      transpose(to + j * k, width, from + k0 + (column + j) * column_axis.stride,
                column_axis.stride, std::min(width, columns - j), k);
    }
    return;
  }
  if (column_axis.unit()) {
    // Several rows are packed together: their lines of B are adjacent, and a panel is written in
    // runs.
    constexpr std::int64_t rows = 16;
    for (std::int64_t p = 0; p < k; p += rows) {
      const std::int64_t end = std::min(p + rows, k);
      for (std::int64_t j = 0; j < columns; j += width) {
        for (std::int64_t q = p; q < end; ++q) {
          const T* line = from + k_axis(k0 + q) + column + j;
          C* out = to + j * k + q * width;
          if (j < full) {
            if constexpr (sizeof(C) == sizeof(T)) {
              std::memcpy(out, line, sizeof(C) * width);
            } else {
              for (std::int64_t i = 0; i < width; ++i) out[i] = static_cast<C>(line[i]);
            }
          } else {
            for (std::int64_t i = 0; i < columns - full; ++i) out[i] = static_cast<C>(line[i]);
          }
        }
      }
    }
    return;
  }
  for (std::int64_t p = 0; p < k; ++p) {
    const T* line = from + k_axis(k0 + p);
    C* out = to + p * width;
    for (std::int64_t j = 0; j < columns; ++j)
      out[j / width * width * k + j % width] = static_cast<C>(line[column_axis(column + j)]);
  }
}

}  // namespace outrigger::ops::gemm
