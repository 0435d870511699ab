#pragma once

#include <complex>
#include <type_traits>

#include "ops/elementwise/kernels.hpp"

namespace outrigger::ops {

template <typename T>
struct is_complex_type : std::false_type {};
template <typename T>
struct is_complex_type<std::complex<T>> : std::true_type {};
template <typename T>
inline constexpr bool is_complex_v = is_complex_type<T>::value;

template <typename T>
struct real_type {
  using type = T;
};
template <typename T>
struct real_type<std::complex<T>> {
  using type = T;
};
/// The type of a number's magnitude.
template <typename T>
using RealOf = typename real_type<T>::type;

/// A product by its definition, for real and complex numbers. The special cases that C defines for
/// complex infinities cost more than the rest of the product.
template <typename T>
T times(T a, T b) {
  return static_cast<T>(a * b);
}
template <typename T>
std::complex<T> times(std::complex<T> a, std::complex<T> b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

/// `complex_tile` of a row: F's kernel for c64 or c128. R fixes the dtype of the result; void keeps
/// the operand's.
template <typename F, typename R = void>
Kernel complex_unary_tile(DType compute) {
  return with_complex_type(compute, [](auto tag) -> Kernel {
    using T = typename decltype(tag)::type;
    return &unary_kernel<F, std::conditional_t<std::is_void_v<R>, T, R>, T>;
  });
}
template <typename F, typename R = void>
Kernel complex_binary_tile(DType compute) {
  return with_complex_type(compute, [](auto tag) -> Kernel {
    using T = typename decltype(tag)::type;
    return &binary_kernel<F, std::conditional_t<std::is_void_v<R>, T, R>, T>;
  });
}

/// Kernels of functions on complex numbers that Nx also has on real numbers. c64 is computed in
/// f64, so that each part is rounded once.
Kernel complex_abs_tile(DType compute);
Kernel complex_divide_tile(DType compute);
Kernel complex_pow_tile(DType compute);
Kernel complex_atan2_tile(DType compute);
Kernel complex_exp_tile(DType compute);
Kernel complex_expm1_tile(DType compute);
Kernel complex_log_tile(DType compute);
Kernel complex_log1p_tile(DType compute);
Kernel complex_sigmoid_tile(DType compute);
Kernel complex_sqrt_tile(DType compute);
Kernel complex_rsqrt_tile(DType compute);
Kernel complex_cbrt_tile(DType compute);
Kernel complex_sin_tile(DType compute);
Kernel complex_cos_tile(DType compute);
Kernel complex_tan_tile(DType compute);
Kernel complex_asin_tile(DType compute);
Kernel complex_acos_tile(DType compute);
Kernel complex_atan_tile(DType compute);
Kernel complex_sinh_tile(DType compute);
Kernel complex_cosh_tile(DType compute);
Kernel complex_tanh_tile(DType compute);
Kernel complex_asinh_tile(DType compute);
Kernel complex_acosh_tile(DType compute);
Kernel complex_atanh_tile(DType compute);
/// 1 (u8) where a part is NaN, or where a part is infinite; else 0.
Kernel complex_is_nan_tile(DType compute);
Kernel complex_is_infinity_tile(DType compute);

}  // namespace outrigger::ops
