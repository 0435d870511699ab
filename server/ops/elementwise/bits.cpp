// Ops on the bits of numbers: counts, classes of floats, and the same bits as another dtype.

#include <algorithm>
#include <bit>
#include <cmath>

#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/elementwise/rows.hpp"
#include "tensor/cast_element.hpp"

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
struct IsNan : OnLanes {
  template <typename T>
  static auto apply(T x) {
    return x != x;
  }
};
struct IsInfinity : OnLanes {
  template <typename T>
  static auto apply(T x) {
    using std::fabs;
    if constexpr (std::is_floating_point_v<Element<T>>)
      return fabs(x) == T{std::numeric_limits<Element<T>>::infinity()};
    else
      return false;
  }
};

/// The counts for an integer below 8 bits, which a byte holds with its sign extended.
template <typename I>
struct SmallPopulationCount {
  static typename I::Carrier apply(typename I::Carrier x) {
    const auto low = static_cast<std::uint8_t>(static_cast<std::uint8_t>(x) << I::unused);
    return I::wrap(static_cast<typename I::Carrier>(std::popcount(low)));
  }
};
template <typename I>
struct SmallCountLeadingZeros {
  static typename I::Carrier apply(typename I::Carrier x) {
    const auto low = static_cast<std::uint8_t>(static_cast<std::uint8_t>(x) << I::unused);
    return I::wrap(
        static_cast<typename I::Carrier>(std::min(std::countl_zero(low), 8 - I::unused)));
  }
};

template <template <typename> typename F>
Kernel small_integer_tile(DType dtype) {
  switch (dtype) {
    case DType::u2:
      return &unary_kernel<F<U2>, std::uint8_t, std::uint8_t>;
    case DType::u4:
      return &unary_kernel<F<U4>, std::uint8_t, std::uint8_t>;
    case DType::s2:
      return &unary_kernel<F<S2>, std::int8_t, std::int8_t>;
    case DType::s4:
      return &unary_kernel<F<S4>, std::int8_t, std::int8_t>;
    default:
      unexpected_dtype(dtype);
  }
}

template <typename F, template <typename> typename Small>
Kernel integer_unary_tile(DType compute) {
  if (bits_of(compute) < 8) return small_integer_tile<Small>(compute);
  return with_type(compute, [](auto tag) -> Kernel {
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
  if (bits_of(to) != bits_of(from.dtype)) {
    return fail(ErrorCode::bad_dtype, "a bitcast keeps the width: " + to_string(from) +
                                          " cannot become " + std::string(name_of(to)));
  }
  if (is_complex(to) || is_complex(from.dtype)) {
    return fail(ErrorCode::bad_dtype, "complex numbers are not supported, got " + to_string(from) +
                                          " and " + std::string(name_of(to)));
  }
  Inferred inferred;
  // Below 8 bits, the byte of an element depends on its sign. A cast keeps the bits of the element.
  inferred.operands = {bits_of(to) < 8 ? to : from.dtype};
  inferred.results.push_back(TensorType{to, from.shape});
  return inferred;
}

Result<Tensor> view_bitcast(const ViewCall& call) {
  const Tensor& from = call.in[0];
  return view_of(from, call.result, from.strides, from.offset, call.mutable_view);
}

OpRow bits(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
           Kernel (*tile)(DType), std::string_view doc) {
  return unary_row("bits", name, infer, tile, doc);
}

}  // namespace

void add_bits_rows(std::vector<OpRow>& rows) {
  rows.push_back(bits("population_count", infer_integer,
                      integer_unary_tile<PopulationCount, SmallPopulationCount>,
                      "Element-wise number of bits that are 1, in two's complement. Keeps the "
                      "dtype. Integers only (`bad_dtype`)."));
  rows.back().any_dtype = true;
  rows.back().real_only = true;
  rows.push_back(bits("count_leading_zeros", infer_integer,
                      integer_unary_tile<CountLeadingZeros, SmallCountLeadingZeros>,
                      "Element-wise number of bits above the highest 1; for 0, it is the width. "
                      "Keeps the dtype. Integers only (`bad_dtype`)."));
  rows.back().any_dtype = true;
  rows.back().real_only = true;
  rows.push_back(bits("is_nan", infer_predicate, unary_tile<IsNan, std::uint8_t>,
                      "Element-wise: 1 for NaN, and for a complex number with a NaN part; "
                      "otherwise, and for all integers, 0. The result is u8."));
  rows.back().complex_tile = complex_is_nan_tile;
  rows.push_back(bits("is_infinity", infer_predicate, unary_tile<IsInfinity, std::uint8_t>,
                      "Element-wise: 1 for an infinity, and for a complex number with an infinite "
                      "part; otherwise, and for all integers, 0. The result is u8."));
  rows.back().complex_tile = complex_is_infinity_tile;
  rows.push_back(OpRow{
      .name = "bitcast",
      .family = "bits",
      .kind = Kind::view,
      .operands = {{"tensor"}},
      .attrs = {{"type", AttrType::dtype, true, "", "the new dtype"}},
      .in_place = 0,
      .any_dtype = true,
      .real_only = true,
      .infer = infer_bitcast,
      .view = view_bitcast,
      .doc = "The same bits as another dtype of the same width (`bad_dtype`). Complex dtypes are "
             "refused. A view; for integers below 8 bits, a copy, which has no mutable form."});
}

}  // namespace outrigger::ops
