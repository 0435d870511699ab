#include <limits>

#include "ops/catalogue.hpp"
#include "ops/kernels.hpp"
#include "ops/shapes.hpp"
#include "tensor/cast.hpp"

namespace outrigger::ops {
namespace {

struct NotZero {
  template <typename T>
  static bool apply(T a) {
    return a != 0;
  }
};

template <typename T>
void select_kernel(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<T*>(out);
  const auto* pred = static_cast<const std::uint8_t*>(in[0]);
  const auto* on_true = static_cast<const T*>(in[1]);
  const auto* on_false = static_cast<const T*>(in[2]);
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) r[i] = pred[i] != 0 ? on_true[i] : on_false[i];
}

/// Bits only move: one kernel for each width.
TileFn select_tile(DType compute) {
  return with_width(size_of(compute), [](auto tag) -> TileFn {
    return &select_kernel<typename decltype(tag)::type>;
  });
}

struct Clip {
  template <typename T>
  static T apply(T x, T low, T high) {
    const T raised = x < low ? low : x;
    return raised > high ? high : raised;
  }
};

TileFn clip_tile(DType compute) {
  return with_type(compute, [](auto tag) -> TileFn {
    using T = typename decltype(tag)::type;
    return &ternary_kernel<Clip, T, T>;
  });
}

Result<Inferred> infer_select(const InferCall& call) {
  const DType dtype = merged_dtype(call.in.subspan(1));
  const auto& pred = call.type(0).shape;
  OUTRIGGER_TRY(Dims shape, broadcast_shapes(call.type(1).shape, call.type(2).shape));
  if (!pred.empty()) {
    OUTRIGGER_TRY(const Dims all, broadcast_shapes(pred, shape));
    if (all != pred) {
      return fail(ErrorCode::bad_shape,
                  "the branches " + to_string(call.type(1)) + " and " + to_string(call.type(2)) +
                      " do not broadcast to the predicate's shape " + to_string(pred));
    }
    shape = pred;
  }
  Inferred inferred;
  inferred.compute = dtype;
  inferred.operands = {DType::u8, dtype, dtype};
  inferred.results.push_back(TensorType{dtype, std::move(shape)});
  return inferred;
}

Result<Inferred> infer_clip(const InferCall& call) {
  if (!call.type(1).shape.empty() || !call.type(2).shape.empty()) {
    return fail(ErrorCode::bad_shape, "min and max must be scalars, got " +
                                          to_string(call.type(1)) + " and " +
                                          to_string(call.type(2)));
  }
  return infer_same(call);
}

/// Whether a tile can be cast through a machine conversion: all elements inside of `Limit`'s range.
template <typename Limit, typename From>
bool all_within(const From* a, std::int64_t n) {
  // Half the range: its bounds are exact in every float.
  constexpr From bound =
      static_cast<From>(std::uint64_t{1} << (std::numeric_limits<Limit>::digits - 1));
  int outside = 0;
  for (std::int64_t i = 0; i < n; ++i)
    outside |= static_cast<int>(!(a[i] > -bound && a[i] < bound));
  return outside == 0;
}

template <typename To, typename From>
void cast_kernel(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<To*>(out);
  const auto* a = static_cast<const From*>(in[0]);
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    using Middle = std::conditional_t<sizeof(To) <= 4, std::int32_t, std::int64_t>;
    if (all_within<Middle>(a, n)) {
      OUTRIGGER_INDEPENDENT
      for (std::int64_t i = 0; i < n; ++i) r[i] = static_cast<To>(static_cast<Middle>(a[i]));
    } else {
      for (std::int64_t i = 0; i < n; ++i) r[i] = cast_element<To>(a[i]);
    }
  } else {
    OUTRIGGER_INDEPENDENT
    for (std::int64_t i = 0; i < n; ++i) r[i] = static_cast<To>(a[i]);
  }
}

Result<Inferred> infer_as_type(const InferCall& call) {
  const DType to = call.attrs.dtype("type");
  Inferred inferred;
  inferred.compute = to;
  inferred.operands = {to};
  inferred.results.push_back(TensorType{to, call.type(0).shape});
  return inferred;
}

}  // namespace

TileFn cast_tile(DType from, DType to) {
  return with_type(from, [to](auto from_tag) -> TileFn {
    return with_type(to, [](auto to_tag) -> TileFn {
      return &cast_kernel<typename decltype(to_tag)::type, typename decltype(from_tag)::type>;
    });
  });
}

TileFn boolean_tile(DType from) { return unary_tile<NotZero, std::uint8_t>(from); }

void register_select(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{.name = "select",
                       .family = "select",
                       .kind = Kind::elementwise,
                       .operands = {{"pred"}, {"on_true"}, {"on_false"}},
                       .in_place = 1,
                       .boolean_operands = 0b001,
                       .infer = infer_select,
                       .tile = select_tile,
                       .doc = "Element-wise `on_true` where `pred` is not zero, else `on_false`. "
                              "The shape is that of `pred`, or, if "
                              "`pred` is a scalar, what the branches broadcast to."});
  rows.push_back(OpRow{
      .name = "clip",
      .family = "select",
      .kind = Kind::elementwise,
      .operands = {{"tensor"}, {"min"}, {"max"}},
      .in_place = 0,
      .infer = infer_clip,
      .tile = clip_tile,
      .doc = "Element-wise: not below the scalar `min`, not above the scalar `max`. All three "
             "meet in one dtype. NaN stays NaN."});
  rows.push_back(OpRow{.name = "as_type",
                       .family = "select",
                       .kind = Kind::elementwise,
                       .operands = {{"tensor"}},
                       .attrs = {{"type", AttrType::dtype, true, "", "the new dtype"}},
                       .infer = infer_as_type,
                       .doc =
                           "Casts each element. Floats to integers truncate and then wrap around "
                           "modulo 2^bits; NaN gives 0, the "
                           "infinities the largest and smallest integer. Integers wrap around."});
}

}  // namespace outrigger::ops
