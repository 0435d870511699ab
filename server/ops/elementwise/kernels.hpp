#pragma once

#include <cstdint>
#include <type_traits>

#include "ops/inference.hpp"
#include "ops/op.hpp"
#include "ops/pass/compile/lanes.hpp"

// The iterations of a tile's loop are independent, also if `out` is one of the inputs. The compiler
// may therefore vectorise without a check for overlap, which would fail for in-place calls.
// clang's `assume_safety` promises more: it includes the temporaries on the stack that std::min
// takes by reference. If clang keeps them in memory, it then computes wrong values.
#if defined(__clang__)
#define OUTRIGGER_INDEPENDENT _Pragma("clang loop vectorize(enable)")
#else
#define OUTRIGGER_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace outrigger::ops {

/// A tile kernel of a function object with a static apply(a…): R on elements of type A.
template <typename F, typename R, typename A>
void unary_kernel(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<R*>(out);
  const auto* a = static_cast<const A*>(in[0]);
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(F::apply(a[i]));
}

template <typename F, typename R, typename A>
void binary_kernel(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<R*>(out);
  const auto* a = static_cast<const A*>(in[0]);
  const auto* b = static_cast<const A*>(in[1]);
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(F::apply(a[i], b[i]));
}

template <typename F, typename R, typename A>
void ternary_kernel(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<R*>(out);
  const auto* a = static_cast<const A*>(in[0]);
  const auto* b = static_cast<const A*>(in[1]);
  const auto* c = static_cast<const A*>(in[2]);
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) r[i] = static_cast<R>(F::apply(a[i], b[i], c[i]));
}

/// F's kernel, and its record for the compiler if F accepts lanes.
template <typename F, typename R, typename A>
constexpr Kernel unary_kernel_of() {
  if constexpr (std::is_base_of_v<OnLanes, F>)
    return {&unary_kernel<F, R, A>, &record_kernel<F, R, A>};
  else
    return &unary_kernel<F, R, A>;
}

template <typename F, typename R, typename A>
constexpr Kernel binary_kernel_of() {
  if constexpr (std::is_base_of_v<OnLanes, F>)
    return {&binary_kernel<F, R, A>, &record_kernel<F, R, A, A>};
  else
    return &binary_kernel<F, R, A>;
}

template <typename F, typename R, typename A>
constexpr Kernel ternary_kernel_of() {
  if constexpr (std::is_base_of_v<OnLanes, F>)
    return {&ternary_kernel<F, R, A>, &record_kernel<F, R, A, A, A>};
  else
    return &ternary_kernel<F, R, A>;
}

/// `tile` of a row: F's kernel for the compute dtype. R fixes the dtype of the result; void keeps
/// the operand's.
template <typename F, typename R = void>
Kernel unary_tile(DType compute) {
  return with_type(compute, [](auto tag) {
    using T = typename decltype(tag)::type;
    return unary_kernel_of<F, std::conditional_t<std::is_void_v<R>, T, R>, T>();
  });
}

template <typename F, typename R = void>
Kernel binary_tile(DType compute) {
  return with_type(compute, [](auto tag) {
    using T = typename decltype(tag)::type;
    return binary_kernel_of<F, std::conditional_t<std::is_void_v<R>, T, R>, T>();
  });
}

/// A row with one operand, which its in-place form writes.
inline OpRow unary_row(std::string_view family, std::string_view name,
                       Result<Inferred> (*infer)(const InferCall&), Kernel (*tile)(DType),
                       std::string_view doc, Kernel (*complex_tile)(DType) = nullptr) {
  return OpRow{.name = name,
               .family = family,
               .kind = Kind::elementwise,
               .operands = {{"tensor"}},
               .in_place = 0,
               .infer = infer,
               .tile = tile,
               .complex_tile = complex_tile,
               .doc = doc};
}

/// The row of an op whose real results are the floats nearest to the exact results.
inline OpRow exact(OpRow row) {
  row.ulp = 0;
  return row;
}

inline Kernel float_tile(DType compute, Kernel f32, Kernel f64) {
  return compute == DType::f32 ? f32 : f64;
}

template <typename F>
Kernel integer_binary_tile(DType compute) {
  return with_type(compute, [](auto tag) -> Kernel {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>) {
      return binary_kernel_of<F, T, T>();
    } else {
      return nullptr;
    }
  });
}

}  // namespace outrigger::ops
