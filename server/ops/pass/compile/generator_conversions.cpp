// The instructions for a trace's conversions and calls of functions.

#include "ops/pass/compile/generator.hpp"

namespace outrigger::ops {

using Code = Trace::Code;

void Generator::byte_of_mask(Id id, const Op& op) {
  if (wide()) {
    const Xbyak::Opmask mask = use_mask(op.in[0]);
    const Xmm to = define(id, op.type);
    vpmovm2b(to, mask);
    return vpabsb(to, to);
  }
  const Xmm mask = use(op.in[0], op.type);
  vpabsb(define(id, op.type), mask);
}

void Generator::convert(Id id, const Op& op) {
  const std::size_t from_size = size_of(op.from);
  const std::size_t to_size = size_of(op.type);
  if (is_integer(op.from) && is_integer(op.type)) {
    if (to_size < from_size) return narrow(id, op.in[0], from_size, to_size);
    return with_source(op.in[0], op.from, [&](const Operand& from) {
      widen(define(id, op.type), from, from_size, to_size, !is_unsigned(op.from));
    });
  }
  const Xmm from = use(op.in[0], op.from);
  const Xmm to = define(id, op.type);
  if (op.from == DType::f16) return vcvtph2ps(to, from);
  if (op.type == DType::f64 && op.from == DType::f32) return vcvtps2pd(to, from);
  constexpr std::uint8_t ties_to_even = 0;
  if (op.type == DType::f16) return vcvtps2ph(to, from, ties_to_even);
  const bool single = op.type == DType::f32;
  switch (op.from) {
    case DType::f64:
      return vcvtpd2ps(to, from);
    case DType::s32:
      return single ? vcvtdq2ps(to, from) : vcvtdq2pd(to, from);
    case DType::u32:
      return single ? vcvtudq2ps(to, from) : vcvtudq2pd(to, from);
    case DType::s64:
      return single ? vcvtqq2ps(to, from) : vcvtqq2pd(to, from);
    default:
      return single ? vcvtuqq2ps(to, from) : vcvtuqq2pd(to, from);
  }
}

/// The calling convention of the platform: the argument and the result are in vector register 0.
/// Only the address registers of the loop keep their values.
void Generator::call_function(Id id, const Op& op) {
  using namespace Xbyak::util;  // NOLINT(google-build-using-namespace): register names
  const int from = reg_of(op.in[0]);
  leave_registers(vectors_);
  if (from != 0) vmovaps(whole(0), whole(from));
  leave_registers(masks_);
  if (call_slot_ < 0) call_slot_ = slot_count_++;
  const int kept = call_slot_ * vector_bytes();
  mov(ptr[rsp + kept], rax);
  mov(ptr[rsp + kept + 8], rdi);
  mov(ptr[rsp + kept + 16], rsi);
  if (tail_) kmovq(ptr[rsp + kept + 24], k7);
  mov(r11, op.bits);
  call(r11);
  mov(rax, ptr[rsp + kept]);
  mov(rdi, ptr[rsp + kept + 8]);
  mov(rsi, ptr[rsp + kept + 16]);
  if (tail_) kmovq(k7, ptr[rsp + kept + 24]);
  vectors_.touched |= 1;
  place(id, 0);
}

void Generator::widen(const Xmm& to, const Operand& from, std::size_t from_size,
                      std::size_t to_size, bool sign) {
  switch (from_size * 16 + to_size) {
    case 0x12:
      return sign ? vpmovsxbw(to, from) : vpmovzxbw(to, from);
    case 0x14:
      return sign ? vpmovsxbd(to, from) : vpmovzxbd(to, from);
    case 0x18:
      return sign ? vpmovsxbq(to, from) : vpmovzxbq(to, from);
    case 0x24:
      return sign ? vpmovsxwd(to, from) : vpmovzxwd(to, from);
    case 0x28:
      return sign ? vpmovsxwq(to, from) : vpmovzxwq(to, from);
    default:
      return sign ? vpmovsxdq(to, from) : vpmovzxdq(to, from);
  }
}

/// Keeps the low bits of each element.
void Generator::narrow(Id id, Id in, std::size_t from_size, std::size_t to_size) {
  if (!wide()) return narrow_avx2(id, in, from_size, to_size);
  const Xmm from = view(reg_of(in), from_size);
  release_operands(segment_.trace.at(id));
  const Xmm to = define_apart(id, segment_.trace.at(id).type);
  switch (from_size * 16 + to_size) {
    case 0x21:
      return vpmovwb(to, from);
    case 0x41:
      return vpmovdb(to, from);
    case 0x42:
      return vpmovdw(to, from);
    case 0x81:
      return vpmovqb(to, from);
    case 0x82:
      return vpmovqw(to, from);
    default:
      return vpmovqd(to, from);
  }
}

void Generator::narrow_avx2(Id id, Id in, std::size_t from_size, std::size_t to_size) {
  const Xmm from = view(reg_of(in), from_size);
  const Xmm to = define_apart(id, segment_.trace.at(id).type);
  if (!from.isYMM()) return vpshufb(to, from, shuffle_address(from_size, to_size));
  // The shuffle works within each half; then the halves are combined.
  const Xbyak::Ymm packed(temporary());
  const Xmm low(packed.getIdx());
  vpshufb(packed, from, shuffle_address(from_size, to_size));
  vextracti128(to, packed, 1);
  switch (from_size / to_size) {
    case 2:
      return vpunpcklqdq(to, low, to);
    case 4:
      return vpunpckldq(to, low, to);
    default:
      return vpunpcklwd(to, low, to);
  }
}

}  // namespace outrigger::ops
