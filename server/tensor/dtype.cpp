#include "tensor/dtype.hpp"

#include <algorithm>
#include <cstring>

#include "tensor/cast.hpp"

namespace outrigger {
namespace {

constexpr std::array<std::string_view, dtype_count> names{"u8",  "u16", "u32", "u64", "s8",
                                                          "s16", "s32", "s64", "f32", "f64"};

DType unsigned_of(std::size_t bytes) {
  return bytes == 1 ? DType::u8 : bytes == 2 ? DType::u16 : bytes == 4 ? DType::u32 : DType::u64;
}

DType signed_of(std::size_t bytes) {
  return bytes == 1 ? DType::s8 : bytes == 2 ? DType::s16 : bytes == 4 ? DType::s32 : DType::s64;
}

std::size_t signed_bytes(std::int64_t n) {
  if (n >= INT8_MIN && n <= INT8_MAX) return 1;
  if (n >= INT16_MIN && n <= INT16_MAX) return 2;
  return n >= INT32_MIN && n <= INT32_MAX ? 4 : 8;
}

std::size_t unsigned_bytes(std::uint64_t n) {
  if (n <= UINT8_MAX) return 1;
  if (n <= UINT16_MAX) return 2;
  return n <= UINT32_MAX ? 4 : 8;
}

DType merge_integer(DType dtype, std::int64_t n) {
  if (is_unsigned(dtype)) {
    if (n >= 0) {
      return unsigned_of(std::max(unsigned_bytes(static_cast<std::uint64_t>(n)), size_of(dtype)));
    }
    return signed_of(std::max(signed_bytes(n), std::min<std::size_t>(size_of(dtype) * 2, 8)));
  }
  return signed_of(std::max(signed_bytes(n), size_of(dtype)));
}

}  // namespace

std::string_view name_of(DType dtype) { return names[index_of(dtype)]; }

std::optional<DType> parse_dtype(std::string_view name) {
  const auto* found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return all_dtypes[static_cast<std::size_t>(found - names.begin())];
}

std::string_view dtype_names() { return "u8 u16 u32 u64 s8 s16 s32 s64 f32 f64"; }

DType merge(DType a, DType b) {
  if (is_float(a) || is_float(b)) {
    if (!is_float(a)) return b;
    if (!is_float(b)) return a;
    return std::max(a, b);
  }
  if (is_unsigned(a) == is_unsigned(b)) return size_of(a) >= size_of(b) ? a : b;
  const auto [u, s] = is_unsigned(a) ? std::pair{a, b} : std::pair{b, a};
  return signed_of(std::max(std::min<std::size_t>(size_of(u) * 2, 8), size_of(s)));
}

DType merge(DType dtype, const Number& number) {
  if (is_float(dtype)) return dtype;
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
  if (std::holds_alternative<double>(number)) return DType::f32;
  return merge(DType::s32, number);
}

DType to_floating(DType dtype) { return is_float(dtype) ? dtype : DType::f32; }

DType to_aggregate(DType dtype) {
  if (is_float(dtype)) return dtype;
  if (size_of(dtype) == 8) return DType::s64;
  return is_unsigned(dtype) ? DType::u32 : DType::s32;
}

void store_number(const Number& number, DType dtype, void* out) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T value = std::visit([](auto n) { return cast_element<T>(n); }, number);
    std::memcpy(out, &value, sizeof value);
  });
}

}  // namespace outrigger
