#include "ops/pass/compile/trace.hpp"

namespace outrigger::ops {
namespace {

using Code = Trace::Code;
using Id = Trace::Id;

/// The unsigned integer dtype of the same width.
DType bits_type(DType type) {
  switch (size_of(type)) {
    case 1:
      return DType::u8;
    case 2:
      return DType::u16;
    case 4:
      return DType::u32;
    default:
      return DType::u64;
  }
}

std::uint64_t repeated(std::uint64_t bits, std::size_t size) {
  for (std::size_t have = size * 8; have < 64; have *= 2) bits |= bits << have;
  return bits;
}

std::uint64_t largest_of(DType type) {
  return (~std::uint64_t{0} >> (64 - bits_of(type))) >> (is_unsigned(type) ? 0 : 1);
}
std::uint64_t smallest_of(DType type) {
  return is_unsigned(type) ? 0 : std::uint64_t{1} << (bits_of(type) - 1);
}

}  // namespace

std::size_t Trace::Hash::operator()(const Op& op) const {
  std::uint64_t hash = op.bits;
  const auto mix = [&hash](std::uint64_t x) { hash = (hash ^ x) * 0x9E3779B97F4A7C15; };
  mix(static_cast<std::uint64_t>(op.code) | index_of(op.type) << 8 | index_of(op.from) << 16);
  mix(op.in[0] | std::uint64_t{op.in[1]} << 16 | std::uint64_t{op.in[2]} << 32);
  return hash >> 32;
}

Id Trace::record(const Op& op) {
  const auto [known, fresh] = known_.try_emplace(op, static_cast<Id>(ops_.size()));
  if (fresh) ops_.push_back(op);
  return known->second;
}

bool Trace::is_mask(Id id) const {
  return ops_[id].code >= Code::equal && ops_[id].code <= Code::resize;
}

Id Trace::missing() {
  complete_ = false;
  return constant(DType::u8, 0);
}

Id Trace::input(DType type, std::uint64_t position) {
  return record({.code = Code::input, .type = type, .bits = position});
}

Id Trace::constant(DType type, std::uint64_t bits) {
  return record({.code = Code::constant, .bits = repeated(bits, size_of(type))});
}

Id Trace::unary(Code code, DType type, Id a) {
  return record({.code = code, .type = type, .arity = 1, .in = {a}});
}

Id Trace::binary(Code code, DType type, Id a, Id b) {
  if (code == Code::shift_left || code == Code::shift_right) return shift(code, type, a, b);
  const bool bits = code == Code::bit_and || code == Code::bit_or || code == Code::bit_xor;
  if (bits && type == DType::u8 && at(a).code == Code::byte_of_mask) {
    // Operations on truth values are recorded as operations on masks.
    if (at(b).code == Code::byte_of_mask) {
      const Code of_masks = code == Code::bit_and  ? Code::mask_and
                            : code == Code::bit_or ? Code::mask_or
                                                   : Code::mask_xor;
      return byte_of_mask(mask(of_masks, at(a).in[0], at(b).in[0]));
    }
    if (code == Code::bit_xor && b == constant(type, 1)) return byte_of_mask(mask_not(at(a).in[0]));
  }
  const bool wide_integer = is_integer(type) && size_of(type) == 8;
  if (isa_ == Isa::avx2 && wide_integer && code == Code::lesser)
    return choose(type, compare(Code::less, type, a, b), a, b);
  if (isa_ == Isa::avx2 && wide_integer && code == Code::greater)
    return choose(type, compare(Code::less, type, b, a), a, b);
  return record({.code = code, .type = type, .arity = 2, .in = {a, b}});
}

Id Trace::compare(Code code, DType type, Id a, Id b) {
  if (code == Code::not_equal && at(a).code == Code::byte_of_mask && b == constant(type, 0))
    return at(a).in[0];
  return record({.code = code, .type = type, .arity = 2, .in = {a, b}});
}

Id Trace::sized(Id mask, DType type) {
  const DType has = at(mask).type;
  if (isa_ != Isa::avx2 || size_of(has) == size_of(type)) return mask;
  return record(
      {.code = Code::resize, .type = bits_type(type), .from = has, .arity = 1, .in = {mask}});
}

Id Trace::mask(Code code, Id a, Id b) {
  const DType type = at(a).type;
  return record({.code = code, .type = type, .arity = 2, .in = {a, sized(b, type)}});
}

Id Trace::mask_not(Id a) {
  if (at(a).code == Code::mask_not) return at(a).in[0];
  return record({.code = Code::mask_not, .type = at(a).type, .arity = 1, .in = {a}});
}

Id Trace::choose(DType type, Id mask, Id a, Id b) {
  if (at(mask).code == Code::mask_not) return choose(type, at(mask).in[0], b, a);
  return record({.code = Code::choose, .type = type, .arity = 3, .in = {sized(mask, type), a, b}});
}

Id Trace::byte_of_mask(Id mask) {
  return record(
      {.code = Code::byte_of_mask, .type = DType::u8, .arity = 1, .in = {sized(mask, DType::u8)}});
}

Id Trace::call(Isa isa, DType type, std::uint64_t function, Id a) {
  if (isa != isa_) return missing();
  return record({.code = Code::call, .type = type, .arity = 1, .in = {a}, .bits = function});
}

/// The machine's shifts define the result for a count of the element's width or more. Shifts of
/// narrow elements, which some machines lack, are computed in 32 bits.
Id Trace::shift(Code code, DType type, Id a, Id b) {
  const std::size_t size = size_of(type);
  const bool arithmetic = code == Code::shift_right && !is_unsigned(type);
  if (size == 1 || (size == 2 && isa_ == Isa::avx2)) {
    const DType wide = arithmetic ? DType::s32 : DType::u32;
    const Id count = convert(bits_type(type), DType::u32, b);
    const Id from = convert(arithmetic ? type : bits_type(type), wide, a);
    return convert(wide, type, shift(code, wide, from, count));
  }
  if (arithmetic && size == 8 && isa_ == Isa::avx2) {
    const Id sign = choose(type, compare(Code::less, type, a, constant(type, 0)),
                           constant(type, ~std::uint64_t{0}), constant(type, 0));
    const Id moved = shift(code, DType::u64, binary(Code::bit_xor, type, a, sign), b);
    return binary(Code::bit_xor, type, moved, sign);
  }
  return record({.code = code, .type = type, .arity = 2, .in = {a, b}});
}

Id Trace::convert(DType from, DType to, Id a) {
  if (from == to) return a;
  if (is_integer(from) && is_integer(to)) {
    if (size_of(from) == size_of(to)) return a;
  } else if (is_integer(from)) {
    return to_float(from, to, a);
  } else if (is_integer(to)) {
    return to_integer(from, to, a);
  }
  return record({.code = Code::convert, .type = to, .from = from, .arity = 1, .in = {a}});
}

/// If there is no instruction, the bits are put into the mantissas of large floats, which are then
/// subtracted. Only the last addition rounds.
Id Trace::to_float(DType from, DType to, Id a) {
  const std::size_t size = size_of(from);
  if (size < 4) return to_float(DType::s32, to, convert(from, DType::s32, a));
  if (from == DType::s32 || isa_ == Isa::avx512) {
    return record({.code = Code::convert, .type = to, .from = from, .arity = 1, .in = {a}});
  }
  const auto bits = [this](Code code, DType type, Id x, std::uint64_t y) {
    return binary(code, type, x, constant(type, y));
  };
  if (from == DType::u32 && to == DType::f32) {
    const Id low = bits(Code::bit_or, from, bits(Code::bit_and, from, a, 0xffff), 0x4b000000);
    const Id high = bits(Code::bit_or, from, bits(Code::shift_right, from, a, 16), 0x53000000);
    return binary(Code::add, to, bits(Code::subtract, to, high, 0x53000080), low);
  }
  if (to == DType::f32) return missing();
  constexpr std::uint64_t two52 = 0x4330000000000000;
  if (from == DType::u32) {
    const Id wide = convert(from, DType::u64, a);
    return bits(Code::subtract, to, bits(Code::bit_or, DType::u64, wide, two52), two52);
  }
  const bool is_signed = from == DType::s64;
  const DType u64 = DType::u64;
  const Id low = bits(Code::bit_or, u64, bits(Code::bit_and, u64, a, 0xffffffff), two52);
  const Id high = bits(Code::bit_xor, u64, bits(Code::shift_right, u64, a, 32),
                       is_signed ? 0x4530000080000000 : 0x4530000000000000);
  const std::uint64_t offset = is_signed ? 0x4530000080100000 : 0x4530000000100000;
  return binary(Code::add, to, bits(Code::subtract, to, high, offset), low);
}

/// The integer part of a float's magnitude, modulo 2^32 or 2^64: the shifted mantissa. It is 0 for
/// infinities and NaN.
Id Trace::magnitude_of(DType from, Id bits) {
  const bool single = from == DType::f32;
  const DType type = bits_type(from);
  const std::uint64_t mantissa = single ? 23 : 52;
  const std::uint64_t hidden = std::uint64_t{1} << mantissa;
  const auto with = [&](Code code, Id x, std::uint64_t y) {
    return binary(code, type, x, constant(type, y));
  };
  const Id m = with(Code::bit_or, with(Code::bit_and, bits, hidden - 1), hidden);
  const Id biased =
      with(Code::bit_and, with(Code::shift_right, bits, mantissa), single ? 0xff : 0x7ff);
  const Id left = with(Code::subtract, biased, single ? 150 : 1075);
  const Id right = binary(Code::subtract, type, constant(type, 0), left);
  // Either one of the counts is negative, and its shift gives 0, or both counts are 0.
  return binary(Code::bit_or, type, binary(Code::shift_left, type, m, left),
                binary(Code::shift_right, type, m, right));
}

Id Trace::to_integer(DType from, DType to, Id a) {
  if (from == DType::f32 && size_of(to) == 8)
    return to_integer(DType::f64, to, convert(from, DType::f64, a));
  const bool single = from == DType::f32;
  const DType type = bits_type(from);
  const std::uint64_t sign = smallest_of(single ? DType::s32 : DType::s64);
  const Id zero = constant(from, 0);
  const Id magnitude = magnitude_of(from, a);
  const Id negated = binary(Code::subtract, type, constant(type, 0), magnitude);
  const Id wrapped = choose(type, compare(Code::less, from, a, zero), negated, magnitude);
  const Id absolute = binary(Code::bit_and, type, a, constant(type, sign - 1));
  const Id infinity = constant(from, single ? 0x7f800000 : 0x7ff0000000000000);
  const Id limit = choose(to, compare(Code::less, from, zero, a), constant(to, largest_of(to)),
                          constant(to, smallest_of(to)));
  return choose(to, compare(Code::equal, from, absolute, infinity), limit,
                convert(type, to, wrapped));
}

}  // namespace outrigger::ops
