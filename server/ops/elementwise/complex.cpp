#include <cmath>

#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/rows.hpp"

namespace outrigger::ops {
namespace {

struct RealPart {
  template <typename T>
  static T apply(std::complex<T> x) {
    return x.real();
  }
};
struct ImaginaryPart {
  template <typename T>
  static T apply(std::complex<T> x) {
    return x.imag();
  }
};
struct Zero {
  template <typename T>
  static T apply(T) {
    return T{0};
  }
};
struct Conjugate {
  template <typename T>
  static std::complex<T> apply(std::complex<T> x) {
    return std::conj(x);
  }
};
struct Phase {
  template <typename T>
  static T apply(std::complex<T> x) {
    return std::atan2(x.imag(), x.real());
  }
};
struct RealPhase {
  template <typename T>
  static T apply(T x) {
    return std::atan2(T{0}, x);
  }
};
struct FromParts {
  template <typename T>
  static std::complex<T> apply(T real, T imaginary) {
    return {real, imaginary};
  }
};

/// A function from complex to real numbers.
template <typename F>
Kernel part_tile(DType compute) {
  return with_complex_type(compute, [](auto tag) -> Kernel {
    using C = typename decltype(tag)::type;
    return &unary_kernel<F, typename C::value_type, C>;
  });
}
template <typename F>
Kernel real_tile(DType compute) {
  return float_tile(compute, &unary_kernel<F, float, float>, &unary_kernel<F, double, double>);
}
Kernel from_parts_tile(DType compute) {
  return float_tile(compute, &binary_kernel<FromParts, std::complex<float>, float>,
                    &binary_kernel<FromParts, std::complex<double>, double>);
}

/// Integer operands are first converted to a float dtype. The result is real.
Result<Inferred> infer_part(const InferCall& call) {
  const DType dtype = to_floating(merged_dtype(call.in));
  return infer_elementwise(call, dtype, to_real(dtype));
}

Result<Inferred> infer_conjugate(const InferCall& call) {
  const DType dtype = to_complex(merged_dtype(call.in));
  return infer_elementwise(call, dtype, dtype);
}

Result<Inferred> infer_from_parts(const InferCall& call) {
  const DType dtype = merged_dtype(call.in);
  if (is_complex(dtype)) {
    return fail(ErrorCode::bad_dtype, "the parts must be real, got " + to_string(call.type(0)) +
                                          " and " + to_string(call.type(1)));
  }
  const DType result = to_complex(dtype);
  return infer_elementwise(call, to_real(result), result);
}

OpRow part(std::string_view name, Kernel (*real)(DType), Kernel (*complex)(DType),
           std::string_view doc) {
  return unary_row("complex", name, infer_part, real, doc, complex);
}

}  // namespace

void add_complex_rows(std::vector<OpRow>& rows) {
  rows.push_back(exact(part("real", nullptr, part_tile<RealPart>,
                            "Element-wise real part: f32 for c64, f64 for c128. Real floats keep "
                            "their dtype and value; integers become f32.")));
  rows.push_back(exact(part("imag", real_tile<Zero>, part_tile<ImaginaryPart>,
                            "Element-wise imaginary part: f32 for c64, f64 for c128. For real "
                            "numbers it is 0, in their dtype if it is a float, else as f32.")));
  rows.push_back(
      exact(part("phase", real_tile<RealPhase>, part_tile<Phase>,
                 "Element-wise angle of a complex number in radians, from -pi to pi. The result is "
                 "f32 for c64, f64 for c128 and f32 for integers; real floats keep their dtype.")));
  OpRow conjugate =
      part("conjugate", nullptr, complex_unary_tile<Conjugate>,
           "Element-wise complex conjugate. Real numbers are first converted to complex ones: f64 "
           "to c128, others to c64. The imaginary part of their result is -0.0.");
  conjugate.infer = infer_conjugate;
  rows.push_back(std::move(conjugate));
  rows.push_back(OpRow{.name = "complex",
                       .family = "complex",
                       .kind = Kind::elementwise,
                       .operands = {{"real"}, {"imag"}},
                       .complex = true,
                       .infer = infer_from_parts,
                       .tile = from_parts_tile,
                       .doc = "Element-wise complex number from two real parts, which are "
                              "broadcast. The result is c128 if their common dtype is f64, else "
                              "c64. Complex parts are an error (`bad_dtype`)."});
}

}  // namespace outrigger::ops
