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

/// A sequence of typed operations on vectors without branches. The function objects of elementwise
/// ops record it when they are called with lanes (ops/pass/compile/lanes.hpp) instead of numbers.
/// The generator makes code from it. Each operation gives one value. Equal operations are recorded
/// once.
class Trace {
 public:
  using Id = std::uint16_t;

  enum class Code : std::uint8_t {
    input,     ///< bits: the position of the input
    constant,  ///< bits: the element, repeated to 8 bytes
    add,
    subtract,
    multiply,
    divide,   ///< only for floats
    bit_and,  ///< also for floats, as all operations that only read bits
    bit_or,
    bit_xor,
    lesser,       ///< a < b ? a : b
    greater,      ///< a > b ? a : b
    shift_left,   ///< 0 if the shift, unsigned, is the width or more
    shift_right,  ///< 0, or the sign, if the shift is the width or more
    sqrt,
    floor,
    ceil,
    truncate,
    convert,  ///< from dtype `from`: a machine conversion, or the low bits of an integer
    choose,   ///< in[0] ? in[1] : in[2]
    // The following operations give a mask; `type` is the type of their operands.
    equal,
    not_equal,
    less,
    less_equal,
    mask_and,
    mask_or,
    mask_xor,
    mask_not,
    resize,  ///< AVX2: changes the bits of each lane of a mask to those of `type`
    // From a mask to a number: 0 or 1 as u8.
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
  /// A constant; `bits` has an element of `type` in its low bits.
  Id constant(DType type, std::uint64_t bits);
  Id unary(Code code, DType type, Id a);
  Id binary(Code code, DType type, Id a, Id b);
  Id compare(Code code, DType type, Id a, Id b);
  Id mask(Code code, Id a, Id b);
  Id mask_not(Id a);
  Id choose(DType type, Id mask, Id a, Id b);
  Id byte_of_mask(Id mask);
  /// The conversion of the kernel that casts between these dtypes. It also accepts f16, which has
  /// no kernels.
  Id convert(DType from, DType to, Id a);

  /// A call of a function from a vector to a vector of the instruction set. In the function, each
  /// element must be independent of the others.
  Id call(Isa isa, DType type, std::uint64_t function, Id a);

  const std::vector<Op>& ops() const { return ops_; }
  const Op& at(Id id) const { return ops_[id]; }
  bool is_mask(Id id) const;
  /// False once an operation without instructions was recorded.
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
