#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/program.hpp"

namespace outrigger {

/// Element types, in Nx's naming: u = unsigned, s = signed integer, f = IEEE float; size in bits.
enum class DType : std::uint8_t { u8, u16, u32, u64, s8, s16, s32, s64, f32, f64 };

inline constexpr std::array all_dtypes{DType::u8,  DType::u16, DType::u32, DType::u64, DType::s8,
                                       DType::s16, DType::s32, DType::s64, DType::f32, DType::f64};
inline constexpr std::size_t dtype_count = all_dtypes.size();

constexpr std::size_t index_of(DType dtype) { return static_cast<std::size_t>(dtype); }

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  constexpr std::array<std::uint8_t, dtype_count> sizes{1, 2, 4, 8, 1, 2, 4, 8, 4, 8};
  return sizes[index_of(dtype)];
}

constexpr bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }
constexpr bool is_integer(DType dtype) { return !is_float(dtype); }
constexpr bool is_unsigned(DType dtype) { return dtype <= DType::u64; }

/// "f32" and so on.
std::string_view name_of(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);
/// All names, for error texts.
std::string_view dtype_names();

/// The dtype that both fit in: Nx.Type.merge/2.
DType merge(DType a, DType b);
/// The dtype that a tensor of `dtype` takes beside a literal: Nx.Type.merge_number/2.
DType merge(DType dtype, const Number& number);
/// The dtype of a literal on its own: Nx.Type.infer/1.
DType infer_dtype(const Number& number);
/// Integers become f32, floats stay: Nx.Type.to_floating/1.
DType to_floating(DType dtype);
/// The dtype of a sum of `dtype`: Nx.Type.to_aggregate/1.
DType to_aggregate(DType dtype);

template <typename T>
struct type_tag {
  using type = T;
};

/// Calls f(type_tag<T>{}) with the C++ type of `dtype`.
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
      break;
  }
  return f(type_tag<double>{});
}

/// Calls f(type_tag<T>{}) with the unsigned integer of that many bytes, for ops that only move
/// elements.
template <typename F>
constexpr decltype(auto) with_width(std::size_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f(type_tag<std::uint8_t>{});
    case 2:
      return f(type_tag<std::uint16_t>{});
    case 4:
      return f(type_tag<std::uint32_t>{});
    default:
      return f(type_tag<std::uint64_t>{});
  }
}

/// The number as an element of `dtype`, cast as Nx casts. `out` has size_of(dtype) bytes.
void store_number(const Number& number, DType dtype, void* out);

}  // namespace outrigger
