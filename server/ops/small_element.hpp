#pragma once

#include <type_traits>

#include "tensor/dtype.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops {

/// A float narrower than f32 in memory, for kernels that compute in f32 and widen what they read.
template <typename F>
struct SmallElement {
  typename F::Bits bits;
  explicit operator float() const { return widen<F>(bits); }
};

/// f(tag of the elements of dtype) for a kernel that computes in T: T itself, or a small float.
template <typename T, typename F>
decltype(auto) with_element(DType dtype, F&& f) {
  if constexpr (std::is_same_v<T, float>) {
    switch (dtype) {
      case DType::f8:
        return f(type_tag<SmallElement<F8>>{});
      case DType::f8_e4m3fn:
        return f(type_tag<SmallElement<F8E4M3FN>>{});
      case DType::f16:
        return f(type_tag<SmallElement<F16>>{});
      case DType::bf16:
        return f(type_tag<SmallElement<BF16>>{});
      default:
        break;
    }
  }
  return f(type_tag<T>{});
}

}  // namespace outrigger::ops
