#pragma once

#include <emmintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace outrigger::ops {

inline constexpr std::size_t cache_line = 64;

/// Copies to memory and bypasses the caches, except for bytes that do not fill a cache line. Before
/// another thread reads the copy, this thread must call end_of_stream().
inline void stream_copy(std::byte* to, const std::byte* from, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(to);
  const std::size_t head =
      std::min<std::size_t>((cache_line - address % cache_line) % cache_line, bytes);
  std::memcpy(to, from, head);
  std::size_t at = head;
  for (; at + cache_line <= bytes; at += cache_line) {
    const auto* in = reinterpret_cast<const __m128i*>(from + at);
    auto* out = reinterpret_cast<__m128i*>(to + at);
    const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  std::memcpy(to + at, from + at, bytes - at);
}

/// Only a fence orders streamed stores.
inline void end_of_stream() { _mm_sfence(); }

}  // namespace outrigger::ops
