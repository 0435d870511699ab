#include "tensor/packing.hpp"

#include <algorithm>

#include "tensor/cast_element.hpp"

namespace outrigger {
namespace {

/// Calls f(type_tag<I>{}) with the SmallInteger of the dtype.
template <typename F>
void with_small_integer(DType dtype, F&& f) {
  switch (dtype) {
    case DType::u2:
      return f(type_tag<U2>{});
    case DType::u4:
      return f(type_tag<U4>{});
    case DType::s2:
      return f(type_tag<S2>{});
    case DType::s4:
      return f(type_tag<S4>{});
    default:
      unexpected_dtype(dtype);
  }
}

}  // namespace

std::int64_t packed_byte_count(const TensorType& type) {
  const auto bits = static_cast<std::int64_t>(bits_of(type.dtype));
  if (bits >= 8) return byte_count(type);
  const std::int64_t per_byte = 8 / bits;
  const std::int64_t elements = element_count(type.shape);
  return elements / per_byte + (elements % per_byte != 0 ? 1 : 0);
}

void pack(DType dtype, const std::uint8_t* elements, std::int64_t n, std::uint8_t* bytes) {
  with_small_integer(dtype, [&](auto tag) {
    using I = typename decltype(tag)::type;
    constexpr int bits = 8 - I::unused;
    constexpr std::int64_t per_byte = 8 / bits;
    for (std::int64_t start = 0; start < n; start += per_byte) {
      const std::int64_t count = std::min(per_byte, n - start);
      unsigned byte = 0;
      for (std::int64_t k = 0; k < count; ++k) {
        const unsigned low = elements[start + k] & (0xffU >> I::unused);
        byte |= low << (I::unused - k * bits);
      }
      *bytes++ = static_cast<std::uint8_t>(byte);
    }
  });
}

void unpack(DType dtype, const std::uint8_t* bytes, std::int64_t n, std::uint8_t* elements) {
  with_small_integer(dtype, [&](auto tag) {
    using I = typename decltype(tag)::type;
    constexpr int bits = 8 - I::unused;
    constexpr std::int64_t per_byte = 8 / bits;
    for (std::int64_t i = 0; i < n; ++i) {
      const int shift = I::unused - static_cast<int>(i % per_byte) * bits;
      const auto carrier = static_cast<typename I::Carrier>(bytes[i / per_byte] >> shift);
      elements[i] = static_cast<std::uint8_t>(I::wrap(carrier));
    }
  });
}

}  // namespace outrigger
