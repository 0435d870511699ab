#pragma once

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/program.hpp"

namespace outrigger {

/// Element types, with Nx's names: u = unsigned integer, s = signed integer, f = IEEE float, bf =
/// brain float, c = complex number (real and imaginary part); the number is the size in bits. f8 is
/// E5M2. In memory, an integer below 8 bits takes a byte, a signed one with its sign extended. Such
/// integers are packed on the wire only.
enum class DType : std::uint8_t {
  u2,
  u4,
  u8,
  u16,
  u32,
  u64,
  s2,
  s4,
  s8,
  s16,
  s32,
  s64,
  f8,
  f8_e4m3fn,
  f16,
  bf16,
  f32,
  f64,
  c64,
  c128
};

inline constexpr std::array all_dtypes{
    DType::u2,  DType::u4,   DType::u8,  DType::u16, DType::u32, DType::u64, DType::s2,
    DType::s4,  DType::s8,   DType::s16, DType::s32, DType::s64, DType::f8,  DType::f8_e4m3fn,
    DType::f16, DType::bf16, DType::f32, DType::f64, DType::c64, DType::c128};
inline constexpr std::size_t dtype_count = all_dtypes.size();

constexpr std::size_t index_of(DType dtype) { return static_cast<std::size_t>(dtype); }

/// The bits of one element on the wire.
constexpr std::size_t bits_of(DType dtype) {
  constexpr std::array<std::uint8_t, dtype_count> bits{2,  4,  8, 16, 32, 64, 2,  4,  8,  16,
                                                       32, 64, 8, 8,  16, 16, 32, 64, 64, 128};
  return bits[index_of(dtype)];
}

/// The bytes of one element in memory.
constexpr std::size_t size_of(DType dtype) { return bits_of(dtype) < 8 ? 1 : bits_of(dtype) / 8; }

constexpr bool is_unsigned(DType dtype) { return dtype <= DType::u64; }
constexpr bool is_integer(DType dtype) { return dtype <= DType::s64; }
/// True for real floats, also small ones.
constexpr bool is_float(DType dtype) { return dtype >= DType::f8 && dtype <= DType::f64; }
constexpr bool is_small_float(DType dtype) { return dtype >= DType::f8 && dtype <= DType::bf16; }
constexpr bool is_complex(DType dtype) { return dtype >= DType::c64; }

/// The dtype in which arithmetic on `dtype` is computed: u8, s8 or f32 for a small dtype, `dtype`
/// itself for others. It represents every value of `dtype` exactly.
constexpr DType compute_dtype(DType dtype) {
  if (bits_of(dtype) < 8) return is_unsigned(dtype) ? DType::u8 : DType::s8;
  return is_small_float(dtype) ? DType::f32 : dtype;
}

/// The name, e.g. "f32".
std::string_view name_of(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);
/// All names, for error texts.
std::string_view dtype_names();

/// The common dtype of both: Nx.Type.merge/2. As in Nx, the left one wins between f8_e4m3fn and
/// another float.
DType merge(DType a, DType b);
/// The common dtype of a tensor of `dtype` and a literal: Nx.Type.merge_number/2. For a complex
/// literal, it is the common dtype with c64.
DType merge(DType dtype, const Number& number);
/// The dtype of a literal without a tensor: Nx.Type.infer/1.
DType infer_dtype(const Number& number);
/// Integers become f32, floats and complex numbers stay: Nx.Type.to_floating/1.
DType to_floating(DType dtype);
/// The dtype of a sum of `dtype`: Nx.Type.to_aggregate/1.
DType to_aggregate(DType dtype);
/// The complex dtype whose parts represent `dtype`: Nx.Type.to_complex/1.
DType to_complex(DType dtype);
/// The dtype of a complex number's parts; real floats stay, integers become f32:
/// Nx.Type.to_real/1.
DType to_real(DType dtype);

/// The dtypes that with_type accepts.
inline constexpr std::array kernel_dtypes{DType::u8,  DType::u16, DType::u32, DType::u64,
                                          DType::s8,  DType::s16, DType::s32, DType::s64,
                                          DType::f32, DType::f64};

template <typename T>
struct type_tag {
  using type = T;
};

/// Ends the program: the dtype is not one that the caller can handle, which is a fault of our own.
[[noreturn]] void unexpected_dtype(DType dtype);

/// Calls f(type_tag<T>{}) with the C++ type of `dtype`, which must be a dtype with kernels: neither
/// a small one (compute_dtype gives the dtype for those) nor a complex one.
template <typename F>
constexpr decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::u8:
      return f(type_tag<std::uint8_t>{});
    case DType::u16:
      return f(type_tag<std::uint16_t>{});
    case DType::u32:
      return f(type_tag<std::uint32_t>{});
    case DType::u64:
      return f(type_tag<std::uint64_t>{});
    case DType::s8:
      return f(type_tag<std::int8_t>{});
    case DType::s16:
      return f(type_tag<std::int16_t>{});
    case DType::s32:
      return f(type_tag<std::int32_t>{});
    case DType::s64:
      return f(type_tag<std::int64_t>{});
    case DType::f32:
      return f(type_tag<float>{});
    case DType::f64:
      return f(type_tag<double>{});
    default:
      unexpected_dtype(dtype);
  }
}

/// with_type for c64 and c128.
template <typename F>
constexpr decltype(auto) with_complex_type(DType dtype, F&& f) {
  if (dtype == DType::c64) return f(type_tag<std::complex<float>>{});
  if (dtype == DType::c128) return f(type_tag<std::complex<double>>{});
  unexpected_dtype(dtype);
}

/// The bits of an element of 16 bytes.
struct Bits128 {
  std::uint64_t low;
  std::uint64_t high;
};

/// Calls f(type_tag<T>{}) with an unsigned integer of that many bytes (or Bits128), for ops that
/// only move elements.
template <typename F>
constexpr decltype(auto) with_width(std::size_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f(type_tag<std::uint8_t>{});
    case 2:
      return f(type_tag<std::uint16_t>{});
    case 4:
      return f(type_tag<std::uint32_t>{});
    case 8:
      return f(type_tag<std::uint64_t>{});
    default:
      return f(type_tag<Bits128>{});
  }
}

/// Stores the number as an element of `dtype`, cast as Nx casts. `out` has size_of(dtype) bytes.
void store_number(const Number& number, DType dtype, void* out);

/// True if the element is zero. -0.0 is zero; NaN is not.
bool is_zero(DType dtype, const void* element);

}  // namespace outrigger
