#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel/check.hpp"
#include "kernel/interpret.hpp"
#include "ops/pass/pass.hpp"

// The code of the register machine. An instruction names the function that carries it out; each
// such function returns the next instruction. A register has 64 bits: a cell (arithmetic.hpp).

namespace outrigger::kernel {

struct Instruction;
struct Frame;

/// Null ends the kernel: it has given its results, or has failed (Run::failed).
using Handler = const Instruction* (*)(const Instruction* i, std::uint64_t* r, Frame& frame);

struct Instruction {
  Handler run = nullptr;
  std::int32_t jump = 0;  ///< the distance to the instruction that it jumps to; or a list
  std::uint32_t dst = 0;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::uint32_t line = 0;
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
  /// The ops' own functions for one element.
  std::vector<ops::TileFn> functions = {};
};

/// The op's function for one element that an operation has; null if the machine has it itself.
ops::TileFn function_of(What what, Type type);

/// `unit` has the kernels that `kernel` calls.
Compiled compile(const CheckedKernel& kernel, const CheckedUnit& unit);

/// One kernel of a Machine.
struct Machine::Code {
  Kernel head = {};  ///< without nodes and blocks
  std::vector<TensorInfo> tensors = {};
  std::string file = {};
  Compiled compiled = {};
  std::uint32_t axes = 0;  ///< of all tensors together
};

struct Axis {
  std::uint64_t n = 0;
  std::int64_t step = 0;  ///< in bytes
};

/// A tensor of a kernel that runs.
struct Window {
  std::byte* data = nullptr;
  const Axis* axes = nullptr;
  Axis first = {};  ///< axes[0]
};

/// One run of a machine, with all calls inside of it.
struct Run {
  const Machine& machine;
  const ops::Interrupt& interrupt;
  std::byte* free = nullptr;  ///< the rest of the run's memory
  /// The steps until the next look at the interrupt.
  std::int32_t budget = 0;
  bool failed = false;
  Failure failure = {};
  /// The cells of the results of the kernel that has ended last.
  std::vector<std::uint64_t> results = {};
};

/// One call of a kernel.
struct Frame {
  Run& run;
  const Machine::Code& code;
  std::uint64_t* registers = nullptr;
  Window* windows = nullptr;

  /// Ends the run. Returns null.
  const Instruction* fail(FailureCode failure, std::string text, std::uint32_t line);
  const Instruction* bad_index(std::uint32_t tensor, Typed index, std::size_t axis,
                               std::uint32_t line);
};

/// Looks at the interrupt. Returns false if the run ends.
bool look(Frame& frame, std::uint32_t line);

/// A look takes as long as some dozens of instructions.
inline constexpr std::int32_t steps_between_looks = 1024;

/// Counts the instructions of a turn or of a callee, 16 for each step.
inline bool spend(Frame& frame, std::size_t instructions, std::uint32_t line) {
  const auto steps = static_cast<std::int32_t>(std::min<std::size_t>(instructions / 16, 1U << 20));
  frame.run.budget -= 1 + steps;
  return frame.run.budget > 0 || look(frame, line);
}

/// The element at the indices, whose number may be less than the rank: then the part's first one.
/// Null: the run has failed.
std::byte* element(Frame& frame, std::uint32_t tensor, const std::vector<Typed>& indices,
                   std::uint32_t line);

/// Carries out a call (interpret.cpp). False: the run has failed.
bool call(Frame& frame, const CallSite& site, std::uint32_t line);

// The texts of errors, which the machine code has, too.

/// A number, as Elixir writes it.
std::string text_of(std::uint64_t cell, Type type);
std::string index_text(const Machine::Code& code, std::uint32_t tensor, std::size_t axis,
                       const std::string& index, std::uint64_t size);
std::string size_text(const std::string& tensor, std::size_t axis, std::int64_t size,
                      const std::string& expected);
inline constexpr const char* zero_divisor_text = "division by zero";
inline constexpr const char* zero_step_text = "the step of the range is 0";

// The handlers (handlers.cpp). r are the registers.

/// r[dst] = f(r[a]), f(r[a], r[b]). A divisor of 0 fails.
Handler unary_handler(What what, Type type);
Handler binary_handler(What what, Type type);
/// The same by the op's function c of `functions`, for f32 or f64.
Handler function_handler(Type type);
Handler conversion_handler(Type from, Type to);
/// Jumps if the comparison of r[a] and r[b] gives `when`. With `back`, it is the turn of a loop.
Handler branch_handler(What what, Type type, bool when, bool back);
/// Jumps if r[a] is `when`.
Handler condition_handler(bool when, bool back);
Handler jump_handler(bool back);
/// r[dst] = r[a].
Handler move_handler();
/// r[dst] = element of tensor a at the indices of list `jump`. The first two are r[b] and r[c],
/// too.
Handler load_handler(Type type, std::size_t rank);
/// The element = r[dst], at the same places.
Handler store_handler(Type type, std::size_t rank);
/// For the range r[dst]..r[a]//r[b]: r[c] = the turns after the first one. Jumps if there is no
/// turn. A step of 0 fails.
Handler begin_range_handler();
/// If r[c] turns are left: the next one, with r[dst] = r[a] += r[b]. It jumps.
Handler next_handler();
/// Call a of `calls`.
Handler call_handler();
/// Ends with the registers of list a.
Handler give_back_handler();
/// Ends with text a and the registers of list b.
Handler fail_handler();

}  // namespace outrigger::kernel
