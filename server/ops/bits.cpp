// Bits of numbers: counts, kinds of floats, and the same bits as another dtype.

#include <bit>
#include <cmath>

#include "ops/catalogue.hpp"
#include "ops/kernels.hpp"

namespace outrigger::ops {
namespace {

struct PopulationCount {
  template <typename T>
  static T apply(T x) {
    return static_cast<T>(std::popcount(static_cast<std::make_unsigned_t<T>>(x)));
  }
};
struct CountLeadingZeros {
  template <typename T>
  static T apply(T x) {
    return static_cast<T>(std::countl_zero(static_cast<std::make_unsigned_t<T>>(x)));
  }
};
struct IsNan {
  template <typename T>
  static bool apply(T x) {
    return x != x;
  }
};
struct IsInfinity {
  template <typename T>
  static bool apply(T x) {
    if constexpr (std::is_floating_point_v<T>)
      return std::fabs(x) == std::numeric_limits<T>::infinity();
    else
      return false;
  }
};

template <typename F>
TileFn integer_unary_tile(DType compute) {
  return with_type(compute, [](auto tag) -> TileFn {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>) {
      return &unary_kernel<F, T, T>;
    } else {
      return nullptr;
    }
  });
}

Result<Inferred> infer_bitcast(const InferCall& call) {
  const TensorType& from = call.type(0);
  const DType to = call.attrs.dtype("type");
  if (size_of(to) != size_of(from.dtype)) {
    return fail(ErrorCode::bad_dtype, "a bitcast keeps the width: " + to_string(from) +
                                          " cannot become " + std::string(name_of(to)));
  }
  Inferred inferred;
  inferred.operands = {from.dtype};
  inferred.results.push_back(TensorType{to, from.shape});
  return inferred;
}

Result<Tensor> view_bitcast(const ViewCall& call) {
  const Tensor& from = call.in[0];
  return view_of(from, call.result, from.strides, from.offset, call.mutable_view);
}

OpRow bits(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
           TileFn (*tile)(DType), std::string_view doc) {
  return OpRow{.name = name,
               .family = "bits",
               .kind = Kind::elementwise,
               .operands = {{"tensor"}},
               .in_place = 0,
               .infer = infer,
               .tile = tile,
               .doc = doc};
}

}  // namespace

void register_bits(std::vector<OpRow>& rows) {
  rows.push_back(bits("population_count", infer_integer, integer_unary_tile<PopulationCount>,
                      "Element-wise number of bits that are 1, in two's complement. Keeps the "
                      "dtype. Integers only (`bad_dtype`)."));
  rows.push_back(bits("count_leading_zeros", infer_integer, integer_unary_tile<CountLeadingZeros>,
                      "Element-wise number of bits above the highest 1; the width for 0. Keeps the "
                      "dtype. Integers only (`bad_dtype`)."));
  rows.push_back(bits("is_nan", infer_predicate, unary_tile<IsNan, std::uint8_t>,
                      "Element-wise: 1 for NaN, as u8. Integers never are."));
  rows.push_back(bits("is_infinity", infer_predicate, unary_tile<IsInfinity, std::uint8_t>,
                      "Element-wise: 1 for an infinity, as u8. Integers never are."));
  rows.push_back(OpRow{.name = "bitcast",
                       .family = "bits",
                       .kind = Kind::view,
                       .operands = {{"tensor"}},
                       .attrs = {{"type", AttrType::dtype, true, "", "the new dtype"}},
                       .in_place = 0,
                       .infer = infer_bitcast,
                       .view = view_bitcast,
                       .doc = "The same bits as another dtype of the same width (`bad_dtype`). A "
                              "view."});
}

}  // namespace outrigger::ops
