#include <cmath>

#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/elementwise/rows.hpp"
#include "ops/elementwise/vector_math.hpp"

namespace outrigger::ops {
namespace {

// Integers wrap around: the ops library is compiled with -fwrapv.
struct Add : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a + b);
  }
};
struct Subtract : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a - b);
  }
};
struct Multiply : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return times(a, b);
  }
};
struct Divide : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return a / b;
  }
};
struct Quotient {
  template <typename T>
  static T apply(T a, T b) {
    if (b == 0) return static_cast<T>(-1);
    // The machine instruction for the smallest integer divided by -1 traps.
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(-a);
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <typename T>
  static T apply(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (b == 0) return a;
      if (std::is_signed_v<T> && b == static_cast<T>(-1)) return T{0};
      return static_cast<T>(a % b);
    }
  }
};
struct Min : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<Element<T>>)
      return lesser(a, b);
    else
      return choose(a != a, a, lesser(a, b));
  }
};
struct Max : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    if constexpr (std::is_integral_v<Element<T>>)
      return greater(a, b);
    else
      return choose(a != a, a, greater(a, b));
  }
};
struct IntegerPow {
  template <typename T>
  static T apply(T base, T exponent) {
    if (std::is_signed_v<T> && exponent < 0) {
      if (base == 1) return T{1};
      if (base == static_cast<T>(-1)) return exponent % 2 == 0 ? T{1} : static_cast<T>(-1);
      return T{0};
    }
    T result{1};
    for (auto left = static_cast<std::uint64_t>(exponent); left > 0; left >>= 1) {
      if ((left & 1) != 0) result = static_cast<T>(result * base);
      base = static_cast<T>(base * base);
    }
    return result;
  }
};
struct BitwiseAnd : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct BitwiseOr : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct BitwiseXor : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
struct LeftShift : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return shift_left(a, b);
  }
};
struct RightShift : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return shift_right(a, b);
  }
};

Kernel divide_tile(DType compute) {
  return float_tile(compute, binary_kernel_of<Divide, float, float>(),
                    binary_kernel_of<Divide, double, double>());
}
/// SLEEF's pow overflows for the largest double to the power of 1.
template <typename Traits, auto F>
typename Traits::Vector pow_exact_at_one(typename Traits::Vector x, typename Traits::Vector y) {
  const typename Traits::Vector one = typename Traits::Vector{} + 1;
  return y == one ? x : F(x, y);
}

Kernel float_pow_tile(DType compute) {
  return float_tile(compute, &vector_binary_kernel<F32, OUTRIGGER_SLEEF_F32(pow)>,
                    &vector_binary_kernel<F64, pow_exact_at_one<F64, OUTRIGGER_SLEEF_F64(pow)>>);
}
Kernel pow_tile(DType compute) {
  return is_float(compute) ? float_pow_tile(compute) : integer_binary_tile<IntegerPow>(compute);
}
Kernel atan2_tile(DType compute) {
  return float_tile(compute, &vector_binary_kernel<F32, OUTRIGGER_SLEEF_F32(atan2)>,
                    &vector_binary_kernel<F64, OUTRIGGER_SLEEF_F64(atan2)>);
}

OpRow binary(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
             Kernel (*tile)(DType), std::string_view doc, Kernel (*complex_tile)(DType) = nullptr) {
  return OpRow{.name = name,
               .family = "binary",
               .kind = Kind::elementwise,
               .operands = {{"left"}, {"right"}},
               .in_place = 0,
               .infer = infer,
               .tile = tile,
               .complex_tile = complex_tile,
               .doc = doc};
}

}  // namespace

void add_binary_rows(std::vector<OpRow>& rows) {
  rows.push_back(exact(binary("add", infer_same, binary_tile<Add>,
                              "Element-wise sum. Operands are broadcast and converted to their "
                              "common dtype; integers wrap around.",
                              complex_binary_tile<Add>)));
  rows.push_back(exact(binary("subtract", infer_same, binary_tile<Subtract>,
                              "Element-wise difference. Operands are broadcast and converted to "
                              "their common dtype; integers wrap around.",
                              complex_binary_tile<Subtract>)));
  rows.push_back(exact(binary("multiply", infer_same, binary_tile<Multiply>,
                              "Element-wise product. Operands are broadcast and converted to their "
                              "common dtype; integers wrap around.",
                              complex_binary_tile<Multiply>)));
  rows.push_back(exact(binary(
      "divide", infer_floating, divide_tile,
      "Element-wise division. Integers become f32. A division by zero gives an infinity or NaN.",
      complex_divide_tile)));
  rows.push_back(
      binary("quotient", infer_integer, integer_binary_tile<Quotient>,
             "Element-wise integer division, rounded towards zero. Integers only (`bad_dtype`). A "
             "division by zero gives an integer with all bits set, as in XLA."));
  rows.push_back(exact(
      binary("remainder", infer_same, binary_tile<Remainder>,
             "Element-wise remainder with the sign of the left operand (C's `%` and `fmod`). The "
             "remainder of an integer division by zero is the left operand, as in XLA.")));
  rows.push_back(binary("pow", infer_same, pow_tile,
                        "Element-wise power. Integers wrap around; with a negative exponent, the "
                        "powers of 1 and -1 are exact, and those of other integers are 0. Floats: "
                        "at most 1 ulp (SLEEF). Complex: 0 to any power except 0 is 0.",
                        complex_pow_tile));
  rows.back().ulp = 1;
  rows.push_back(exact(binary("min", infer_same, binary_tile<Min>,
                              "Element-wise smaller operand; NaN if either is NaN.")));
  rows.push_back(exact(binary("max", infer_same, binary_tile<Max>,
                              "Element-wise larger operand; NaN if either is NaN.")));
  rows.push_back(binary("atan2", infer_floating, atan2_tile,
                        "Element-wise angle of the point (right, left) in radians. Integers become "
                        "f32. At most 2 ulp for subnormal results, 1 ulp for others (SLEEF). "
                        "Complex: -i log((right + i left) / sqrt(left² + right²)).",
                        complex_atan2_tile));
  rows.back().ulp = 2;
  rows.push_back(binary("bitwise_and", infer_integer, integer_binary_tile<BitwiseAnd>,
                        "Element-wise AND of the bits. Integers only (`bad_dtype`)."));
  rows.push_back(binary("bitwise_or", infer_integer, integer_binary_tile<BitwiseOr>,
                        "Element-wise OR of the bits. Integers only (`bad_dtype`)."));
  rows.push_back(binary("bitwise_xor", infer_integer, integer_binary_tile<BitwiseXor>,
                        "Element-wise exclusive OR of the bits. Integers only (`bad_dtype`)."));
  rows.push_back(binary("left_shift", infer_integer, integer_binary_tile<LeftShift>,
                        "Element-wise shift to the left. The result is 0 for a negative shift, and "
                        "for a shift by the width or more. Integers only (`bad_dtype`)."));
  rows.push_back(
      binary("right_shift", infer_integer, integer_binary_tile<RightShift>,
             "Element-wise shift to the right, which keeps the sign. The result is 0 or -1 for a "
             "negative shift, and for a shift by the width or more. Integers only (`bad_dtype`)."));
}

}  // namespace outrigger::ops
