// The registers and the memory of the generated loop.

#include <algorithm>
#include <cassert>

#include "ops/pass/compile/generator.hpp"

namespace outrigger::ops {

using namespace Xbyak::util;  // NOLINT(google-build-using-namespace): register names

Xbyak::Xmm Generator::view(int reg, std::size_t element_bytes) const {
  const std::size_t bytes = static_cast<std::size_t>(lanes_) * element_bytes;
  if (bytes > 32) return Xbyak::Zmm(reg);
  if (bytes > 16) return Xbyak::Ymm(reg);
  return Xmm(reg);
}

Xbyak::Xmm Generator::whole(int reg) const {
  if (wide()) return Xbyak::Zmm(reg);
  return Xbyak::Ymm(reg);
}

/// The first use of a value by the current operation or a later one.
std::size_t Generator::next_use(Id id) const {
  const auto& uses = uses_[id];
  const auto found = std::lower_bound(uses.begin(), uses.end(), at_);
  return found == uses.end() ? never : *found;
}

bool Generator::is_last_use(Id id) const {
  const auto& uses = uses_[id];
  return uses.empty() || uses.back() <= at_;
}

bool Generator::is_uniform(Id id) const {
  const Op& op = segment_.trace.at(id);
  return op.code == Trace::Code::input && segment_.uniform[op.bits];
}

bool Generator::is_kept(Id id) const {
  const Trace::Code code = segment_.trace.at(id).code;
  return code == Trace::Code::constant || code == Trace::Code::input;
}

int Generator::take(File& file) {
  int best = free_;
  std::size_t furthest = 0;
  for (int reg = file.first; reg < file.end; ++reg) {
    const int held = file.holds[static_cast<std::size_t>(reg)];
    if (held == taken_ || (file.locked >> reg & 1) != 0) continue;
    if (held == free_) {
      best = reg;
      break;
    }
    const std::size_t next = next_use(static_cast<Id>(held));
    if (best == free_ || next > furthest) {
      best = reg;
      furthest = next;
    }
  }
  assert(best != free_);
  if (file.holds[static_cast<std::size_t>(best)] >= 0) evict(file, best);
  file.locked |= 1U << best;
  file.touched |= 1U << best;
  return best;
}

void Generator::evict(File& file, int reg) {
  const auto id = static_cast<Id>(file.holds[static_cast<std::size_t>(reg)]);
  file.holds[static_cast<std::size_t>(reg)] = free_;
  if (next_use(id) != never && !is_kept(id) && !places_[id].spilled) spill(id);
  places_[id].reg = -1;
}

void Generator::spill(Id id) {
  const int reg = places_[id].reg;
  if (in_mask_file(id))
    kmovq(slot(id), Xbyak::Opmask(reg));
  else
    vmovups(slot(id), whole(reg));
  places_[id].spilled = true;
}

void Generator::leave_registers(File& file) {
  for (int reg = file.first; reg < file.end; ++reg) {
    int& held = file.holds[static_cast<std::size_t>(reg)];
    if (held < 0) continue;
    const auto id = static_cast<Id>(held);
    if (!is_last_use(id) && !is_kept(id) && !places_[id].spilled) spill(id);
    places_[id].reg = -1;
    held = free_;
  }
}

void Generator::place(Id id, int reg) {
  File& file = file_of(id);
  file.holds[static_cast<std::size_t>(reg)] = id;
  file.locked |= 1U << reg;
  places_[id].reg = reg;
}

int Generator::reg_of(Id id) {
  File& file = file_of(id);
  if (places_[id].reg < 0) {
    const int reg = take(file);
    load(id, reg);
    place(id, reg);
  }
  file.locked |= 1U << places_[id].reg;
  return places_[id].reg;
}

int Generator::temporary() { return take(vectors_); }

Xbyak::Xmm Generator::define(Id id, DType type) {
  release_operands(segment_.trace.at(id));
  return define_apart(id, type);
}

Xbyak::Xmm Generator::define_apart(Id id, DType type) {
  place(id, take(vectors_));
  return view(places_[id].reg, type);
}

Xbyak::Opmask Generator::define_mask(Id id) {
  place(id, take(masks_));
  return Xbyak::Opmask(places_[id].reg);
}

/// Frees the registers of operands without a use after this operation.
void Generator::release_operands(const Op& op) {
  for (std::size_t i = 0; i < op.arity; ++i) release(op.in[i]);
}

void Generator::release(Id id) {
  const int reg = places_[id].reg;
  if (reg < 0 || pinned_[id] || !is_last_use(id)) return;
  File& file = file_of(id);
  file.holds[static_cast<std::size_t>(reg)] = free_;
  file.locked &= ~(1U << reg);
  places_[id].reg = -1;
}

void Generator::end_of_operation(const Op& op) {
  release_operands(op);
  vectors_.locked = 0;
  masks_.locked = 0;
}

Xbyak::Address Generator::slot(Id id) {
  if (slots_[id] < 0) slots_[id] = slot_count_++;
  return ptr[rsp + slots_[id] * vector_bytes()];
}

Xbyak::Reg64 Generator::address_register(std::size_t operand) {
  if (operand < address_registers_.size()) return address_registers_[operand];
  mov(r11, ptr[rdi + static_cast<int>(operand * sizeof(void*))]);
  return r11;
}

Xbyak::Address Generator::element(std::size_t operand, DType type) {
  const auto size = static_cast<int>(size_of(type));
  const auto offset = static_cast<int>(displacement_) * size;
  return ptr[address_register(operand) + rax * size + offset];
}

void Generator::load(Id id, int reg) {
  const Op& op = segment_.trace.at(id);
  if (places_[id].spilled || is_uniform(id)) {
    if (in_mask_file(id))
      kmovq(Xbyak::Opmask(reg), slot(id));
    else
      vmovups(whole(reg), slot(id));
  } else if (op.code == Trace::Code::constant) {
    vpbroadcastq(whole(reg), constant_address(op.bits));
  } else {
    assert(op.code == Trace::Code::input);
    load_elements(reg, op.type, element(op.bits, op.type));
  }
}

void Generator::load_elements(int reg, DType type, const Xbyak::Address& from) {
  const Xmm to = view(reg, type);
  const std::size_t bytes = static_cast<std::size_t>(lanes_) * size_of(type);
  if (tail_) {
    const Xmm masked = to | k7 | T_z;
    switch (size_of(type)) {
      case 1:
        return vmovdqu8(masked, from);
      case 2:
        return vmovdqu16(masked, from);
      case 4:
        return vmovdqu32(masked, from);
      default:
        return vmovdqu64(masked, from);
    }
  }
  if (bytes >= 16) return vmovups(to, from);
  if (bytes == 8) return vmovq(to, from);
  vmovd(to, from);
}

void Generator::store_elements(int reg, DType type, const Xbyak::Address& to) {
  const Xmm from = view(reg, type);
  const std::size_t bytes = static_cast<std::size_t>(lanes_) * size_of(type);
  if (tail_) {
    switch (size_of(type)) {
      case 1:
        return vmovdqu8(to | k7, from);
      case 2:
        return vmovdqu16(to | k7, from);
      case 4:
        return vmovdqu32(to | k7, from);
      default:
        return vmovdqu64(to | k7, from);
    }
  }
  if (segment_.stream && bytes == register_bytes(isa_)) return vmovntps(to, from);
  if (bytes >= 16) return vmovups(to, from);
  if (bytes == 8) return vmovq(to, from);
  vmovd(to, from);
}

Xbyak::Address Generator::constant_address(std::uint64_t pattern) {
  Constant constant{{}, sizeof pattern, {}};
  std::memcpy(constant.bytes.data(), &pattern, sizeof pattern);
  return pooled(constant);
}

/// The control for vpshufb that gathers the low `to` bytes of each element of `from` bytes.
Xbyak::Address Generator::shuffle_address(std::size_t from, std::size_t to) {
  Constant constant{{}, 32, {}};
  constant.bytes.fill(0x80);
  for (std::size_t half = 0; half < 32; half += 16) {
    std::size_t next = half;
    for (std::size_t element = 0; element < 16; element += from) {
      for (std::size_t i = 0; i < to; ++i)
        constant.bytes.at(next++) = static_cast<std::uint8_t>(element + i);
    }
  }
  return pooled(constant);
}

Xbyak::Address Generator::pooled(const Constant& constant) {
  auto found = std::find_if(constants_.begin(), constants_.end(), [&](const Constant& other) {
    return other.size == constant.size && other.bytes == constant.bytes;
  });
  if (found == constants_.end()) found = constants_.insert(constants_.end(), constant);
  return ptr[rip + found->label];
}

/// The pool of constants behind the code, aligned to the size of one read.
void Generator::constants() {
  for (const std::size_t size : {std::size_t{32}, std::size_t{8}}) {
    align(size);
    for (Constant& constant : constants_) {
      if (constant.size != size) continue;
      L(constant.label);
      db(constant.bytes.data(), constant.size);
    }
  }
}

}  // namespace outrigger::ops
