#include "tensor/dtype.hpp"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "tensor/cast_element.hpp"
#include "tensor/small_float.hpp"

namespace outrigger {
namespace {

constexpr std::array<std::string_view, dtype_count> names{
    "u2",  "u4",  "u8", "u16",       "u32", "u64",  "s2",  "s4",  "s8",  "s16",
    "s32", "s64", "f8", "f8_e4m3fn", "f16", "bf16", "f32", "f64", "c64", "c128"};

/// Nx's order of kinds, which decides between two dtypes of different kinds.
enum class TypeKind : std::uint8_t { u, s, bf, f, f8_e4m3fn, c };

TypeKind kind_of(DType dtype) {
  if (is_unsigned(dtype)) return TypeKind::u;
  if (is_integer(dtype)) return TypeKind::s;
  if (is_complex(dtype)) return TypeKind::c;
  if (dtype == DType::bf16) return TypeKind::bf;
  return dtype == DType::f8_e4m3fn ? TypeKind::f8_e4m3fn : TypeKind::f;
}

int precedence(TypeKind kind) {
  return kind == TypeKind::f8_e4m3fn ? static_cast<int>(TypeKind::f) : static_cast<int>(kind);
}

DType sized(TypeKind kind, std::size_t bits) {
  const auto* found = std::find_if(all_dtypes.begin(), all_dtypes.end(), [&](DType dtype) {
    return kind_of(dtype) == kind && bits_of(dtype) == bits;
  });
  assert(found != all_dtypes.end());
  return *found;
}

std::size_t signed_bits(std::int64_t n) {
  if (n >= INT8_MIN && n <= INT8_MAX) return 8;
  if (n >= INT16_MIN && n <= INT16_MAX) return 16;
  return n >= INT32_MIN && n <= INT32_MAX ? 32 : 64;
}

std::size_t unsigned_bits(std::uint64_t n) {
  if (n <= UINT8_MAX) return 8;
  if (n <= UINT16_MAX) return 16;
  return n <= UINT32_MAX ? 32 : 64;
}

/// 0 and 1, and among signed integers also -1 and -2, fit every integer dtype. As in Nx, only these
/// four values do not widen the dtype.
DType merge_integer(DType dtype, std::int64_t n) {
  const std::size_t bits = bits_of(dtype);
  if (is_unsigned(dtype) && n >= 0) {
    return n <= 1
               ? dtype
               : sized(TypeKind::u, std::max(unsigned_bits(static_cast<std::uint64_t>(n)), bits));
  }
  const std::size_t least = is_unsigned(dtype) ? std::min<std::size_t>(bits * 2, 64) : bits;
  return sized(TypeKind::s, n >= -2 && n <= 1 ? least : std::max(signed_bits(n), least));
}

template <typename T>
void store(T value, void* out) {
  std::memcpy(out, &value, sizeof value);
}

/// `x` as an element of a real dtype.
template <typename From>
void store_real(From x, DType dtype, void* out) {
  switch (dtype) {
    case DType::u2:
      return store(cast_small<U2>(x), out);
    case DType::u4:
      return store(cast_small<U4>(x), out);
    case DType::s2:
      return store(cast_small<S2>(x), out);
    case DType::s4:
      return store(cast_small<S4>(x), out);
    case DType::f8:
      return store(narrow<F8>(static_cast<double>(x)), out);
    case DType::f8_e4m3fn:
      return store(narrow<F8E4M3FN>(static_cast<double>(x)), out);
    case DType::f16:
      return store(narrow<F16>(static_cast<double>(x)), out);
    case DType::bf16:
      return store(narrow<BF16>(static_cast<double>(x)), out);
    default:
      with_type(dtype,
                [&](auto tag) { store(cast_element<typename decltype(tag)::type>(x), out); });
  }
}

}  // namespace

std::string_view name_of(DType dtype) { return names[index_of(dtype)]; }

std::optional<DType> parse_dtype(std::string_view name) {
  const auto* found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return all_dtypes[static_cast<std::size_t>(found - names.begin())];
}

std::string_view dtype_names() {
  return "u2 u4 u8 u16 u32 u64 s2 s4 s8 s16 s32 s64 f8 f8_e4m3fn f16 bf16 f32 f64 c64 c128";
}

void unexpected_dtype(DType dtype) {
  std::fprintf(stderr, "no kernel for dtype %s\n", name_of(dtype).data());
  std::abort();
}

DType merge(DType a, DType b) {
  const TypeKind kind_a = kind_of(a);
  const TypeKind kind_b = kind_of(b);
  if (kind_a == kind_b) return bits_of(a) >= bits_of(b) ? a : b;
  const bool ascending = precedence(kind_a) < precedence(kind_b);
  const auto [low, high] = ascending ? std::pair{a, b} : std::pair{b, a};
  if (kind_of(high) == TypeKind::s) {
    return sized(TypeKind::s, std::max(std::min<std::size_t>(bits_of(low) * 2, 64), bits_of(high)));
  }
  if (kind_of(high) == TypeKind::c && low == DType::f64) return DType::c128;
  return high;
}

DType merge(DType dtype, const Number& number) {
  if (std::holds_alternative<std::complex<double>>(number)) return merge(dtype, DType::c64);
  if (dtype == DType::f8_e4m3fn) return DType::f32;  // as in Nx, which has no rule for this pair
  if (!is_integer(dtype)) return dtype;
  if (std::holds_alternative<double>(number)) return DType::f32;
  if (const auto* big = std::get_if<std::uint64_t>(&number); big && *big > INT64_MAX) {
    return DType::u64;
  }
  const auto n = std::holds_alternative<std::uint64_t>(number)
                     ? static_cast<std::int64_t>(std::get<std::uint64_t>(number))
                     : std::get<std::int64_t>(number);
  return merge_integer(dtype, n);
}

DType infer_dtype(const Number& number) {
  if (std::holds_alternative<std::complex<double>>(number)) return DType::c64;
  if (std::holds_alternative<double>(number)) return DType::f32;
  return merge(DType::s32, number);
}

DType to_floating(DType dtype) { return is_integer(dtype) ? DType::f32 : dtype; }

DType to_aggregate(DType dtype) {
  if (!is_integer(dtype)) return dtype;
  if (size_of(dtype) == 8) return DType::s64;
  return is_unsigned(dtype) ? DType::u32 : DType::s32;
}

DType to_complex(DType dtype) {
  if (is_complex(dtype)) return dtype;
  return dtype == DType::f64 ? DType::c128 : DType::c64;
}

DType to_real(DType dtype) {
  if (is_complex(dtype)) return dtype == DType::c64 ? DType::f32 : DType::f64;
  return to_floating(dtype);
}

void store_number(const Number& number, DType dtype, void* out) {
  const auto parts = [&](auto real, double imaginary) {
    if (!is_complex(dtype)) return store_real(real, dtype, out);
    store_real(real, to_real(dtype), out);
    store_real(imaginary, to_real(dtype), static_cast<std::byte*>(out) + size_of(dtype) / 2);
  };
  if (const auto* complex = std::get_if<std::complex<double>>(&number)) {
    return parts(complex->real(), complex->imag());
  }
  std::visit(
      [&](auto real) {
        if constexpr (std::is_arithmetic_v<decltype(real)>) parts(real, 0.0);
      },
      number);
}

bool is_zero(DType dtype, const void* element) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), element, size_of(dtype));
  // The sign of a zero is ignored.
  if (!is_integer(dtype)) bytes.at(size_of(dtype) - 1) &= 0x7f;
  if (is_complex(dtype)) bytes.at(size_of(dtype) / 2 - 1) &= 0x7f;
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace outrigger
