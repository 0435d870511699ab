#pragma once

#include <cstdint>
#include <cstring>

#include "ops/elementwise/complex_math.hpp"

namespace outrigger::ops {

/// The inner product of conv: C[rows][width] = A · B over `depth`, with A packed as [depth][height]
/// and B as [depth][width]. The sums stay in registers; the number of registers decides height and
/// width. The parts of a complex number are adjacent in them.
template <typename T>
struct ConvPanel {
#if defined(__AVX512F__)
  static constexpr std::int64_t vector_bytes = 64;
  static constexpr std::int64_t height = 12;
#elif defined(__AVX__)
  static constexpr std::int64_t vector_bytes = 32;
  static constexpr std::int64_t height = 6;
#else
  static constexpr std::int64_t vector_bytes = 16;
  static constexpr std::int64_t height = 6;
#endif
  static constexpr std::int64_t lanes = vector_bytes / static_cast<std::int64_t>(sizeof(T));
  static constexpr std::int64_t width = 2 * lanes;

  /// Computes C, whose rows are `stride` apart. Adds the product to C if `add`.
  static void multiply(const T* a, const T* b, T* c, std::int64_t stride, std::int64_t depth,
                       std::int64_t rows, bool add) {
    if (rows == 1) {
      block<1>(a, b, c, stride, depth, add);
    } else if (rows <= height / 2) {
      block<height / 2>(a, b, c, stride, depth, add);
    } else {
      block<height>(a, b, c, stride, depth, add);
    }
  }

 private:
  using R = RealOf<T>;
  using Vector __attribute__((vector_size(vector_bytes))) = R;

  static Vector load(const T* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }

  /// The product of i and each complex number.
  static Vector turn(Vector v) {
    Vector turned{};
    for (std::int64_t i = 0; i < 2 * lanes; i += 2) {
      turned[i] = -v[i + 1];
      turned[i + 1] = v[i];
    }
    return turned;
  }

  template <std::int64_t rows>
  static void block(const T* a, const T* b, T* c, std::int64_t stride, std::int64_t depth,
                    bool add) {
    Vector low[rows];
    Vector high[rows];
#pragma GCC unroll 12
    for (std::int64_t r = 0; r < rows; ++r) low[r] = high[r] = Vector{};
    for (std::int64_t k = 0; k < depth; ++k, a += height, b += width) {
      const Vector left = load(b);
      const Vector right = load(b + lanes);
      if constexpr (is_complex_v<T>) {
        const Vector left_turned = turn(left);
        const Vector right_turned = turn(right);
#pragma GCC unroll 12
        for (std::int64_t r = 0; r < rows; ++r) {
          low[r] += a[r].real() * left + a[r].imag() * left_turned;
          high[r] += a[r].real() * right + a[r].imag() * right_turned;
        }
      } else {
#pragma GCC unroll 12
        for (std::int64_t r = 0; r < rows; ++r) {
          low[r] += a[r] * left;
          high[r] += a[r] * right;
        }
      }
    }
#pragma GCC unroll 12
    for (std::int64_t r = 0; r < rows; ++r, c += stride) {
      if (add) {
        low[r] += load(c);
        high[r] += load(c + lanes);
      }
      std::memcpy(static_cast<void*>(c), &low[r], sizeof low[r]);
      std::memcpy(static_cast<void*>(c + lanes), &high[r], sizeof high[r]);
    }
  }
};

}  // namespace outrigger::ops
