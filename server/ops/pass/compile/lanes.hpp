#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "ops/pass/compile/trace.hpp"

namespace outrigger::ops {

// The function objects of elementwise ops are templates. A call with numbers computes the result of
// a tile's kernel for one element. A call with lanes records the operation for the compiler. In
// this way an op's meaning is written once. The function objects use operators, `choose` instead of
// `?:`, and the functions below.

/// Marks a function object that accepts lanes.
struct OnLanes {};

/// The dtype of a C++ type that has kernels.
template <typename T>
inline constexpr DType dtype_v = [] {
  constexpr std::array floats{DType::f32, DType::f64};
  constexpr std::array naturals{DType::u8, DType::u16, DType::u32, DType::u64};
  constexpr std::array integers{DType::s8, DType::s16, DType::s32, DType::s64};
  constexpr std::size_t size = std::bit_width(sizeof(T)) - 1;
  if constexpr (std::is_floating_point_v<T>)
    return floats[size - 2];
  else
    return std::is_unsigned_v<T> ? naturals[size] : integers[size];
}();

/// A truth value in each lane.
struct Mask {
  Trace* trace;
  Trace::Id id;

  friend Mask operator&(Mask a, Mask b) {
    return {a.trace, a.trace->mask(Trace::Code::mask_and, a.id, b.id)};
  }
  friend Mask operator|(Mask a, Mask b) {
    return {a.trace, a.trace->mask(Trace::Code::mask_or, a.id, b.id)};
  }
};

/// A T in each lane. A constant has no trace until an operation combines it with a lane that has
/// one.
template <typename T>
class Lane {
 public:
  Lane(T constant) : constant_(constant) {}  // NOLINT(google-explicit-constructor): T{0}, as for T
  Lane(Trace& trace, Trace::Id id) : trace_(&trace), id_(id) {}

  Trace* trace() const { return trace_; }
  Trace::Id id_in(Trace& trace) const {
    if (trace_ != nullptr) return id_;
    std::uint64_t bits = 0;
    std::memcpy(&bits, &constant_, sizeof constant_);
    return trace.constant(dtype_v<T>, bits);
  }

  friend Lane operator+(Lane a, Lane b) { return binary(Trace::Code::add, a, b); }
  friend Lane operator-(Lane a, Lane b) { return binary(Trace::Code::subtract, a, b); }
  friend Lane operator*(Lane a, Lane b) { return binary(Trace::Code::multiply, a, b); }
  friend Lane operator/(Lane a, Lane b) { return binary(Trace::Code::divide, a, b); }
  friend Lane operator&(Lane a, Lane b) { return binary(Trace::Code::bit_and, a, b); }
  friend Lane operator|(Lane a, Lane b) { return binary(Trace::Code::bit_or, a, b); }
  friend Lane operator^(Lane a, Lane b) { return binary(Trace::Code::bit_xor, a, b); }
  friend Lane operator~(Lane a) { return a ^ Lane(static_cast<T>(-1)); }
  friend Lane operator-(Lane a) {
    if constexpr (std::is_floating_point_v<T>)
      return a ^ Lane(T{-0.0F});
    else
      return Lane(T{0}) - a;
  }

  friend Mask operator==(Lane a, Lane b) { return compare(Trace::Code::equal, a, b); }
  friend Mask operator!=(Lane a, Lane b) { return compare(Trace::Code::not_equal, a, b); }
  friend Mask operator<(Lane a, Lane b) { return compare(Trace::Code::less, a, b); }
  friend Mask operator<=(Lane a, Lane b) { return compare(Trace::Code::less_equal, a, b); }
  friend Mask operator>(Lane a, Lane b) { return b < a; }
  friend Mask operator>=(Lane a, Lane b) { return b <= a; }

  friend Lane choose(Mask mask, Lane a, Lane b) {
    Trace& trace = *mask.trace;
    return {trace, trace.choose(dtype_v<T>, mask.id, a.id_in(trace), b.id_in(trace))};
  }
  friend Lane lesser(Lane a, Lane b) { return binary(Trace::Code::lesser, a, b); }
  friend Lane greater(Lane a, Lane b) { return binary(Trace::Code::greater, a, b); }
  friend Lane shift_left(Lane a, Lane b) { return binary(Trace::Code::shift_left, a, b); }
  friend Lane shift_right(Lane a, Lane b) { return binary(Trace::Code::shift_right, a, b); }
  friend Lane sqrt(Lane a) { return unary(Trace::Code::sqrt, a); }
  friend Lane floor(Lane a) { return unary(Trace::Code::floor, a); }
  friend Lane ceil(Lane a) { return unary(Trace::Code::ceil, a); }
  friend Lane trunc(Lane a) { return unary(Trace::Code::truncate, a); }
  friend Lane fabs(Lane a) { return a & Lane(magnitude_bits()); }
  friend Lane copysign(Lane a, Lane b) {
    const Lane magnitude = a.trace_ == nullptr ? Lane(std::fabs(a.constant_)) : fabs(a);
    return magnitude | (b & Lane(T{-0.0F}));
  }

 private:
  static T magnitude_bits() {
    if constexpr (sizeof(T) == 4)
      return std::bit_cast<T>(std::uint32_t{0x7fffffff});
    else
      return std::bit_cast<T>(~std::uint64_t{0} >> 1);
  }
  static Lane unary(Trace::Code code, Lane a) {
    return {*a.trace_, a.trace_->unary(code, dtype_v<T>, a.id_)};
  }
  static Lane binary(Trace::Code code, Lane a, Lane b) {
    Trace& trace = a.trace_ != nullptr ? *a.trace_ : *b.trace_;
    return {trace, trace.binary(code, dtype_v<T>, a.id_in(trace), b.id_in(trace))};
  }
  static Mask compare(Trace::Code code, Lane a, Lane b) {
    Trace& trace = a.trace_ != nullptr ? *a.trace_ : *b.trace_;
    return {&trace, trace.compare(code, dtype_v<T>, a.id_in(trace), b.id_in(trace))};
  }

  Trace* trace_ = nullptr;
  Trace::Id id_ = 0;
  T constant_{};
};

template <typename T>
struct element {
  using type = T;
};
template <typename T>
struct element<Lane<T>> {
  using type = T;
};
/// The type of a number, or of the elements of a lane.
template <typename T>
using Element = typename element<T>::type;

// The operations on numbers that lanes have as members.

template <typename T>
T choose(bool condition, T a, T b) {
  return condition ? a : b;
}
template <typename T>
T lesser(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
T greater(T a, T b) {
  return a > b ? a : b;
}
/// True if a shift by b moves all bits out. A negative b counts as such a shift.
template <typename T>
bool shifts_out(T b) {
  return static_cast<std::make_unsigned_t<T>>(b) >= sizeof(T) * 8;
}
template <typename T>
T shift_left(T a, T b) {
  return shifts_out(b) ? T{0} : static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) << b);
}
template <typename T>
T shift_right(T a, T b) {
  const T fill = std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : T{0};
  return shifts_out(b) ? fill : static_cast<T>(a >> b);
}

/// The result of a function object as a value of dtype R.
template <typename R>
Trace::Id recorded(Trace& trace, Lane<R> lane) {
  return lane.id_in(trace);
}
template <typename R>
Trace::Id recorded(Trace& trace, Mask mask) {
  return trace.byte_of_mask(mask.id);
}
template <typename R>
Trace::Id recorded(Trace& trace, bool constant) {
  return trace.constant(DType::u8, constant ? 1 : 0);
}

/// Records a call of F: elements of types A… give an element of type R.
template <typename F, typename R, typename... A>
Trace::Id record_kernel(Trace& trace, const Trace::Id* in) {
  const auto call = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return F::apply(Lane<A>(trace, in[I])...);
  };
  return recorded<R>(trace, call(std::index_sequence_for<A...>{}));
}

}  // namespace outrigger::ops
