#include "ops/elementwise/complex_math.hpp"

#include <cmath>

namespace outrigger::ops {
namespace {

using Complex = std::complex<double>;

/// The kernel for both complex dtypes of F, a function on c128.
template <Complex (*F)(Complex)>
struct Rounded {
  template <typename T>
  static std::complex<T> apply(std::complex<T> x) {
    return std::complex<T>(F(Complex(x)));
  }
};

template <Complex (*F)(Complex)>
Kernel rounded_tile(DType compute) {
  return complex_unary_tile<Rounded<F>>(compute);
}

struct Divide {
  static std::complex<float> apply(std::complex<float> a, std::complex<float> b) {
    // The squares of f32 values neither overflow nor underflow in f64.
    const double squared =
        static_cast<double>(b.real()) * b.real() + static_cast<double>(b.imag()) * b.imag();
    const Complex product = times(Complex(a), std::conj(Complex(b)));
    return {static_cast<float>(product.real() / squared),
            static_cast<float>(product.imag() / squared)};
  }
  static Complex apply(Complex a, Complex b) { return a / b; }
};

Complex power(Complex x, Complex y) {
  if (x == 0.0) return y == 0.0 ? 1.0 : 0.0;
  if (y == 1.0) return x;
  if (y == -1.0) return 1.0 / x;
  return std::pow(x, y);
}

/// The angle of real coordinates, and its continuation to complex coordinates.
Complex angle(Complex y, Complex x) {
  if (y.imag() == 0 && x.imag() == 0) return std::atan2(y.real(), x.real());
  constexpr Complex i{0, 1};
  return -i * std::log((x + i * y) / std::sqrt(x * x + y * y));
}

/// The kernel of a function with two operands.
template <Complex (*F)(Complex, Complex)>
struct RoundedBinary {
  template <typename T>
  static std::complex<T> apply(std::complex<T> x, std::complex<T> y) {
    return std::complex<T>(F(Complex(x), Complex(y)));
  }
};

/// e^x − 1 without cancellation near 0: (e^a − 1) cos b − 2 sin²(b / 2), e^a sin b.
Complex expm1(Complex x) {
  const double half_sine = std::sin(x.imag() / 2);
  return {std::expm1(x.real()) * std::cos(x.imag()) - 2 * half_sine * half_sine,
          std::exp(x.real()) * std::sin(x.imag())};
}
/// log|1 + x| from |1 + x|² − 1 = a (2 + a) + b².
Complex log1p(Complex x) {
  const double a = x.real();
  const double b = x.imag();
  const double squared = a * (2 + a) + b * b;
  const bool near = std::fabs(a) < 0.5 && std::fabs(b) < 0.5;
  return {near ? 0.5 * std::log1p(squared) : std::log(std::hypot(1 + a, b)), std::atan2(b, 1 + a)};
}
Complex sigmoid(Complex x) {
  // Two forms are equal; this is the form whose power does not overflow.
  if (x.real() >= 0) return 1.0 / (1.0 + std::exp(-x));
  const Complex power = std::exp(x);
  return power / (1.0 + power);
}
Complex rsqrt(Complex x) { return 1.0 / std::sqrt(x); }
Complex cbrt(Complex x) {
  const double angle = std::arg(x) / 3;
  const double radius = std::cbrt(std::abs(x));
  // The product of an infinite radius and the sine of 0 would be NaN.
  return {radius * std::cos(angle), angle == 0 ? angle : radius * std::sin(angle)};
}

// The functions of the standard library are templates, and C++ does not allow their addresses.
Complex exp(Complex x) { return std::exp(x); }
Complex log(Complex x) { return std::log(x); }
Complex sqrt(Complex x) { return std::sqrt(x); }
Complex sin(Complex x) { return std::sin(x); }
Complex cos(Complex x) { return std::cos(x); }
Complex tan(Complex x) { return std::tan(x); }
Complex asin(Complex x) { return std::asin(x); }
Complex acos(Complex x) { return std::acos(x); }
Complex atan(Complex x) { return std::atan(x); }
Complex sinh(Complex x) { return std::sinh(x); }
Complex cosh(Complex x) { return std::cosh(x); }
Complex tanh(Complex x) { return std::tanh(x); }
Complex asinh(Complex x) { return std::asinh(x); }
Complex acosh(Complex x) { return std::acosh(x); }
Complex atanh(Complex x) { return std::atanh(x); }

struct Abs {
  template <typename T>
  static T apply(std::complex<T> x) {
    return static_cast<T>(std::hypot(static_cast<double>(x.real()), static_cast<double>(x.imag())));
  }
};
struct IsNan {
  template <typename T>
  static bool apply(std::complex<T> x) {
    return x != x;
  }
};
struct IsInfinity {
  template <typename T>
  static bool apply(std::complex<T> x) {
    return std::isinf(x.real()) || std::isinf(x.imag());
  }
};

}  // namespace

Kernel complex_abs_tile(DType compute) {
  return with_complex_type(compute, [](auto tag) -> Kernel {
    using C = typename decltype(tag)::type;
    return &unary_kernel<Abs, typename C::value_type, C>;
  });
}
Kernel complex_divide_tile(DType compute) { return complex_binary_tile<Divide>(compute); }
Kernel complex_pow_tile(DType compute) {
  return complex_binary_tile<RoundedBinary<power>>(compute);
}
Kernel complex_atan2_tile(DType compute) {
  return complex_binary_tile<RoundedBinary<angle>>(compute);
}
Kernel complex_exp_tile(DType compute) { return rounded_tile<exp>(compute); }
Kernel complex_expm1_tile(DType compute) { return rounded_tile<expm1>(compute); }
Kernel complex_log_tile(DType compute) { return rounded_tile<log>(compute); }
Kernel complex_log1p_tile(DType compute) { return rounded_tile<log1p>(compute); }
Kernel complex_sigmoid_tile(DType compute) { return rounded_tile<sigmoid>(compute); }
Kernel complex_sqrt_tile(DType compute) { return rounded_tile<sqrt>(compute); }
Kernel complex_rsqrt_tile(DType compute) { return rounded_tile<rsqrt>(compute); }
Kernel complex_cbrt_tile(DType compute) { return rounded_tile<cbrt>(compute); }
Kernel complex_sin_tile(DType compute) { return rounded_tile<sin>(compute); }
Kernel complex_cos_tile(DType compute) { return rounded_tile<cos>(compute); }
Kernel complex_tan_tile(DType compute) { return rounded_tile<tan>(compute); }
Kernel complex_asin_tile(DType compute) { return rounded_tile<asin>(compute); }
Kernel complex_acos_tile(DType compute) { return rounded_tile<acos>(compute); }
Kernel complex_atan_tile(DType compute) { return rounded_tile<atan>(compute); }
Kernel complex_sinh_tile(DType compute) { return rounded_tile<sinh>(compute); }
Kernel complex_cosh_tile(DType compute) { return rounded_tile<cosh>(compute); }
Kernel complex_tanh_tile(DType compute) { return rounded_tile<tanh>(compute); }
Kernel complex_asinh_tile(DType compute) { return rounded_tile<asinh>(compute); }
Kernel complex_acosh_tile(DType compute) { return rounded_tile<acosh>(compute); }
Kernel complex_atanh_tile(DType compute) { return rounded_tile<atanh>(compute); }
Kernel complex_is_nan_tile(DType compute) {
  return complex_unary_tile<IsNan, std::uint8_t>(compute);
}
Kernel complex_is_infinity_tile(DType compute) {
  return complex_unary_tile<IsInfinity, std::uint8_t>(compute);
}

}  // namespace outrigger::ops
