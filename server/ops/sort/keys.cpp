#include "ops/sort/keys.hpp"

#include <bit>
#include <cstring>
#include <limits>

#include "ops/elementwise/kernels.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops {
namespace {

/// The bits of a float narrower than f32.
template <typename F>
struct SmallFloatBits {
  typename F::Bits bits;
};
template <typename T>
struct is_small_float_bits : std::false_type {};
template <typename F>
struct is_small_float_bits<SmallFloatBits<F>> : std::true_type {
  using Float = F;
};

template <typename T>
using KeyOf = std::conditional_t<
    sizeof(T) == 1, std::uint8_t,
    std::conditional_t<sizeof(T) == 2, std::uint16_t,
                       std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;

/// An unsigned integer with the same order as the elements. Every NaN gives the largest one.
template <typename T>
KeyOf<T> to_key(T x) {
  using K = KeyOf<T>;
  constexpr K sign = K{1} << (sizeof(K) * 8 - 1);
  if constexpr (is_small_float_bits<T>::value) {
    using F = typename is_small_float_bits<T>::Float;
    if ((x.bits & F::magnitude_mask) > F::largest) return std::numeric_limits<K>::max();
    return static_cast<K>((x.bits & sign) != 0 ? ~x.bits : x.bits | sign);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (x != x) return std::numeric_limits<K>::max();
    const K bits = std::bit_cast<K>(x);
    return (bits & sign) != 0 ? static_cast<K>(~bits) : static_cast<K>(bits | sign);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<K>(static_cast<K>(x) ^ sign);
  } else {
    return x;
  }
}

/// For argsort, the two zeros are equal.
template <typename T>
T one_zero(T x) {
  if constexpr (is_small_float_bits<T>::value) {
    using F = typename is_small_float_bits<T>::Float;
    return (x.bits & F::magnitude_mask) == 0 ? T{0} : x;
  } else {
    return x == 0 ? T{0} : x;
  }
}

template <typename T>
T from_key(KeyOf<T> key) {
  using K = KeyOf<T>;
  constexpr K sign = K{1} << (sizeof(K) * 8 - 1);
  if constexpr (is_small_float_bits<T>::value) {
    using F = typename is_small_float_bits<T>::Float;
    if (key == std::numeric_limits<K>::max())
      return T{narrow<F>(std::numeric_limits<float>::quiet_NaN())};
    return T{static_cast<K>((key & sign) != 0 ? key ^ sign : ~key)};
  } else if constexpr (std::is_floating_point_v<T>) {
    if (key == std::numeric_limits<K>::max()) return std::numeric_limits<T>::quiet_NaN();
    return std::bit_cast<T>((key & sign) != 0 ? static_cast<K>(key ^ sign) : static_cast<K>(~key));
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(key ^ sign);
  } else {
    return key;
  }
}

/// Elements and keys may share memory: they are moved as bytes.
template <typename To, typename From, typename F>
void convert(const void* in, void* out, std::int64_t n, F f) {
  const auto* from = static_cast<const std::byte*>(in);
  auto* to = static_cast<std::byte*>(out);
  OUTRIGGER_INDEPENDENT
  for (std::int64_t i = 0; i < n; ++i) {
    From x;
    std::memcpy(&x, from + i * static_cast<std::int64_t>(sizeof x), sizeof x);
    const To y = f(x);
    std::memcpy(to + i * static_cast<std::int64_t>(sizeof y), &y, sizeof y);
  }
}

template <typename K>
K flip_mask(bool flip) {
  return flip ? std::numeric_limits<K>::max() : K{0};
}

template <typename T>
Keys keys_of() {
  using K = KeyOf<T>;
  return Keys{
      [](const void* in, void* out, std::int64_t n, bool flip) {
        const K m = flip_mask<K>(flip);
        convert<K, T>(in, out, n, [m](T x) { return static_cast<K>(to_key(x) ^ m); });
      },
      [](const void* in, void* out, std::int64_t n, bool flip) {
        const K m = flip_mask<K>(flip);
        convert<T, K>(in, out, n, [m](K k) { return from_key<T>(static_cast<K>(k ^ m)); });
      },
      [](const void* in, std::uint64_t* items, std::int64_t first, std::int64_t n, bool flip) {
        const auto* x = static_cast<const T*>(in);
        for (std::int64_t i = 0; i < n; ++i) {
          const auto key = static_cast<K>(to_key(one_zero(x[i])) ^ flip_mask<K>(flip));
          // Called only for narrow keys: a wide key would not fit.
          items[i] = static_cast<std::uint64_t>(key) << 32 | static_cast<std::uint64_t>(first + i);
        }
      },
      [](const void* in, WideKey* items, std::int64_t first, std::int64_t n, bool flip) {
        const auto* x = static_cast<const T*>(in);
        for (std::int64_t i = 0; i < n; ++i) {
          items[i].hi = static_cast<K>(to_key(one_zero(x[i])) ^ flip_mask<K>(flip));
          items[i].lo = static_cast<std::uint64_t>(first + i);
        }
      }};
}

}  // namespace

Keys keys_of(DType dtype) {
  switch (dtype) {
    case DType::f8:
      return keys_of<SmallFloatBits<F8>>();
    case DType::f8_e4m3fn:
      return keys_of<SmallFloatBits<F8E4M3FN>>();
    case DType::f16:
      return keys_of<SmallFloatBits<F16>>();
    case DType::bf16:
      return keys_of<SmallFloatBits<BF16>>();
    default:
      break;
  }
  // Integers below 8 bits are sorted as the bytes that hold them.
  return with_type(compute_dtype(dtype),
                   [](auto tag) { return keys_of<typename decltype(tag)::type>(); });
}

}  // namespace outrigger::ops
