#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace outrigger::kernel {

/// The type of a value in a kernel: a condition, or a dtype with arithmetic of its own.
enum class Type : std::uint8_t { boolean, u8, u16, u32, u64, s8, s16, s32, s64, f32, f64 };

/// The kinds of nodes. The expressions come first, the statements begin with `set`.
enum class What : std::uint8_t {
  number,
  slot,
  dim,
  size,
  load,
  add,
  subtract,
  multiply,
  min,
  max,
  divide,
  quotient,
  remainder,
  bitwise_and,
  bitwise_or,
  bitwise_xor,
  left_shift,
  right_shift,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  pow,
  atan2,
  negate,
  abs,
  sqrt,
  floor,
  ceil,
  trunc,
  bitwise_not,
  population_count,
  count_leading_zeros,
  count_trailing_zeros,
  is_nan,
  exp,
  log,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  tanh,
  asinh,
  acosh,
  atanh,
  logical_not,
  as,
  logical_and,
  logical_or,
  select,
  call,
  set,
  store,
  if_,
  while_,
  for_,
  break_,
  continue_,
  return_,
  raise,
  give,
};

constexpr bool is_statement(What what) { return what >= What::set; }

/// The size of an axis: any (`name` and `plus` unused), the number `plus`, or a name's size + plus.
struct Dim {
  enum class Kind : std::uint8_t { any, number, name };
  Kind kind = Kind::any;
  std::uint32_t name = 0;
  std::int64_t plus = 0;
};

enum class Mode : std::uint8_t { scalar, in, mut, fresh };

struct Param {
  Mode mode = Mode::scalar;
  Type type = Type::s64;
  std::vector<Dim> dims = {};
};

struct Array {
  Type type = Type::s64;
  std::vector<Dim> dims = {};
};

/// An argument of a call: an expression, or a tensor with the indices of a part.
struct Argument {
  bool is_tensor = false;
  std::uint32_t at = 0;  ///< the position of the expression, or the number of the tensor
  std::vector<std::uint32_t> indices = {};
};

/// A node. `at` and `operands` by kind:
///
///     number                   bits: the value as a cell (interpret.hpp); type
///     slot, dim                at
///     size                     at: tensor; operands: axis
///     load                     at: tensor; operands: indices
///     as                       operands: e; type
///     operations               operands
///     call                     at: kernel; arguments
///     set                      at: slot; operands: e
///     store                    at: tensor; operands: e, then indices
///     if_                      operands: c, block, block
///     while_                   operands: block, c, block
///     for_                     at: slot; operands: a, b, step, block
///     return_                  operands
///     raise                    at: position in `texts`; operands
///     give                     operands: call, then slots
struct Node {
  What what = What::number;
  Type type = Type::s64;
  std::uint32_t line = 0;
  std::uint32_t at = 0;
  std::uint64_t bits = 0;
  std::vector<std::uint32_t> operands = {};
  std::vector<Argument> arguments = {};
};

/// One kernel of a unit. Tensors are numbered: tensor parameters, scratch, local. The first slots
/// are the scalar parameters.
struct Kernel {
  std::string name = {};
  std::uint32_t file = 0;
  std::uint32_t dims = 0;
  std::vector<Param> params = {};
  std::vector<Array> scratch = {};
  std::vector<Array> local = {};
  std::vector<std::string> tensors = {};
  std::vector<Type> slots = {};
  std::vector<Type> results = {};
  std::vector<Node> nodes = {};
  std::vector<std::vector<std::uint32_t>> blocks = {};
  std::vector<std::string> texts = {};
};

/// A kernel with all kernels that it calls, as plain data. Calls go to smaller positions; the last
/// kernel is the unit's own.
struct Unit {
  std::vector<std::string> files = {};
  std::vector<Kernel> kernels = {};
};

/// The bytes that a unit takes as data.
std::uint64_t held_bytes(const Unit& unit);

}  // namespace outrigger::kernel
