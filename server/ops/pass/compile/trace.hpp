#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "ops/support/isa.hpp"
#include "tensor/dtype.hpp"

namespace outrigger::ops {

/// A straight line of typed operations on vectors: what the function objects of elementwise ops
/// leave behind when they are called with lanes (ops/pass/compile/lanes.hpp) in place of numbers,
/// and what code is generated from. Each operation gives one value. Equal ones are recorded once.
class Trace {
 public:
  using Id = std::uint16_t;

  enum class Code : std::uint8_t {
    input,     ///< bits: its position
    constant,  ///< bits: the element, repeated to 8 bytes
    add,
    subtract,
    multiply,
    divide,   ///< floats
    bit_and,  ///< as the others that only see bits, on floats too
    bit_or,
    bit_xor,
    lesser,       ///< a < b ? a : b
    greater,      ///< a > b ? a : b
    shift_left,   ///< 0 if the shift, unsigned, is the width or more
    shift_right,  ///< likewise 0, or the sign
    sqrt,
    floor,
    ceil,
    truncate,
    convert,  ///< from `from`: a machine conversion, or the low bits of an integer
    choose,   ///< in[0] ? in[1] : in[2]
    // What follows gives a mask; type: that of the operands.
    equal,
    not_equal,
    less,
    less_equal,
    mask_and,
    mask_or,
    mask_xor,
    mask_not,
    resize,  ///< AVX2: a mask has as many bits for each lane as `type`
    // And back: 0 or 1 as u8.
    byte_of_mask,
    call,  ///< bits: the address of a function from a vector to a vector
  };

  struct Op {
    Code code = Code::input;
    DType type = DType::u8;
    DType from = DType::u8;
    std::uint8_t arity = 0;
    std::array<Id, 3> in{};
    std::uint64_t bits = 0;

    friend bool operator==(const Op&, const Op&) = default;
  };

  explicit Trace(Isa isa) : isa_(isa) {}

  Id input(DType type, std::uint64_t position);
  /// An element of `type` in the low bits.
  Id constant(DType type, std::uint64_t bits);
  Id unary(Code code, DType type, Id a);
  Id binary(Code code, DType type, Id a, Id b);
  Id compare(Code code, DType type, Id a, Id b);
  Id mask(Code code, Id a, Id b);
  Id mask_not(Id a);
  Id choose(DType type, Id mask, Id a, Id b);
  Id byte_of_mask(Id mask);
  /// As the kernels of casts between these dtypes do; f16 is known besides those that kernels have.
  Id convert(DType from, DType to, Id a);

  /// A function from a vector to a vector of the instruction set; no element's result may depend on
  /// another's.
  Id call(Isa isa, DType type, std::uint64_t function, Id a);

  const std::vector<Op>& ops() const { return ops_; }
  const Op& at(Id id) const { return ops_[id]; }
  bool is_mask(Id id) const;
  /// False once something was recorded that there are no instructions for.
  bool complete() const { return complete_; }

 private:
  struct Hash {
    std::size_t operator()(const Op& op) const;
  };
  Id record(const Op& op);
  Id sized(Id mask, DType type);
  Id shift(Code code, DType type, Id a, Id b);
  Id to_float(DType from, DType to, Id a);
  Id to_integer(DType from, DType to, Id a);
  Id magnitude_of(DType from, Id bits);
  Id missing();

  Isa isa_;
  bool complete_ = true;
  std::vector<Op> ops_;
  std::unordered_map<Op, Id, Hash> known_;
};

}  // namespace outrigger::ops
