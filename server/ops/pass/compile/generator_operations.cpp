// The instructions for a trace's arithmetic, bit operations, comparisons and choices, for AVX2 and
// for AVX-512 (F, BW, DQ, VL).

#include <utility>

#include "ops/pass/compile/generator.hpp"

namespace outrigger::ops {

using Code = Trace::Code;

void Generator::operation(Id id) {
  const Op& op = segment_.trace.at(id);
  switch (op.code) {
    case Code::input:
    case Code::constant:
      return;
    case Code::add:
    case Code::subtract:
    case Code::multiply:
    case Code::divide:
    case Code::lesser:
    case Code::greater:
    case Code::sqrt:
    case Code::floor:
    case Code::ceil:
    case Code::truncate:
      arithmetic(id, op);
      break;
    case Code::bit_and:
    case Code::bit_or:
    case Code::bit_xor:
      bits(id, op);
      break;
    case Code::shift_left:
    case Code::shift_right:
      shift(id, op);
      break;
    case Code::convert:
      convert(id, op);
      break;
    case Code::choose:
      choose(id, op);
      break;
    case Code::equal:
    case Code::not_equal:
    case Code::less:
    case Code::less_equal:
      compare(id, op);
      break;
    case Code::mask_and:
    case Code::mask_or:
    case Code::mask_xor:
    case Code::mask_not:
      mask_operation(id, op);
      break;
    case Code::resize:
      if (size_of(op.from) < size_of(op.type)) {
        const Xmm from = use(op.in[0], op.from);
        widen(define(id, op.type), from, size_of(op.from), size_of(op.type), true);
      } else {
        narrow(id, op.in[0], size_of(op.from), size_of(op.type));
      }
      break;
    case Code::byte_of_mask:
      byte_of_mask(id, op);
      break;
    case Code::call:
      call_function(id, op);
      break;
  }
  end_of_operation(op);
}

void Generator::arithmetic(Id id, const Op& op) {
  if (op.code == Code::multiply && size_of(op.type) == 1) return multiply_bytes(id, op);
  if (op.code == Code::multiply && is_integer(op.type) && size_of(op.type) == 8 && !wide())
    return multiply_wide(id, op);
  if (op.arity == 1) {
    const bool single = op.type == DType::f32;
    return with_source(op.in[0], op.type, [&](const Operand& a) {
      const Xmm to = define(id, op.type);
      if (op.code == Code::sqrt) return single ? vsqrtps(to, a) : vsqrtpd(to, a);
      // The modes round to floor, ceiling or zero, and suppress the inexact exception.
      const std::uint8_t mode = op.code == Code::floor ? 9 : op.code == Code::ceil ? 10 : 11;
      if (wide()) return single ? vrndscaleps(to, a, mode) : vrndscalepd(to, a, mode);
      return single ? vroundps(to, a, mode) : vroundpd(to, a, mode);
    });
  }
  const Xmm a = use(op.in[0], op.type);
  with_source(op.in[1], op.type, [&](const Operand& b) {
    const Xmm to = define(id, op.type);
    switch (op.code) {
      case Code::add:
        return sum(op.type, to, a, b);
      case Code::subtract:
        return difference(op.type, to, a, b);
      case Code::multiply:
        return product(op.type, to, a, b);
      case Code::divide:
        return op.type == DType::f32 ? vdivps(to, a, b) : vdivpd(to, a, b);
      case Code::lesser:
        return smaller(op.type, to, a, b);
      default:
        return larger(op.type, to, a, b);
    }
  });
}

void Generator::sum(DType type, const Xmm& to, const Xmm& a, const Operand& b) {
  if (type == DType::f32) return vaddps(to, a, b);
  if (type == DType::f64) return vaddpd(to, a, b);
  switch (size_of(type)) {
    case 1:
      return vpaddb(to, a, b);
    case 2:
      return vpaddw(to, a, b);
    case 4:
      return vpaddd(to, a, b);
    default:
      return vpaddq(to, a, b);
  }
}

void Generator::difference(DType type, const Xmm& to, const Xmm& a, const Operand& b) {
  if (type == DType::f32) return vsubps(to, a, b);
  if (type == DType::f64) return vsubpd(to, a, b);
  switch (size_of(type)) {
    case 1:
      return vpsubb(to, a, b);
    case 2:
      return vpsubw(to, a, b);
    case 4:
      return vpsubd(to, a, b);
    default:
      return vpsubq(to, a, b);
  }
}

void Generator::product(DType type, const Xmm& to, const Xmm& a, const Operand& b) {
  if (type == DType::f32) return vmulps(to, a, b);
  if (type == DType::f64) return vmulpd(to, a, b);
  switch (size_of(type)) {
    case 2:
      return vpmullw(to, a, b);
    case 4:
      return vpmulld(to, a, b);
    default:
      return vpmullq(to, a, b);
  }
}

void Generator::smaller(DType type, const Xmm& to, const Xmm& a, const Operand& b) {
  switch (type) {
    case DType::f32:
      return vminps(to, a, b);
    case DType::f64:
      return vminpd(to, a, b);
    case DType::u8:
      return vpminub(to, a, b);
    case DType::u16:
      return vpminuw(to, a, b);
    case DType::u32:
      return vpminud(to, a, b);
    case DType::u64:
      return vpminuq(to, a, b);
    case DType::s8:
      return vpminsb(to, a, b);
    case DType::s16:
      return vpminsw(to, a, b);
    case DType::s32:
      return vpminsd(to, a, b);
    default:
      return vpminsq(to, a, b);
  }
}

void Generator::larger(DType type, const Xmm& to, const Xmm& a, const Operand& b) {
  switch (type) {
    case DType::f32:
      return vmaxps(to, a, b);
    case DType::f64:
      return vmaxpd(to, a, b);
    case DType::u8:
      return vpmaxub(to, a, b);
    case DType::u16:
      return vpmaxuw(to, a, b);
    case DType::u32:
      return vpmaxud(to, a, b);
    case DType::u64:
      return vpmaxuq(to, a, b);
    case DType::s8:
      return vpmaxsb(to, a, b);
    case DType::s16:
      return vpmaxsw(to, a, b);
    case DType::s32:
      return vpmaxsd(to, a, b);
    default:
      return vpmaxsq(to, a, b);
  }
}

void Generator::logic(Code code, const Xmm& to, const Xmm& a, const Operand& b) {
  if (code == Code::bit_and) return wide() ? vpandd(to, a, b) : vpand(to, a, b);
  if (code == Code::bit_or) return wide() ? vpord(to, a, b) : vpor(to, a, b);
  return wide() ? vpxord(to, a, b) : vpxor(to, a, b);
}

void Generator::bits(Id id, const Op& op) {
  const Xmm a = use(op.in[0], op.type);
  with_source(op.in[1], op.type,
              [&](const Operand& b) { logic(op.code, define(id, op.type), a, b); });
}

/// No instruction multiplies bytes. The even and the odd bytes are multiplied as 16-bit numbers.
void Generator::multiply_bytes(Id id, const Op& op) {
  const Xmm a = use(op.in[0], op.type);
  const Xmm b = use(op.in[1], op.type);
  const Xmm to = define_apart(id, op.type);
  const Xmm high = view(temporary(), op.type);
  const Xmm odd = view(temporary(), op.type);
  if (wide())
    vpternlogd(high, high, high, 0xff);
  else
    vpcmpeqd(high, high, high);
  vpsllw(high, high, 8);
  logic(Code::bit_and, odd, high, b);
  vpsrlw(high, a, 8);
  vpmullw(odd, odd, high);
  vpmullw(to, a, b);
  // The shift removes the upper bytes of the even products; the odd products have no lower bytes.
  vpsllw(to, to, 8);
  vpsrlw(to, to, 8);
  logic(Code::bit_or, to, to, odd);
}

/// A 64-bit product from the products of halves.
void Generator::multiply_wide(Id id, const Op& op) {
  const Xmm a = use(op.in[0], op.type);
  const Xmm b = use(op.in[1], op.type);
  const Xmm to = define_apart(id, op.type);
  const Xmm cross = view(temporary(), op.type);
  vpsrlq(cross, a, 32);
  vpmuludq(cross, cross, b);
  vpsrlq(to, b, 32);
  vpmuludq(to, to, a);
  vpaddq(cross, cross, to);
  vpsllq(cross, cross, 32);
  vpmuludq(to, a, b);
  vpaddq(to, to, cross);
}

void Generator::shift(Id id, const Op& op) {
  const Xmm a = use(op.in[0], op.type);
  with_source(op.in[1], op.type, [&](const Operand& b) {
    const Xmm to = define(id, op.type);
    const std::size_t size = size_of(op.type);
    if (op.code == Code::shift_left)
      return size == 2 ? vpsllvw(to, a, b) : size == 4 ? vpsllvd(to, a, b) : vpsllvq(to, a, b);
    if (is_unsigned(op.type))
      return size == 2 ? vpsrlvw(to, a, b) : size == 4 ? vpsrlvd(to, a, b) : vpsrlvq(to, a, b);
    return size == 2 ? vpsravw(to, a, b) : size == 4 ? vpsravd(to, a, b) : vpsravq(to, a, b);
  });
}

void Generator::choose(Id id, const Op& op) {
  const Xmm on_false = use(op.in[2], op.type);
  if (wide()) {
    const Xbyak::Opmask mask = use_mask(op.in[0]);
    return with_source(op.in[1], op.type, [&](const Operand& on_true) {
      const Xmm to = define(id, op.type) | mask;
      switch (size_of(op.type)) {
        case 1:
          return vpblendmb(to, on_false, on_true);
        case 2:
          return vpblendmw(to, on_false, on_true);
        case 4:
          return vpblendmd(to, on_false, on_true);
        default:
          return vpblendmq(to, on_false, on_true);
      }
    });
  }
  const Xmm mask = use(op.in[0], op.type);
  with_source(op.in[1], op.type, [&](const Operand& on_true) {
    const Xmm to = define(id, op.type);
    switch (size_of(op.type)) {
      case 4:
        return vblendvps(to, on_false, on_true, mask);
      case 8:
        return vblendvpd(to, on_false, on_true, mask);
      default:
        return vpblendvb(to, on_false, on_true, mask);
    }
  });
}

namespace {

std::uint64_t sign_bits(std::size_t size) {
  switch (size) {
    case 1:
      return 0x8080808080808080;
    case 2:
      return 0x8000800080008000;
    case 4:
      return 0x8000000080000000;
    default:
      return 0x8000000000000000;
  }
}

/// The predicates are the same for vcmpps and vpcmpd. With NaN, only "not equal" is true.
std::uint8_t predicate(Code code) {
  switch (code) {
    case Code::equal:
      return 0;
    case Code::less:
      return 1;
    case Code::less_equal:
      return 2;
    default:
      return 4;
  }
}

}  // namespace

void Generator::compare(Id id, const Op& op) {
  const bool floats = !is_integer(op.type);
  if (!wide() && !floats) return compare_avx2(id, op);
  const std::uint8_t how = predicate(op.code);
  const Xmm a = use(op.in[0], op.type);
  with_source(op.in[1], op.type, [&](const Operand& b) {
    if (!wide()) {
      const Xmm to = define(id, op.type);
      return op.type == DType::f32 ? vcmpps(to, a, b, how) : vcmppd(to, a, b, how);
    }
    const Xbyak::Opmask to = define_mask(id);
    switch (op.type) {
      case DType::f32:
        return vcmpps(to, a, b, how);
      case DType::f64:
        return vcmppd(to, a, b, how);
      case DType::u8:
        return vpcmpub(to, a, b, how);
      case DType::u16:
        return vpcmpuw(to, a, b, how);
      case DType::u32:
        return vpcmpud(to, a, b, how);
      case DType::u64:
        return vpcmpuq(to, a, b, how);
      case DType::s8:
        return vpcmpb(to, a, b, how);
      case DType::s16:
        return vpcmpw(to, a, b, how);
      case DType::s32:
        return vpcmpd(to, a, b, how);
      default:
        return vpcmpq(to, a, b, how);
    }
  });
}

/// Compares integers: AVX2 has only == and signed >.
void Generator::compare_avx2(Id id, const Op& op) {
  const std::size_t size = size_of(op.type);
  Xmm a = use(op.in[0], op.type);
  Xmm b = use(op.in[1], op.type);
  const Xmm to = define_apart(id, op.type);
  const Xmm ones = view(temporary(), op.type);
  const auto set_ones = [&] { vpcmpeqd(ones, ones, ones); };
  if (op.code == Code::equal || op.code == Code::not_equal) {
    switch (size) {
      case 1:
        vpcmpeqb(to, a, b);
        break;
      case 2:
        vpcmpeqw(to, a, b);
        break;
      case 4:
        vpcmpeqd(to, a, b);
        break;
      default:
        vpcmpeqq(to, a, b);
    }
    if (op.code == Code::equal) return;
    set_ones();
    return vpxor(to, to, ones);
  }
  if (is_unsigned(op.type)) {
    // When the highest bit is inverted, the signed order is the unsigned one.
    const Xmm other = view(temporary(), op.type);
    vpbroadcastq(whole(ones.getIdx()), constant_address(sign_bits(size)));
    vpxor(to, a, ones);
    vpxor(other, b, ones);
    a = to;
    b = other;
  }
  if (op.code == Code::less_equal) std::swap(a, b);
  switch (size) {  // b > a
    case 1:
      vpcmpgtb(to, b, a);
      break;
    case 2:
      vpcmpgtw(to, b, a);
      break;
    case 4:
      vpcmpgtd(to, b, a);
      break;
    default:
      vpcmpgtq(to, b, a);
  }
  if (op.code == Code::less) return;
  set_ones();
  vpxor(to, to, ones);
}

void Generator::mask_operation(Id id, const Op& op) {
  if (wide()) {
    const Xbyak::Opmask a = use_mask(op.in[0]);
    if (op.code == Code::mask_not) return knotq(define_mask(id), a);
    const Xbyak::Opmask b = use_mask(op.in[1]);
    const Xbyak::Opmask to = define_mask(id);
    if (op.code == Code::mask_and) return kandq(to, a, b);
    if (op.code == Code::mask_or) return korq(to, a, b);
    return kxorq(to, a, b);
  }
  const Xmm a = use(op.in[0], op.type);
  if (op.code == Code::mask_not) {
    const Xmm to = define_apart(id, op.type);
    vpcmpeqd(to, to, to);
    return vpxor(to, to, a);
  }
  const Code as_bits = op.code == Code::mask_and  ? Code::bit_and
                       : op.code == Code::mask_or ? Code::bit_or
                                                  : Code::bit_xor;
  with_source(op.in[1], op.type,
              [&](const Operand& b) { logic(as_bits, define(id, op.type), a, b); });
}

}  // namespace outrigger::ops
