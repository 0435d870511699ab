#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernel/arithmetic.hpp"
#include "kernel/check.hpp"
#include "kernel/interpret.hpp"

namespace outrigger::kernel {

enum class Op : std::uint8_t {
  move,         // r[dst] = r[a]
  unary,        // r[dst] = f1(r[a])
  binary,       // r[dst] = f2(r[a], r[b])
  divide,       // binary, whose divisor must not be 0
  load,         // r[dst] = element of tensor a at the indices of list b
  store,        // element of tensor a at the indices of list b = r[dst]
  jump,         // to c
  jump_if,      // to c if r[a]
  jump_if_not,  // to c if not r[a]
  poll,         // fails if the run is cancelled
  begin_range,  // fails if the step r[b] is 0; to c if the range r[dst]..r[a]//r[b] is empty
  next,         // r[dst] += r[b], to c; goes on if that leaves the range that ends at r[a]
  call,         // call number a
  give_back,    // ends with the registers of list a
  fail,         // ends with text a and the registers of list b
};

struct Instruction {
  Op op = Op::move;
  std::uint32_t dst = 0;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::uint32_t line = 0;
  Unary f1 = nullptr;
  Binary f2 = nullptr;
};

/// A register with the type of its value.
struct Typed {
  std::uint32_t reg = 0;
  Type type = Type::s64;
};

struct CallSite {
  struct Given {
    bool is_tensor = false;
    std::uint32_t at = 0;
    std::vector<Typed> indices = {};
  };
  std::uint32_t kernel = 0;
  std::vector<Given> given = {};
  /// The registers of the results.
  std::vector<std::uint32_t> results = {};
};

/// The code of a checked kernel.
struct Compiled {
  std::vector<Instruction> instructions = {};
  /// The registers at the beginning: numbers are in place.
  std::vector<std::uint64_t> registers = {};
  /// Registers that get a size at the beginning: {register, dim}, {register, {tensor, axis}}.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> dims = {};
  std::vector<std::pair<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>>> sizes = {};
  std::vector<std::vector<Typed>> lists = {};
  std::vector<CallSite> calls = {};
};

/// `unit` has the kernels that `kernel` calls.
Compiled compile(const CheckedKernel& kernel, const CheckedUnit& unit);

/// One kernel of a Machine.
struct Machine::Code {
  Kernel head = {};  ///< without nodes and blocks
  std::vector<TensorInfo> tensors = {};
  std::string file = {};
  Compiled compiled = {};
};

}  // namespace outrigger::kernel
