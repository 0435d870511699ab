#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// Functions that SLEEF does not have, or that take several times too long in SLEEF. They are
// arithmetic without branches and calls, so that the compiler vectorises a tile's loop over them at
// the full width of the machine. tests/ops/ulp_test.cpp tests their error bounds.

namespace outrigger::ops {

/// 2^k for -1022 <= k <= 1023.
inline double power_of_two(std::int64_t k) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52);
}

/// y = k ln 2 + r with |r| <= ln 2 / 2 and an integer k, by Cody and Waite; |y| < 2^20.
struct Reduced {
  double r;
  std::int64_t k;
  static Reduced of(double y) {
    constexpr double shifter = 6755399441055744.0;  // 1.5 · 2^52: its addition rounds to an integer
    const double shifted = y * 1.44269504088896338700e+00 + shifter;
    const double whole = shifted - shifter;
    return {(y - whole * 6.93147180369123816490e-01) - whole * 1.90821492927058770002e-10,
            std::bit_cast<std::int64_t>(shifted) - std::bit_cast<std::int64_t>(shifter)};
  }
};

/// e^r - 1 for |r| <= ln 2 / 2: the Taylor series to the 13th power, in pairs, which halves the
/// chain of dependent operations.
inline double expm1_reduced(double r) {
  const double s = r * r;
  const double p2 = 1.0 / 2 + r * (1.0 / 6);
  const double p4 = 1.0 / 24 + r * (1.0 / 120);
  const double p6 = 1.0 / 720 + r * (1.0 / 5040);
  const double p8 = 1.0 / 40320 + r * (1.0 / 362880);
  const double p10 = 1.0 / 3628800 + r * (1.0 / 39916800);
  const double p12 = 1.0 / 479001600 + r * (1.0 / 6227020800.0);
  return r + s * (p2 + s * (p4 + s * (p6 + s * (p8 + s * (p10 + s * p12)))));
}

/// e^y in f32 for -80 < y < 80: Cephes' expf (S. L. Moshier, 1989).
inline float exp_bounded(float y) {
  constexpr float shifter = 12582912.0F;  // 1.5 · 2^23: its addition rounds to an integer
  const float shifted = y * 1.44269504088896341F + shifter;
  const float k = shifted - shifter;
  const float r = (y - k * 0.693359375F) + k * 2.12194440e-4F;
  float e = 1.9875691500e-4F;
  e = e * r + 1.3981999507e-3F;
  e = e * r + 8.3334519073e-3F;
  e = e * r + 4.1665795894e-2F;
  e = e * r + 1.6666665459e-1F;
  e = e * r + 5.0000001201e-1F;
  e = e * r * r + r + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(std::bit_cast<std::int32_t>(shifted) << 23);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(e) + exponent);
}

/// tanh in f32, 1.5 ulp: the odd polynomial of Cephes below 0.625, 1 − 2 / (e^2x + 1) above.
/// SLEEF's function takes four times as long; Eigen's has an error of 3.4 ulp.
struct TanhF32 {
  static float apply(float x) {
    const float a = std::fabs(x);
    const float s = x * x;
    float p = -5.70498872745e-3F;
    p = p * s + 2.06390887954e-2F;
    p = p * s - 5.37397155531e-2F;
    p = p * s + 1.33314422036e-1F;
    p = p * s - 3.33332819422e-1F;
    const float small = x + x * s * p;
    // Above 9.02 tanh rounds to 1.
    const float e = exp_bounded(2.0F * (a < 9.02F ? a : 9.02F));
    const float large = std::copysign(1.0F - 2.0F / (e + 1.0F), x);
    // A NaN fails the comparison. `large` is wrong for a NaN, so that the comparison selects the
    // other value.
    return a >= 0.625F ? large : small;
  }
};

/// erf in f32 by the two polynomials of N. Juffa (at most 1 ulp with fused multiply-add): a
/// polynomial of x below 0.93, and one for the exponent of 1 - e^… above.
struct ErfF32 {
  static float apply(float x) {
    const float a = std::fabs(x);
    const float s = x * x;
    float small = -5.96761703e-4F;
    small = small * s + 4.99119423e-3F;
    small = small * s - 2.67681349e-2F;
    small = small * s + 1.12819925e-1F;
    small = small * s - 3.76125336e-1F;
    small = small * s + 1.28379166e-1F;
    small = small * x + x;

    // Above 4 erf rounds to 1. For a NaN the constant is used here, and the comparison at the end
    // selects `small`.
    const float t = a < 4.0F ? a : 4.0F;
    float y = -1.72853470e-5F * t + 3.83197126e-4F;
    y = y * (t * t) + (-3.88396438e-3F * t + 2.42546219e-2F);
    y = y * t - 1.06777877e-1F;
    y = y * t - 6.34846687e-1F;
    y = y * t - 1.28717512e-1F;
    y = y * t - t;
    const float large = std::copysign(1.0F - exp_bounded(y), x);
    return a > 0.927734375F ? large : small;
  }
};

#ifdef __FMA__
/// tanh in f64, at most 2 ulp: u / (u + 2) with u = e^(2|x|) - 1, plus the residual of the
/// quotient. It takes a third of the time of SLEEF's function, but needs a fused multiply-add for
/// an exact residual.
struct TanhF64 {
  static double apply(double x) {
    const double a = std::fabs(x);
    // Above 19.1 tanh rounds to 1. For a NaN the constant is used here, and the end of the function
    // restores the NaN.
    const auto [r, k] = Reduced::of(2.0 * (a < 19.1 ? a : 19.1));
    const double scale = power_of_two(k);
    const double u = std::fma(expm1_reduced(r), scale, scale - 1.0);
    const double d = u + 2.0;
    const double rest = u - (d - 2.0);
    const double inverse = 1.0 / d;
    const double t = u * inverse;
    const double residual = std::fma(-t, d, u) - t * rest;
    const double result = std::copysign(t + residual * inverse, x);
    return x == x ? result : x;
  }
};
#endif

namespace as241 {
/// The coefficients of Wichura's PPND16, lowest power first.
inline constexpr std::array<double, 8> central{3.3871328727963666080e0,  1.3314166789178437745e+2,
                                               1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                               4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                               3.3430575583588128105e+4, 2.5090809287301226727e+3};
inline constexpr std::array<double, 8> central_over{1.0,
                                                    4.2313330701600911252e+1,
                                                    6.8718700749205790830e+2,
                                                    5.3941960214247511077e+3,
                                                    2.1213794301586595867e+4,
                                                    3.9307895800092710610e+4,
                                                    2.8729085735721942674e+4,
                                                    5.2264952788528545610e+3};
inline constexpr std::array<double, 8> middle{1.42343711074968357734e0,  4.63033784615654529590e0,
                                              5.76949722146069140550e0,  3.64784832476320460504e0,
                                              1.27045825245236838258e0,  2.41780725177450611770e-1,
                                              2.27238449892691845833e-2, 7.74545014278341407640e-4};
inline constexpr std::array<double, 8> middle_over{1.0,
                                                   2.05319162663775882187e0,
                                                   1.67638483018380384940e0,
                                                   6.89767334985100004550e-1,
                                                   1.48103976427480074590e-1,
                                                   1.51986665636164571966e-2,
                                                   5.47593808499534494600e-4,
                                                   1.05075007164441684324e-9};
inline constexpr std::array<double, 8> tail{6.65790464350110377720e0,  5.46378491116411436990e0,
                                            1.78482653991729133580e0,  2.96560571828504891230e-1,
                                            2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                            2.71155556874348757815e-5, 2.01033439929228813265e-7};
inline constexpr std::array<double, 8> tail_over{1.0,
                                                 5.99832206555887937690e-1,
                                                 1.36929880922735805310e-1,
                                                 1.48753612908506148525e-2,
                                                 7.86869131145613259100e-4,
                                                 1.84631831751005468180e-5,
                                                 1.42151175831644588870e-7,
                                                 2.04426310338993978564e-15};

inline double polynomial(double x, const std::array<double, 8>& c) {
  double p = c[7];
  for (std::size_t i = 7; i-- > 0;) p = p * x + c[i];
  return p;
}
}  // namespace as241

/// erf_inv from x and l = log((1 - |x|) / 2): the quantile of (1 + x) / 2 under the normal
/// distribution (M. J. Wichura, Algorithm AS 241, 1988) over the square root of 2.
inline double erf_inv(double x, double l) {
  using namespace as241;
  const double q = x * 0.5;
  const double r = 0.180625 - q * q;
  const double inner = q * polynomial(r, central) / polynomial(r, central_over);
  const double s = std::sqrt(-l);
  const double near = polynomial(s - 1.6, middle) / polynomial(s - 1.6, middle_over);
  const double far = polynomial(s - 5.0, tail) / polynomial(s - 5.0, tail_over);
  double outer = std::copysign(s <= 5.0 ? near : far, x);
  if (std::fabs(x) == 1.0) outer = std::copysign(std::numeric_limits<double>::infinity(), x);
  return 0.70710678118654752440 * (std::fabs(q) <= 0.425 ? inner : outer);
}

}  // namespace outrigger::ops
