#include "ops/elementwise/kernels.hpp"
#include "ops/elementwise/rows.hpp"
#include "ops/support/axes.hpp"

namespace outrigger::ops {
namespace {

struct Select : OnLanes {
  template <typename P, typename T>
  static T apply(P pred, T on_true, T on_false) {
    return choose(pred != P{0}, on_true, on_false);
  }
};

template <typename T>
void select_kernel(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<T*>(out);
  const auto* pred = static_cast<const std::uint8_t*>(in[0]);
  const auto* on_true = static_cast<const T*>(in[1]);
  const auto* on_false = static_cast<const T*>(in[2]);
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) r[i] = Select::apply(pred[i], on_true[i], on_false[i]);
}

/// The kernel only moves bits: there is one kernel for each width.
Kernel select_tile(DType compute) {
  return with_width(size_of(compute), [](auto tag) -> Kernel {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>)
      return {&select_kernel<T>, &record_kernel<Select, T, std::uint8_t, T, T>};
    else
      return &select_kernel<T>;
  });
}

struct Clip : OnLanes {
  template <typename T>
  static T apply(T x, T low, T high) {
    return lesser(high, greater(low, x));
  }
};

Kernel clip_tile(DType compute) {
  return with_type(compute, [](auto tag) -> Kernel {
    using T = typename decltype(tag)::type;
    return ternary_kernel_of<Clip, T, T>();
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

}  // namespace

void add_select_rows(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{.name = "select",
                       .family = "select",
                       .kind = Kind::elementwise,
                       .operands = {{"pred"}, {"on_true"}, {"on_false"}},
                       .in_place = 1,
                       .boolean_operands = 0b001,
                       .any_dtype = true,
                       .infer = infer_select,
                       .ulp = 0,
                       .tile = select_tile,
                       .doc = "Element-wise `on_true` where `pred` is not zero, else `on_false`. "
                              "The result has the shape of `pred`, or, if `pred` is a scalar, the "
                              "shape to which `on_true` and `on_false` are broadcast."});
  rows.push_back(OpRow{
      .name = "clip",
      .family = "select",
      .kind = Kind::elementwise,
      .operands = {{"tensor"}, {"min"}, {"max"}},
      .in_place = 0,
      .infer = infer_clip,
      .ulp = 0,
      .tile = clip_tile,
      .doc =
          "Element-wise limit to the range from the scalar `min` to the scalar `max`. All three "
          "are converted to their common dtype; small floats are compared in f32. NaN stays NaN."});
}

}  // namespace outrigger::ops
