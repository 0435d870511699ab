// The transcendental functions, with SLEEF's vector functions where they exist.

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/elementwise/rows.hpp"
#include "ops/elementwise/special.hpp"
#include "ops/elementwise/vector_math.hpp"

namespace outrigger::ops {
namespace {

#define OUTRIGGER_MATH_TILE(name)                                                    \
  Kernel name##_tile(DType compute) {                                                \
    return float_tile(compute, &vector_unary_kernel<F32, OUTRIGGER_SLEEF_F32(name)>, \
                      &vector_unary_kernel<F64, OUTRIGGER_SLEEF_F64(name)>);         \
  }

// SLEEF keeps its error bounds up to these magnitudes only. Beyond them, the C library computes.
#define OUTRIGGER_BOUNDED_TILE(name, limit_f32, limit_f64)                           \
  struct name##_bounded {                                                            \
    static F32::Vector apply(F32::Vector x) { return OUTRIGGER_SLEEF_F32(name)(x); } \
    static F64::Vector apply(F64::Vector x) { return OUTRIGGER_SLEEF_F64(name)(x); } \
    static float scalar(float x) { return std::name(x); }                            \
    static double scalar(double x) { return std::name(x); }                          \
    static constexpr float limit(float) { return limit_f32; }                        \
    static constexpr double limit(double) { return limit_f64; }                      \
  };                                                                                 \
  Kernel name##_tile(DType compute) {                                                \
    return float_tile(compute, &bounded_kernel<F32, name##_bounded>,                 \
                      &bounded_kernel<F64, name##_bounded>);                         \
  }

/// The C library computes each element beyond the limit, independent of its neighbours.
template <typename Traits, typename F>
typename Traits::Vector apply_bounded(typename Traits::Vector x) {
  using T = typename Traits::Element;
  using V = typename Traits::Vector;
  constexpr std::size_t lanes = sizeof(V) / sizeof(T);
  V y = F::apply(x);
  std::array<T, lanes> from;
  std::array<T, lanes> to;
  std::memcpy(from.data(), &x, sizeof x);
  std::memcpy(to.data(), &y, sizeof y);
  for (std::size_t k = 0; k < lanes; ++k) {
    if (std::fabs(from[k]) > F::limit(T{})) to[k] = F::scalar(from[k]);
  }
  std::memcpy(&y, to.data(), sizeof y);
  return y;
}

template <typename Traits, typename F>
void bounded_kernel(void* out, const void* const* in, std::int64_t n) {
  using T = typename Traits::Element;
  const auto* a = static_cast<const T*>(in[0]);
  int beyond = 0;
  for (std::int64_t i = 0; i < n; ++i) beyond |= static_cast<int>(std::fabs(a[i]) > F::limit(T{}));
  if (beyond == 0) {
    vector_unary_kernel<Traits, [](typename Traits::Vector x) { return F::apply(x); }>(out, in, n);
  } else {
    vector_unary_kernel<Traits, apply_bounded<Traits, F>>(out, in, n);
  }
}

OUTRIGGER_BOUNDED_TILE(expm1, 80.0F, 700.0)
OUTRIGGER_BOUNDED_TILE(log1p, 1e38F, 1e300)
OUTRIGGER_BOUNDED_TILE(sinh, 80.0F, 700.0)
OUTRIGGER_BOUNDED_TILE(cosh, 80.0F, 700.0)
OUTRIGGER_BOUNDED_TILE(asinh, 1e18F, 1e150)
OUTRIGGER_BOUNDED_TILE(acosh, 1e18F, 1e150)
OUTRIGGER_MATH_TILE(tan)
OUTRIGGER_MATH_TILE(asin)
OUTRIGGER_MATH_TILE(acos)
OUTRIGGER_MATH_TILE(atan)
OUTRIGGER_MATH_TILE(atanh)
OUTRIGGER_MATH_TILE(cbrt)

Kernel erf_tile(DType compute) {
  return float_tile(
      compute,
      {&unary_kernel<ErfF32, float, float>, &record_vector_function<F32, on_vector<F32, ErfF32>>},
      &vector_unary_kernel<F64, OUTRIGGER_SLEEF_F64(erf)>);
}
/// Near the subnormal numbers, SLEEF's erfc has a larger error than its documented bound.
struct erfc_bounded {
  static F32::Vector apply(F32::Vector x) { return OUTRIGGER_SLEEF_F32_U15(erfc)(x); }
  static F64::Vector apply(F64::Vector x) { return OUTRIGGER_SLEEF_F64_U15(erfc)(x); }
  static float scalar(float x) { return static_cast<float>(std::erfc(static_cast<double>(x))); }
  static double scalar(double x) { return std::erfc(x); }
  static constexpr float limit(float) { return 9.0F; }
  static constexpr double limit(double) { return 26.0; }
};
Kernel erfc_tile(DType compute) {
  return float_tile(compute, &bounded_kernel<F32, erfc_bounded>,
                    &bounded_kernel<F64, erfc_bounded>);
}

constexpr std::int64_t sigmoid_block = 256;

/// numerator / (1 + e), rounded once; 0 <= e <= 1. A step of Newton's method corrects the quotient:
/// f32 in f64, where 1 + e is exact, and f64 with the exact rounding error of the sum.
float sigmoid_quotient(float numerator, float e) {
  const double d = 1.0 + static_cast<double>(e);
  const auto q = static_cast<double>(1.0F / static_cast<float>(d));
  return static_cast<float>(static_cast<double>(numerator) * (q * (2.0 - d * q)));
}
double sigmoid_quotient(double numerator, double e) {
  const double d = 1.0 + e;
  const double rest = e - (d - 1.0);
  const double q = 1.0 / d;
  const double t = numerator * q;
  return t + (std::fma(-t, d, numerator) - t * rest) * q;
}

/// 1 / (1 + e^-x), from e^-|x|, which does not overflow.
template <typename Traits, auto Exp>
void sigmoid_kernel(void* out, const void* const* in, std::int64_t n) {
  using T = typename Traits::Element;
  auto* r = static_cast<T*>(out);
  const auto* a = static_cast<const T*>(in[0]);
  std::array<T, sigmoid_block> e;
  for (std::int64_t start = 0; start < n; start += sigmoid_block) {
    const std::int64_t m = std::min(sigmoid_block, n - start);
    const T* x = a + start;
    for (std::int64_t i = 0; i < m; ++i) e[i] = -std::fabs(x[i]);
    const void* exponents = e.data();
    vector_unary_kernel<Traits, Exp>(e.data(), &exponents, m);
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < m; ++i)
      r[start + i] = sigmoid_quotient(x[i] < 0 ? e[i] : T{1}, e[i]);
  }
}
Kernel sigmoid_tile(DType compute) {
  return float_tile(compute, &sigmoid_kernel<F32, OUTRIGGER_SLEEF_F32(exp)>,
                    &sigmoid_kernel<F64, OUTRIGGER_SLEEF_F64(exp)>);
}

struct ReciprocalSqrt : OnLanes {
  template <typename T>
  static T apply(T x) {
    using std::sqrt;
    return T{1} / sqrt(x);
  }
};
Kernel rsqrt_tile(DType compute) {
  return float_tile(compute, unary_kernel_of<ReciprocalSqrt, float, float>(),
                    unary_kernel_of<ReciprocalSqrt, double, double>());
}

constexpr std::size_t erf_inv_block = 256;
using ErfInvBlock = std::array<double, erf_inv_block>;

template <auto F>
void apply_to(ErfInvBlock& values, std::size_t n) {
  const void* in = values.data();
  vector_unary_kernel<F64, F>(values.data(), &in, static_cast<std::int64_t>(n));
}

/// One step of Newton's method for erf(y) = x, which removes the rounding errors of the polynomials
/// in erf_inv. The residual is computed with erfc where 1 - |x| is exact.
void refine_erf_inv(const ErfInvBlock& x, ErfInvBlock& y, std::size_t n) {
  ErfInvBlock erf;
  ErfInvBlock erfc;
  ErfInvBlock inverse_slope;
  for (std::size_t i = 0; i < n; ++i) {
    erf[i] = y[i];
    erfc[i] = std::fabs(y[i]);
    inverse_slope[i] = y[i] * y[i];
  }
  apply_to<OUTRIGGER_SLEEF_F64(erf)>(erf, n);
  apply_to<OUTRIGGER_SLEEF_F64_U15(erfc)>(erfc, n);
  apply_to<OUTRIGGER_SLEEF_F64(exp)>(inverse_slope, n);
  constexpr double half_sqrt_pi = 0.88622692545275801365;
  for (std::size_t i = 0; i < n; ++i) {
    const double a = std::fabs(x[i]);
    const double residual =
        a < 0.5 ? erf[i] - x[i] : std::copysign(1.0, x[i]) * ((1.0 - a) - erfc[i]);
    const double refined = y[i] - residual * inverse_slope[i] * half_sqrt_pi;
    y[i] = a < 1.0 ? refined : y[i];
  }
}

/// f32 is computed in f64, so that its only error is the final rounding.
template <typename T>
void erf_inv_kernel(void* out, const void* const* in, std::int64_t n) {
  const auto count = static_cast<std::size_t>(n);
  auto* r = static_cast<T*>(out);
  const auto* a = static_cast<const T*>(in[0]);
  ErfInvBlock x;
  ErfInvBlock y;
  for (std::size_t start = 0; start < count; start += erf_inv_block) {
    const std::size_t m = std::min(erf_inv_block, count - start);
    for (std::size_t i = 0; i < m; ++i) {
      x[i] = static_cast<double>(a[start + i]);
      y[i] = 0.5 * (1.0 - std::fabs(x[i]));
    }
    apply_to<OUTRIGGER_SLEEF_F64(log)>(y, m);
    for (std::size_t i = 0; i < m; ++i) y[i] = erf_inv(x[i], y[i]);
    if constexpr (std::is_same_v<T, double>) refine_erf_inv(x, y, m);
    for (std::size_t i = 0; i < m; ++i) r[start + i] = static_cast<T>(y[i]);
  }
}
Kernel erf_inv_tile(DType compute) {
  return float_tile(compute, &erf_inv_kernel<float>, &erf_inv_kernel<double>);
}

OpRow math(std::string_view name, double ulp, Kernel (*tile)(DType), std::string_view doc,
           Kernel (*complex_tile)(DType) = nullptr) {
  OpRow row = unary_row("unary", name, infer_floating, tile, doc, complex_tile);
  row.ulp = ulp;
  return row;
}

}  // namespace

void add_math_rows(std::vector<OpRow>& rows) {
  rows.push_back(math("expm1", 1, expm1_tile,
                      "Element-wise e^x - 1, accurate also near 0. Integers become f32. At most 1 "
                      "ulp (SLEEF; glibc beyond its range).",
                      complex_expm1_tile));
  rows.push_back(math("log1p", 1.5, log1p_tile,
                      "Element-wise log(1 + x), accurate also near 0; -infinity at -1, NaN below. "
                      "Integers become f32. At most 1.5 ulp (SLEEF; glibc beyond its range).",
                      complex_log1p_tile));
  rows.push_back(math("sigmoid", 2, sigmoid_tile,
                      "Element-wise 1 / (1 + e^-x). Integers become f32. At most 2 ulp.",
                      complex_sigmoid_tile));
  rows.push_back(
      math("tan", 1.5, tan_tile,
           "Element-wise tangent of radians. Integers become f32. At most 1.5 ulp (SLEEF).",
           complex_tan_tile));
  rows.push_back(
      math("asin", 1, asin_tile,
           "Element-wise inverse sine; NaN outside of [-1, 1]. Integers become f32. At most "
           "1 ulp (SLEEF).",
           complex_asin_tile));
  rows.push_back(
      math("acos", 1, acos_tile,
           "Element-wise inverse cosine; NaN outside of [-1, 1]. Integers become f32. At "
           "most 1 ulp (SLEEF).",
           complex_acos_tile));
  rows.push_back(math("atan", 1, atan_tile,
                      "Element-wise inverse tangent. Integers become f32. At most 1 ulp (SLEEF).",
                      complex_atan_tile));
  rows.push_back(
      math("sinh", 2, sinh_tile,
           "Element-wise hyperbolic sine. Integers become f32. At most 2 ulp (SLEEF; glibc "
           "beyond its range).",
           complex_sinh_tile));
  rows.push_back(
      math("cosh", 2, cosh_tile,
           "Element-wise hyperbolic cosine. Integers become f32. At most 2 ulp (SLEEF; glibc "
           "beyond its range).",
           complex_cosh_tile));
  rows.push_back(
      math("asinh", 2, asinh_tile,
           "Element-wise inverse hyperbolic sine. Integers become f32. At most 2 ulp (SLEEF; "
           "glibc beyond its range).",
           complex_asinh_tile));
  rows.push_back(
      math("acosh", 2, acosh_tile,
           "Element-wise inverse hyperbolic cosine; NaN below 1. Integers become f32. At "
           "most 2 ulp (SLEEF; glibc beyond its range).",
           complex_acosh_tile));
  rows.push_back(
      math("atanh", 1.5, atanh_tile,
           "Element-wise inverse hyperbolic tangent; an infinity at -1 and 1, NaN beyond. "
           "Integers become f32. At most 1.5 ulp (SLEEF).",
           complex_atanh_tile));
  rows.push_back(
      math("rsqrt", 2, rsqrt_tile,
           "Element-wise 1 / sqrt(x); an infinity at 0, NaN below. Integers become f32. At "
           "most 2 ulp.",
           complex_rsqrt_tile));
  rows.push_back(math("cbrt", 1, cbrt_tile,
                      "Element-wise cube root, also for negative numbers. Integers become f32. At "
                      "most 1 ulp (SLEEF).",
                      complex_cbrt_tile));
  rows.push_back(
      math("erf", 2, erf_tile,
           "Element-wise error function. Integers become f32. f32: 2 ulp (after N. Juffa), "
           "f64: 1 ulp (SLEEF)."));
  rows.push_back(
      math("erfc", 1.5, erfc_tile,
           "Element-wise 1 - erf(x), without cancellation. Integers become f32. At most 1.5 "
           "ulp (SLEEF)."));
  rows.push_back(
      math("erf_inv", 2, erf_inv_tile,
           "Element-wise inverse of erf; an infinity at -1 and 1, NaN beyond. Integers become f32. "
           "At most 2 ulp (Wichura's AS 241 in f64, then a step of Newton's method)."));
}

}  // namespace outrigger::ops
