#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/tensor.hpp"

namespace outrigger {

/// Bytes of a tensor's data on the wire: integers below 8 bits are packed.
std::int64_t packed_byte_count(const TensorType& type);

/// Packs n elements into (n * bits_of(dtype) + 7) / 8 bytes, as a bitstring of Erlang is laid out:
/// the first element in the highest bits, the rest of the last byte zero. Only for dtypes below 8
/// bits; the same holds for unpack.
void pack(DType dtype, const std::uint8_t* elements, std::int64_t n, std::uint8_t* bytes);

/// The reverse: n elements from the bytes.
void unpack(DType dtype, const std::uint8_t* bytes, std::int64_t n, std::uint8_t* elements);

}  // namespace outrigger
