#include <cmath>
#include <cstdlib>

#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/elementwise/rows.hpp"
#include "ops/elementwise/special.hpp"
#include "ops/elementwise/vector_math.hpp"

namespace outrigger::ops {
namespace {

struct Negate : OnLanes {
  template <typename T>
  static T apply(T x) {
    return static_cast<T>(-x);
  }
};
struct Abs : OnLanes {
  template <typename T>
  static T apply(T x) {
    using std::fabs;
    if constexpr (std::is_unsigned_v<Element<T>>)
      return x;
    else if constexpr (std::is_floating_point_v<Element<T>>)
      return fabs(x);
    else
      return choose(x < T{0}, static_cast<T>(-x), x);
  }
};
struct Sign : OnLanes {
  template <typename T>
  static T apply(T x) {
    return choose(x > T{0}, T{1}, choose(x < T{0}, static_cast<T>(-1), x));
  }
};
struct Floor : OnLanes {
  template <typename T>
  static T apply(T x) {
    using std::floor;
    if constexpr (std::is_integral_v<Element<T>>)
      return x;
    else
      return floor(x);
  }
};
struct Ceil : OnLanes {
  template <typename T>
  static T apply(T x) {
    using std::ceil;
    if constexpr (std::is_integral_v<Element<T>>)
      return x;
    else
      return ceil(x);
  }
};
struct Round : OnLanes {
  template <typename T>
  static T apply(T x) {
    if constexpr (std::is_integral_v<Element<T>>) {
      return x;
    } else {
      // Rounds half away from zero. std::round does not vectorise.
      using std::copysign;
      using std::fabs;
      using std::trunc;
      const T whole = trunc(x);
      return choose(fabs(x - whole) >= T{0.5}, whole + copysign(T{1}, x), whole);
    }
  }
};
struct BitwiseNot : OnLanes {
  template <typename T>
  static T apply(T x) {
    if constexpr (std::is_integral_v<Element<T>>)
      return static_cast<T>(~x);
    else
      return x;
  }
};
struct Sqrt : OnLanes {
  template <typename T>
  static T apply(T x) {
    using std::sqrt;
    return sqrt(x);
  }
};

#define OUTRIGGER_SLEEF_KERNEL(name)                                        \
  float_tile(compute, &vector_unary_kernel<F32, OUTRIGGER_SLEEF_F32(name)>, \
             &vector_unary_kernel<F64, OUTRIGGER_SLEEF_F64(name)>)

Kernel exp_tile(DType compute) {
  return float_tile(compute, vector_unary_kernel_of<F32, OUTRIGGER_SLEEF_F32(exp)>(),
                    vector_unary_kernel_of<F64, OUTRIGGER_SLEEF_F64(exp)>());
}
Kernel log_tile(DType compute) {
  return float_tile(compute, vector_unary_kernel_of<F32, OUTRIGGER_SLEEF_F32(log)>(),
                    vector_unary_kernel_of<F64, OUTRIGGER_SLEEF_F64(log)>());
}
// Eigen's f32 sine and cosine take half the time of SLEEF's, but their error reaches 2.3 ulp.
Kernel sin_tile(DType compute) { return OUTRIGGER_SLEEF_KERNEL(sin); }
Kernel cos_tile(DType compute) { return OUTRIGGER_SLEEF_KERNEL(cos); }
Kernel tanh_tile(DType compute) {
#ifdef __FMA__
  const Kernel f64{&unary_kernel<TanhF64, double, double>,
                   &record_vector_function<F64, on_vector<F64, TanhF64>>};
#else
  const Kernel f64 = &vector_unary_kernel<F64, OUTRIGGER_SLEEF_F64(tanh)>;
#endif
  return float_tile(
      compute,
      {&unary_kernel<TanhF32, float, float>, &record_vector_function<F32, on_vector<F32, TanhF32>>},
      f64);
}
Kernel sqrt_tile(DType compute) {
  return float_tile(compute, unary_kernel_of<Sqrt, float, float>(),
                    unary_kernel_of<Sqrt, double, double>());
}

OpRow unary(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
            Kernel (*tile)(DType), std::string_view doc, Kernel (*complex_tile)(DType) = nullptr) {
  return unary_row("unary", name, infer, tile, doc, complex_tile);
}

/// A function that is not rounded correctly.
OpRow function(std::string_view name, double ulp, Kernel (*tile)(DType), std::string_view doc,
               Kernel (*complex_tile)(DType)) {
  OpRow row = unary(name, infer_floating, tile, doc, complex_tile);
  row.ulp = ulp;
  return row;
}

}  // namespace

void add_unary_rows(std::vector<OpRow>& rows) {
  rows.push_back(exact(
      unary("negate", infer_same, unary_tile<Negate>,
            "Element-wise negation. Keeps the dtype; integers, also unsigned ones, wrap around.",
            complex_unary_tile<Negate>)));
  rows.push_back(exact(unary("abs", infer_magnitude, unary_tile<Abs>,
                             "Element-wise absolute value. Keeps the dtype; c64 gives f32, and "
                             "c128 gives f64. The smallest signed integer does not change.",
                             complex_abs_tile)));
  rows.push_back(
      exact(unary("sign", infer_same, unary_tile<Sign>,
                  "Element-wise sign: -1, 0 or 1. Keeps the dtype; zeros and NaN do not change.")));
  rows.push_back(exact(unary("floor", infer_same, unary_tile<Floor>,
                             "Element-wise largest integer that is not larger than the element. "
                             "Keeps the dtype; integers are unchanged.")));
  rows.push_back(exact(unary("ceil", infer_same, unary_tile<Ceil>,
                             "Element-wise smallest integer that is not smaller than the element. "
                             "Keeps the dtype; integers are unchanged.")));
  rows.push_back(exact(unary("round", infer_same, unary_tile<Round>,
                             "Element-wise nearest integer; halves are rounded away from zero. "
                             "Keeps the dtype; integers are unchanged.")));
  rows.push_back(unary("bitwise_not", infer_integer, unary_tile<BitwiseNot>,
                       "Element-wise complement of all bits. Integers only (`bad_dtype`)."));
  rows.push_back(exact(
      unary("sqrt", infer_floating, sqrt_tile,
            "Element-wise square root, correctly rounded. Integers become f32; NaN below zero.",
            complex_sqrt_tile)));
  rows.push_back(function("exp", 1, exp_tile,
                          "Element-wise e^x. Integers become f32. At most 1 ulp (SLEEF).",
                          complex_exp_tile));
  rows.push_back(
      function("log", 1, log_tile,
               "Element-wise natural logarithm. Integers become f32; -infinity at 0, NaN "
               "below. At most 1 ulp (SLEEF).",
               complex_log_tile));
  rows.push_back(
      function("sin", 1, sin_tile,
               "Element-wise sine of radians. Integers become f32. At most 1 ulp (SLEEF).",
               complex_sin_tile));
  rows.push_back(
      function("cos", 1, cos_tile,
               "Element-wise cosine of radians. Integers become f32. At most 1 ulp (SLEEF).",
               complex_cos_tile));
  rows.push_back(function("tanh", 2, tanh_tile,
                          "Element-wise hyperbolic tangent. Integers become f32. At most 2 ulp "
                          "(f32 after Cephes; f64 as (e^2x - 1) / (e^2x + 1), SLEEF without FMA).",
                          complex_tanh_tile));
}

}  // namespace outrigger::ops
