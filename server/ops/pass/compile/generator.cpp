#include "ops/pass/compile/generator.hpp"

#include <algorithm>
#include <new>

namespace outrigger::ops {
namespace {

using namespace Xbyak::util;  // NOLINT(google-build-using-namespace): register names

/// The registers for addresses. The caller saves the first `unsaved` of them. rax is the position,
/// rdi the list of addresses, rsi the end, and r11 is scratch.
const std::array address_file{rdx, rcx, r8, r9, r10, rbx, r12, r13, r14, r15};
constexpr std::size_t unsaved = 5;

/// A called function may change the first registers. Code with calls therefore uses only the
/// others.
std::size_t first_address(bool calls) { return calls ? unsaved : 0; }

constexpr std::size_t code_bytes_max = std::size_t{64} << 10;

/// The bodies of short loops are repeated, which reduces the share of counting and jumping.
constexpr std::size_t unrolled_operations = 24;
constexpr std::int64_t unrolled_max = 4;

}  // namespace

Generator::Generator(const SegmentTrace& segment, Isa isa, std::span<std::uint8_t> buffer)
    : CodeGenerator(buffer.size(), buffer.data()), segment_(segment), isa_(isa) {
  const std::size_t count = segment_.trace.ops().size();
  live_.assign(count, false);
  uses_.resize(count);
  places_.resize(count);
  slots_.assign(count, -1);
  pinned_.assign(count, false);
  vectors_.end = wide() ? 32 : 16;
  // k0 means "no mask" in an operand; k7 is the mask of the tail.
  masks_.first = 1;
  masks_.end = 7;
  find_uses();
}

/// Finds the operations that the outputs need, and their uses. The widest of them decides the
/// number of lanes.
void Generator::find_uses() {
  const auto& ops = segment_.trace.ops();
  std::size_t widest = 1;
  for (std::size_t k = 0; k < segment_.outputs.size(); ++k) {
    live_[segment_.outputs[k]] = true;
    uses_[segment_.outputs[k]].push_back(static_cast<std::uint32_t>(ops.size() + k));
    widest = std::max(widest, size_of(segment_.output_types[k]));
  }
  for (std::size_t id = ops.size(); id-- > 0;) {
    const Op& op = ops[id];
    if (!live_[id]) continue;
    ++operations_;
    calls_ = calls_ || op.code == Trace::Code::call;
    if (op.code != Trace::Code::constant) widest = std::max(widest, size_of(op.type));
    for (std::size_t i = 0; i < op.arity; ++i) {
      live_[op.in[i]] = true;
      uses_[op.in[i]].push_back(static_cast<std::uint32_t>(id));
    }
  }
  for (auto& uses : uses_) std::sort(uses.begin(), uses.end());
  lanes_ = vector_bytes() / static_cast<std::int64_t>(widest);
}

void Generator::write(const Pins& pins) {
  vectors_.holds.fill(free_);
  masks_.holds.fill(free_);
  int reg = vectors_.end;
  for (const Id id : pins.values) {
    vectors_.holds[static_cast<std::size_t>(--reg)] = taken_;
    places_[id].reg = reg;
    pinned_[id] = true;
  }
  prologue();
  loop();
  epilogue();
  constants();
}

Generator::Pins Generator::worth_pinning() const {
  Pins pins;
  if (calls_) return pins;
  for (std::size_t id = 0; id < live_.size(); ++id) {
    const bool constant = segment_.trace.at(static_cast<Id>(id)).code == Trace::Code::constant;
    if (live_[id] && (constant || is_uniform(static_cast<Id>(id))))
      pins.values.push_back(static_cast<Id>(id));
  }
  std::stable_sort(pins.values.begin(), pins.values.end(),
                   [this](Id a, Id b) { return uses_[a].size() > uses_[b].size(); });
  std::size_t unused = 0;
  for (int reg = vectors_.first; reg < vectors_.end; ++reg)
    unused += (vectors_.touched >> reg & 1) == 0 ? 1 : 0;
  pins.values.resize(std::min(pins.values.size(), unused));
  return pins;
}

void Generator::prologue() {
  push(rbp);
  mov(rbp, rsp);
  const std::size_t operands = segment_.inputs.size() + segment_.outputs.size();
  const std::size_t first = first_address(calls_);
  for (std::size_t k = 0; k < operands && first + k < address_file.size(); ++k) {
    address_registers_.push_back(address_file[first + k]);
    if (first + k < unsaved) continue;
    push(address_file[first + k]);
    ++saved_;
  }
  // The size of the stack is known only at the end; epilogue() writes it here.
  sub(rsp, 0x7fffffff);
  stack_size_at_ = getSize() - 4;
  and_(rsp, -vector_bytes());
  for (std::size_t k = 0; k < address_registers_.size(); ++k)
    mov(address_registers_[k], ptr[rdi + static_cast<int>(k * sizeof(void*))]);

  for (std::size_t i = 0; i < live_.size(); ++i) {
    const auto id = static_cast<Id>(i);
    const Op& op = segment_.trace.at(id);
    if (!live_[id]) continue;
    const Xmm to = whole(pinned_[id] ? places_[id].reg : 0);
    if (op.code == Trace::Code::constant && pinned_[id]) {
      vpbroadcastq(to, constant_address(op.bits));
    } else if (is_uniform(id)) {
      const Xbyak::Address from = ptr[address_register(op.bits)];
      switch (size_of(op.type)) {
        case 1:
          vpbroadcastb(to, from);
          break;
        case 2:
          vpbroadcastw(to, from);
          break;
        case 4:
          vpbroadcastd(to, from);
          break;
        default:
          vpbroadcastq(to, from);
      }
      if (!pinned_[id]) vmovups(slot(id), to);
    }
  }
  xor_(eax, eax);
}

void Generator::loop() {
  Xbyak::Label several, one, rest, end;
  const std::int64_t copies = operations_ * 2 <= unrolled_operations ? unrolled_max
                              : operations_ <= unrolled_operations   ? 2
                                                                     : 1;
  const auto step = static_cast<int>(lanes_);
  const auto steps = static_cast<int>(copies) * step;
  if (copies > 1) {
    sub(rsi, steps);
    cmp(rax, rsi);
    jg(one, T_NEAR);
    align(16);
    L(several);
    for (std::int64_t copy = 0; copy < copies; ++copy) body(copy * lanes_, false);
    add(rax, steps);
    cmp(rax, rsi);
    jle(several, T_NEAR);
    L(one);
    add(rsi, steps - step);
  } else {
    sub(rsi, step);
  }
  cmp(rax, rsi);
  jg(rest, T_NEAR);
  align(16);
  Xbyak::Label again;
  L(again);
  body(0, false);
  add(rax, step);
  cmp(rax, rsi);
  jle(again, T_NEAR);
  L(rest);
  if (!wide()) return;
  add(rsi, step);
  sub(rsi, rax);
  jle(end, T_NEAR);
  mov(r11, -1);
  bzhi(r11, r11, rsi);
  kmovq(k7, r11);
  body(0, true);
  L(end);
}

void Generator::body(std::int64_t displacement, bool tail) {
  displacement_ = displacement;
  tail_ = tail;
  for (std::size_t id = 0; id < places_.size(); ++id) {
    if (!pinned_[id]) places_[id] = {};
  }
  for (File* file : {&vectors_, &masks_}) {
    file->locked = 0;
    for (int& held : file->holds) held = held == taken_ ? taken_ : free_;
  }
  const auto& ops = segment_.trace.ops();
  for (at_ = 0; at_ < ops.size(); ++at_) {
    if (live_[at_]) operation(static_cast<Id>(at_));
  }
  // An output may share memory with an input that another output stores without a change.
  for (const Id id : segment_.outputs) {
    if (ops[id].code != Trace::Code::input || is_uniform(id) || places_[id].spilled) continue;
    reg_of(id);
    spill(id);
    vectors_.locked = 0;
  }
  for (std::size_t k = 0; k < segment_.outputs.size(); ++k, ++at_) {
    const Id id = segment_.outputs[k];
    const DType type = segment_.output_types[k];
    store_elements(reg_of(id), type, element(segment_.inputs.size() + k, type));
    release(id);
    vectors_.locked = 0;
  }
}

void Generator::epilogue() {
  rewrite(stack_size_at_, static_cast<std::uint64_t>(slot_count_ * vector_bytes()), 4);
  lea(rsp, ptr[rbp - static_cast<int>(saved_ * 8)]);
  for (std::size_t k = address_registers_.size(); saved_ > 0; --saved_)
    pop(address_registers_[--k]);
  pop(rbp);
  // Only a fence orders streamed stores.
  if (segment_.stream) sfence();
  vzeroupper();
  ret();
}

std::optional<SegmentCode> generate(const SegmentTrace& segment, Isa isa) {
  std::vector<std::uint8_t> buffer(code_bytes_max);
  try {
    Generator first(segment, isa, buffer);
    first.write({});
    const Generator::Pins pins = first.worth_pinning();
    if (pins.values.empty()) {
      buffer.resize(first.bytes());
      return SegmentCode{std::move(buffer), first.lanes()};
    }
    Generator second(segment, isa, buffer);
    second.write(pins);
    buffer.resize(second.bytes());
    return SegmentCode{std::move(buffer), second.lanes()};
  } catch (const Xbyak::Error& error) {
    if (static_cast<int>(error) == Xbyak::ERR_CODE_IS_TOO_BIG) return std::nullopt;
    if (static_cast<int>(error) == Xbyak::ERR_CANT_ALLOC) throw std::bad_alloc();
    throw;
  }
}

}  // namespace outrigger::ops
