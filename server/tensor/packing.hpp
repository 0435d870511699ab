#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/tensor.hpp"

namespace outrigger {

/// The bytes of a tensor's data on the wire, where integers below 8 bits are packed.
std::int64_t packed_byte_count(const TensorType& type);

/// Packs n elements into (n * bits_of(dtype) + 7) / 8 bytes, in the layout of a bitstring of
/// Erlang: the first element is in the highest bits, and the unused bits of the last byte are zero.
/// pack() and unpack() accept only dtypes below 8 bits.
void pack(DType dtype, const std::uint8_t* elements, std::int64_t n, std::uint8_t* bytes);

/// The reverse of pack(): n elements from the bytes.
void unpack(DType dtype, const std::uint8_t* bytes, std::int64_t n, std::uint8_t* elements);

}  // namespace outrigger
