#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "ops/support/simd.hpp"

/// The inner kernel of the matrix product: a tile of C stays in registers, and k advances by one
/// step (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008). It uses
/// the compiler's vector types, so that one source serves all instruction set levels and element
/// types.

namespace outrigger::ops::gemm {

#if defined(__AVX512F__)
inline constexpr int tile_rows = 14;
#else
inline constexpr int tile_rows = 6;
#endif
/// The vectors of a row of a tile. The tile_rows × tile_vectors accumulators and their operands
/// fill the registers.
inline constexpr int tile_vectors = 2;

template <typename T>
inline constexpr int tile_columns = tile_vectors* lanes<T>;

/// The steps of k that are summed in registers before they are added to C. It is a constant,
/// because the rounding of every element depends on it.
inline constexpr std::int64_t depth = 384;
/// The distance of the rows of a packed piece of A, in elements. It is a constant, so that one
/// address register is sufficient for all rows. It is not a multiple of the distance at which
/// addresses share a set of the L1 cache.
inline constexpr std::int64_t a_pitch = depth + 16;

/// C[0, rows) × [0, vectors · lanes) = (add ? C : 0) + A · B over k steps. The rows of A are
/// a_pitch apart.
template <typename T, int rows, int vectors>
void tile(std::int64_t k, const T* a, const T* b, std::int64_t b_stride, T* c,
          std::int64_t c_stride, bool add) {
  using V = Vector<T>;
  V sums[rows][vectors];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      sums[i][v] = V{};
      // C is read from memory, and only at the end.
      __builtin_prefetch(c + i * c_stride + v * lanes<T>, 1);
    }
  }
  for (std::int64_t p = 0; p < k; ++p) {
    V row[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) std::memcpy(&row[v], b + v * lanes<T>, sizeof(V));
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const T factor = a[i * a_pitch + p];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[i][v] += factor * row[v];
    }
    b += b_stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      T* to = c + i * c_stride + v * lanes<T>;
      if (add) {
        V before;
        std::memcpy(&before, to, sizeof(V));
        sums[i][v] += before;
      }
      std::memcpy(to, &sums[i][v], sizeof(V));
    }
  }
}

template <typename T>
using TileKernel = void (*)(std::int64_t k, const T* a, const T* b, std::int64_t b_stride, T* c,
                            std::int64_t c_stride, bool add);

/// The kernel for a tile of `rows` (1 … tile_rows) by `vectors` (1 … tile_vectors). Small kernels
/// avoid useless work at the edges.
template <typename T>
TileKernel<T> tile_kernel(std::int64_t rows, int vectors) {
  static constexpr auto kernels = []<int... i>(std::integer_sequence<int, i...>) {
    struct {
      TileKernel<T> of[tile_vectors][tile_rows];
    } table{{{&tile<T, i + 1, 1>...}, {&tile<T, i + 1, 2>...}}};
    return table;
  }
  (std::make_integer_sequence<int, tile_rows>{});
  return kernels.of[vectors - 1][rows - 1];
}

}  // namespace outrigger::ops::gemm
