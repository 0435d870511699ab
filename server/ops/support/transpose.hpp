#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace outrigger::ops {

/// to[j · to_stride + i] = from[i · from_stride + j] for i < rows, j < columns, converted to To.
/// The loops go over squares of 4 by 4, which the compiler changes into shuffles, and over lines of
/// `to` that stay in the cache.
template <typename To, typename From>
void transpose(To* to, std::int64_t to_stride, const From* from, std::int64_t from_stride,
               std::int64_t rows, std::int64_t columns) {
  std::int64_t j = 0;
  for (; j + 4 <= columns; j += 4) {
    std::int64_t i = 0;
    for (; i + 4 <= rows; i += 4) {
      const From* f = from + i * from_stride + j;
      To* t = to + j * to_stride + i;
      if constexpr (std::is_same_v<To, From> && std::is_arithmetic_v<To> &&
                    (sizeof(To) == 4 || sizeof(To) == 8)) {
        using V __attribute__((vector_size(4 * sizeof(To)))) = To;
        V a, b, c, d;
        std::memcpy(&a, f, sizeof(V));
        std::memcpy(&b, f + from_stride, sizeof(V));
        std::memcpy(&c, f + 2 * from_stride, sizeof(V));
        std::memcpy(&d, f + 3 * from_stride, sizeof(V));
        const V ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const V ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const V cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const V cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        const V out[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                          __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                          __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                          __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
        for (int l = 0; l < 4; ++l) std::memcpy(t + l * to_stride, &out[l], sizeof(V));
      } else {
        for (int l = 0; l < 4; ++l) {
          for (int m = 0; m < 4; ++m)
            t[l * to_stride + m] = static_cast<To>(f[m * from_stride + l]);
        }
      }
    }
    for (; i < rows; ++i) {
      for (std::int64_t l = j; l < j + 4; ++l)
        to[l * to_stride + i] = static_cast<To>(from[i * from_stride + l]);
    }
  }
  for (; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i)
      to[j * to_stride + i] = static_cast<To>(from[i * from_stride + j]);
  }
}

}  // namespace outrigger::ops
