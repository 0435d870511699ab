#include "ops/cast/cast.hpp"

#include <immintrin.h>

#include <limits>

#include "ops/catalogue.hpp"
#include "ops/elementwise/kernels.hpp"
#include "tensor/cast_element.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops {
namespace {

/// True if a machine conversion can cast the tile: all elements are within the range of `Limit`.
template <typename Limit, typename From>
bool all_within(const From* a, std::int64_t n) {
  // Half of the range, whose bounds are exact in every float.
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

template <typename To, typename From>
Trace::Id record_cast(Trace& trace, const Trace::Id* in) {
  return trace.convert(dtype_v<From>, dtype_v<To>, in[0]);
}

Kernel cast_tile(DType from, DType to) {
  return with_type(from, [to](auto from_tag) -> Kernel {
    return with_type(to, [](auto to_tag) -> Kernel {
      using To = typename decltype(to_tag)::type;
      using From = typename decltype(from_tag)::type;
      return {&cast_kernel<To, From>, &record_cast<To, From>};
    });
  });
}

template <typename F>
struct Widen {
  static float apply(typename F::Bits x) { return widen<F>(x); }
};
template <typename F>
struct Narrow {
  static typename F::Bits apply(float x) { return narrow<F>(x); }
};
template <typename F>
struct NarrowDouble {
  static typename F::Bits apply(double x) { return narrow<F>(x); }
};
template <typename I>
struct Wrap {
  static typename I::Carrier apply(typename I::Carrier x) { return I::wrap(x); }
};
template <typename I>
struct ToSmallInteger {
  template <typename T>
  static typename I::Carrier apply(T x) {
    return cast_small<I>(x);
  }
};
struct Real {
  template <typename T>
  static T apply(std::complex<T> x) {
    return x.real();
  }
};
struct FromReal {
  template <typename T>
  static std::complex<T> apply(T x) {
    return {x, T{0}};
  }
};
struct OtherComplex {
  static std::complex<float> apply(std::complex<double> x) {
    return {static_cast<float>(x.real()), static_cast<float>(x.imag())};
  }
  static std::complex<double> apply(std::complex<float> x) { return {x.real(), x.imag()}; }
};
struct NotZero : OnLanes {
  template <typename T>
  static auto apply(T a) {
    return a != T{0};
  }
};

#if defined(__F16C__)
// The machine's own conversions. They give the same bits as widen and narrow.
void widen_f16(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<float*>(out);
  const auto* a = static_cast<const std::uint16_t*>(in[0]);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
    _mm256_storeu_ps(r + i, _mm256_cvtph_ps(x));
  }
  for (; i < n; ++i) r[i] = widen<F16>(a[i]);
}
void narrow_f16(void* out, const void* const* in, std::int64_t n) {
  auto* r = static_cast<std::uint16_t*>(out);
  const auto* a = static_cast<const float*>(in[0]);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i x = _mm256_cvtps_ph(_mm256_loadu_ps(a + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(r + i), x);
  }
  for (; i < n; ++i) r[i] = narrow<F16>(a[i]);
}
#else
constexpr TileFn widen_f16 = &unary_kernel<Widen<F16>, float, std::uint16_t>;
constexpr TileFn narrow_f16 = &unary_kernel<Narrow<F16>, std::uint16_t, float>;
#endif

Trace::Id record_widen_f16(Trace& trace, const Trace::Id* in) {
  return trace.convert(DType::f16, DType::f32, in[0]);
}
Trace::Id record_narrow_f16(Trace& trace, const Trace::Id* in) {
  return trace.convert(DType::f32, DType::f16, in[0]);
}

Kernel widen_tile(DType from) {
  switch (from) {
    case DType::f8:
      return &unary_kernel<Widen<F8>, float, std::uint8_t>;
    case DType::f8_e4m3fn:
      return &unary_kernel<Widen<F8E4M3FN>, float, std::uint8_t>;
    case DType::f16:
      return {widen_f16, record_widen_f16};
    case DType::bf16:
      return &unary_kernel<Widen<BF16>, float, std::uint16_t>;
    default:
      unexpected_dtype(from);
  }
}

/// From f32 or f64 to a small float.
Kernel narrow_tile(DType from, DType to) {
  const bool single = from == DType::f32;
  switch (to) {
    case DType::f8:
      return single ? &unary_kernel<Narrow<F8>, std::uint8_t, float>
                    : &unary_kernel<NarrowDouble<F8>, std::uint8_t, double>;
    case DType::f8_e4m3fn:
      return single ? &unary_kernel<Narrow<F8E4M3FN>, std::uint8_t, float>
                    : &unary_kernel<NarrowDouble<F8E4M3FN>, std::uint8_t, double>;
    case DType::f16:
      if (single) return {narrow_f16, record_narrow_f16};
      return &unary_kernel<NarrowDouble<F16>, std::uint16_t, double>;
    case DType::bf16:
      return single ? &unary_kernel<Narrow<BF16>, std::uint16_t, float>
                    : &unary_kernel<NarrowDouble<BF16>, std::uint16_t, double>;
    default:
      unexpected_dtype(to);
  }
}

template <typename I>
Kernel small_integer_tile(DType from) {
  using C = typename I::Carrier;
  if (from == DType::f32) return &unary_kernel<ToSmallInteger<I>, C, float>;
  if (from == DType::f64) return &unary_kernel<ToSmallInteger<I>, C, double>;
  return &unary_kernel<Wrap<I>, C, C>;
}

/// From f32, f64 or the byte of a small integer to an integer below 8 bits.
Kernel small_integer_tile(DType from, DType to) {
  switch (to) {
    case DType::u2:
      return small_integer_tile<U2>(from);
    case DType::u4:
      return small_integer_tile<U4>(from);
    case DType::s2:
      return small_integer_tile<S2>(from);
    case DType::s4:
      return small_integer_tile<S4>(from);
    default:
      unexpected_dtype(to);
  }
}

Kernel real_tile(DType from) {
  return with_complex_type(from, [](auto tag) -> Kernel {
    using C = typename decltype(tag)::type;
    return &unary_kernel<Real, typename C::value_type, C>;
  });
}

Kernel complex_tile(DType to) {
  return with_complex_type(to, [](auto tag) -> Kernel {
    using C = typename decltype(tag)::type;
    return &unary_kernel<FromReal, C, typename C::value_type>;
  });
}

Kernel other_complex_tile(DType to) {
  return to == DType::c64
             ? Kernel{&unary_kernel<OtherComplex, std::complex<float>, std::complex<double>>}
             : Kernel{&unary_kernel<OtherComplex, std::complex<double>, std::complex<float>>};
}

/// The steps of a cast, in construction.
struct Path {
  CastSteps steps;
  DType at;

  void step(Kernel kernel, DType to) {
    steps.push_back({kernel.run, to, kernel.record});
    at = to;
  }
  /// Adds the conversion between two dtypes with kernels.
  void convert(DType to) {
    if (at != to) step(cast_tile(at, to), to);
  }
};

/// The dtype from which a small float is rounded. It represents the value exactly; a large integer
/// is rounded to it as in Nx.
DType before_narrowing(DType from) {
  if (is_float(from)) return from;
  return size_of(from) <= 2 ? DType::f32 : DType::f64;
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

CastSteps cast_steps(DType from, DType to) {
  if (from == to) return {};
  Path path{{}, from};
  if (is_complex(from) && is_complex(to)) {
    path.step(other_complex_tile(to), to);
    return path.steps;
  }
  if (is_complex(from)) path.step(real_tile(from), to_real(from));
  if (is_small_float(from)) path.step(widen_tile(from), DType::f32);
  path.at = compute_dtype(path.at);
  if (path.at == to) return path.steps;
  if (is_complex(to)) {
    path.convert(to_real(to));
    path.step(complex_tile(to), to);
  } else if (is_small_float(to)) {
    path.convert(before_narrowing(path.at));
    path.step(narrow_tile(path.at, to), to);
  } else if (bits_of(to) < 8) {
    if (is_integer(path.at)) path.convert(compute_dtype(to));
    path.step(small_integer_tile(path.at, to), to);
  } else {
    path.convert(to);
  }
  return path.steps;
}

CastSteps boolean_steps(DType from) {
  Path path{{}, from};
  if (is_complex(from)) {
    path.step(with_complex_type(
                  from,
                  [](auto tag) -> Kernel {
                    return &unary_kernel<NotZero, std::uint8_t, typename decltype(tag)::type>;
                  }),
              DType::u8);
    return path.steps;
  }
  if (is_small_float(from)) path.step(widen_tile(from), DType::f32);
  path.step(unary_tile<NotZero, std::uint8_t>(compute_dtype(path.at)), DType::u8);
  return path.steps;
}

void register_cast(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{
      .name = "as_type",
      .family = "cast",
      .kind = Kind::elementwise,
      .operands = {{"tensor"}},
      .attrs = {{"type", AttrType::dtype, true, "", "the new dtype"}},
      .any_dtype = true,
      .infer = infer_as_type,
      .ulp = 0,
      .doc = "Casts each element. To an integer: a float is truncated and then wraps around modulo "
             "2^bits, NaN becomes 0, and an infinity becomes the largest or smallest integer; an "
             "integer wraps around. To a float: the number is rounded to nearest, ties to even; a "
             "number that is too large becomes an infinity, or the largest finite number of "
             "f8_e4m3fn, which has no infinities. From a complex to a real dtype: the real part."});
}

}  // namespace outrigger::ops
