#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include <xbyak/xbyak.h>

#include "ops/pass/compile/trace.hpp"

namespace outrigger::ops {

/// The function of a segment's code. It takes the addresses of the inputs (of one element, if the
/// input is uniform), then those of the outputs, and the number of elements. AVX2 code accepts only
/// multiples of `lanes`.
using SegmentFn = void (*)(std::byte* const* addresses, std::int64_t n);

struct SegmentTrace {
  const Trace& trace;
  /// The dtypes, by the input's position.
  std::vector<DType> inputs;
  std::vector<bool> uniform;
  std::vector<Trace::Id> outputs;
  std::vector<DType> output_types;
  /// True if stores of whole registers bypass the caches. The memory of the outputs must then be
  /// aligned to a register.
  bool stream = false;
};

struct SegmentCode {
  std::vector<std::uint8_t> bytes;
  std::int64_t lanes = 0;
};

/// The loop of a trace as position-independent machine code. Returns nothing if the code is too
/// long.
std::optional<SegmentCode> generate(const SegmentTrace& segment, Isa isa);

/// The bytes of a register.
constexpr std::size_t register_bytes(Isa isa) { return isa == Isa::avx512 ? 64 : 32; }

/// Writes the loop. In each iteration, every value is one vector. Values stay in registers while
/// there are enough; a value with a late next use goes to the stack. Outputs are stored after all
/// inputs have been read, so that an output may share memory with an input.
class Generator : private Xbyak::CodeGenerator {
 public:
  /// Uniform inputs and constants that stay in registers during the whole loop.
  struct Pins {
    std::vector<Trace::Id> values;
  };

  Generator(const SegmentTrace& segment, Isa isa, std::span<std::uint8_t> buffer);
  void write(const Pins& pins);

  std::size_t bytes() const { return getSize(); }
  std::int64_t lanes() const { return lanes_; }
  /// After write(): the values to pin in the registers that were never needed.
  Pins worth_pinning() const;

 private:
  using Id = Trace::Id;
  using Op = Trace::Op;
  using Xmm = Xbyak::Xmm;
  using Operand = Xbyak::Operand;

  /// The location of a value.
  struct Place {
    int reg = -1;
    bool spilled = false;  ///< true if its slot has a copy
    std::size_t next = 0;  ///< index of its next use
  };
  /// One class of registers: vectors or masks.
  struct File {
    int first = 0;
    int end = 0;
    std::array<int, 32> holds{};  ///< for each register: a value, free_ or taken_
    std::uint32_t locked = 0;     ///< registers that the current operation uses
    std::uint32_t touched = 0;
  };
  static constexpr int free_ = -1;
  static constexpr int taken_ = -2;
  static constexpr std::size_t never = ~std::size_t{0};

  // The parts of the code, in the order in which they are written.
  void find_uses();
  void prologue();
  void loop();
  void body(std::int64_t displacement, bool tail);
  void epilogue();
  void constants();

  // Registers (generator_registers.cpp).
  bool wide() const { return isa_ == Isa::avx512; }
  int vector_bytes() const { return static_cast<int>(register_bytes(isa_)); }
  Xmm view(int reg, std::size_t element_bytes) const;
  Xmm view(int reg, DType type) const { return view(reg, size_of(type)); }
  Xmm whole(int reg) const;
  bool in_mask_file(Id id) const { return wide() && segment_.trace.is_mask(id); }
  File& file_of(Id id) { return in_mask_file(id) ? masks_ : vectors_; }
  std::size_t next_use(Id id) const;
  bool is_last_use(Id id) const;
  int take(File& file);
  void evict(File& file, int reg);
  void spill(Id id);
  /// Saves all values before a call, which may change the registers.
  void leave_registers(File& file);
  void place(Id id, int reg);
  int reg_of(Id id);
  Xmm use(Id id, DType type) { return view(reg_of(id), type); }
  Xbyak::Opmask use_mask(Id id) { return Xbyak::Opmask(reg_of(id)); }
  int temporary();
  /// A register for the result. It may be the register of an operand without a later use.
  Xmm define(Id id, DType type);
  /// A register for the result that is not the register of an operand.
  Xmm define_apart(Id id, DType type);
  Xbyak::Opmask define_mask(Id id);
  void release_operands(const Op& op);
  void release(Id id);
  void end_of_operation(const Op& op);
  /// Calls f with the value's register, or with its memory if that saves a load.
  template <typename F>
  void with_source(Id id, DType type, F&& f);

  // Memory (generator_registers.cpp).
  Xbyak::Address slot(Id id);
  Xbyak::Address element(std::size_t operand, DType type);
  Xbyak::Reg64 address_register(std::size_t operand);
  bool is_uniform(Id id) const;
  bool is_kept(Id id) const;  ///< true if its memory does not change, so that it needs no slot
  void load(Id id, int reg);
  void load_elements(int reg, DType type, const Xbyak::Address& from);
  void store_elements(int reg, DType type, const Xbyak::Address& to);
  struct Constant {
    std::array<std::uint8_t, 32> bytes;
    std::size_t size;
    Xbyak::Label label;
  };
  Xbyak::Address pooled(const Constant& constant);
  Xbyak::Address constant_address(std::uint64_t pattern);
  Xbyak::Address shuffle_address(std::size_t from, std::size_t to);

  // Operations (generator_operations.cpp).
  void operation(Id id);
  void arithmetic(Id id, const Op& op);
  void sum(DType type, const Xmm& to, const Xmm& a, const Operand& b);
  void difference(DType type, const Xmm& to, const Xmm& a, const Operand& b);
  void product(DType type, const Xmm& to, const Xmm& a, const Operand& b);
  void smaller(DType type, const Xmm& to, const Xmm& a, const Operand& b);
  void larger(DType type, const Xmm& to, const Xmm& a, const Operand& b);
  void logic(Trace::Code code, const Xmm& to, const Xmm& a, const Operand& b);
  void bits(Id id, const Op& op);
  void multiply_bytes(Id id, const Op& op);
  void multiply_wide(Id id, const Op& op);
  void shift(Id id, const Op& op);
  void choose(Id id, const Op& op);
  void compare(Id id, const Op& op);
  void compare_avx2(Id id, const Op& op);
  void mask_operation(Id id, const Op& op);
  void byte_of_mask(Id id, const Op& op);
  void convert(Id id, const Op& op);
  void call_function(Id id, const Op& op);
  void widen(const Xmm& to, const Operand& from, std::size_t from_size, std::size_t to_size,
             bool sign);
  void narrow(Id id, Id in, std::size_t from_size, std::size_t to_size);
  void narrow_avx2(Id id, Id in, std::size_t from_size, std::size_t to_size);

  const SegmentTrace& segment_;
  const Isa isa_;
  std::int64_t lanes_ = 0;
  std::vector<bool> live_;
  std::vector<std::vector<std::uint32_t>> uses_;
  std::vector<Place> places_;
  std::vector<int> slots_;
  int slot_count_ = 0;
  std::vector<bool> pinned_;
  File vectors_;
  File masks_;
  std::size_t at_ = 0;             ///< the current operation
  std::int64_t displacement_ = 0;  ///< position of the current copy of the loop's body, in elements
  bool tail_ = false;
  std::vector<Xbyak::Reg64> address_registers_;
  bool calls_ = false;             ///< true if the code calls functions
  int call_slot_ = -1;             ///< slot for the other registers that a call may change
  std::size_t operations_ = 0;     ///< number of live operations
  std::size_t saved_ = 0;          ///< number of registers that are saved on the stack
  std::size_t stack_size_at_ = 0;  ///< position of the stack's size in the code

  std::deque<Constant> constants_;
};

template <typename F>
void Generator::with_source(Id id, DType type, F&& f) {
  const std::size_t bytes = static_cast<std::size_t>(lanes_) * size_of(type);
  if (places_[id].reg < 0 && is_last_use(id) && bytes >= 16 && !tail_) {
    const Op& op = segment_.trace.at(id);
    if (places_[id].spilled || is_uniform(id)) return f(slot(id));
    if (op.code == Trace::Code::input) return f(element(op.bits, type));
  }
  f(use(id, type));
}

}  // namespace outrigger::ops
