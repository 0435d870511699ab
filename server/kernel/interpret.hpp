#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "kernel/check.hpp"
#include "ops/support/context.hpp"
#include "tensor/kept.hpp"

namespace outrigger::kernel {

using Sizes = std::vector<std::int64_t>;

/// A tensor of a call. The caller owns the elements.
struct TensorView {
  std::byte* data = nullptr;
  Sizes dims = {};
  /// In elements; empty for C order.
  Sizes strides = {};
};

enum class FailureCode : std::uint8_t { bad_index, bad_value, bad_shape, raised, interrupted };

/// An error of a kernel that runs, with the place in the source of the user.
struct Failure {
  FailureCode code = FailureCode::raised;
  std::string text = {};
  std::string kernel = {};  ///< the name of the kernel that failed
  std::string file = {};
  std::uint32_t line = 0;  ///< 0: the call from outside
};

/// The sizes of the dimension names. `shapes` are those of the tensor parameters in their order;
/// with `fresh` false, the `new` ones are not there yet.
tl::expected<Sizes, std::string> bind_dims(const Kernel& kernel, std::span<const Sizes> shapes,
                                           bool fresh);

/// The size that a dimension stands for. It is not any.
std::int64_t size_of(const Dim& dim, std::span<const std::int64_t> dims);

/// The cell of an element, and the element of a cell.
std::uint64_t read_cell(const std::byte* element, Type type);
void write_cell(std::byte* element, Type type, std::uint64_t cell);

/// Fills memory with zeros, in pieces. False: the interrupt was raised.
bool clear(std::span<std::byte> memory, const ops::Interrupt& interrupt);

struct MachineCall {
  /// Cells, in the order of the scalar parameters.
  std::span<const std::uint64_t> scalars;
  /// The tensors of the parameters. Those of `new` ones are zero. No two of them overlap, if the
  /// kernel writes one of the two.
  std::span<const TensorView> tensors;
  /// At least Machine::memory_for() bytes, aligned to 8.
  std::span<std::byte> memory;
  /// Looked at within a millisecond.
  const ops::Interrupt& interrupt;
};

class Compiler;
class Native;

/// How code is made. Only tests change it.
struct EmitOptions {
  /// Each check that was proven to be needless ends the process if it fails.
  bool trap = false;
  /// No check is proven to be needless.
  bool check_all = false;
};

/// A unit as code of a register machine, and perhaps as machine code. Immutable: several threads
/// may interpret it.
class Machine {
 public:
  explicit Machine(const CheckedUnit& unit);
  ~Machine();
  Machine(Machine&&) noexcept;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  Machine& operator=(Machine&&) = delete;

  /// Begins to compile the unit that the machine is made of, and does not wait. Comes before the
  /// first run. `compiler` and `kept` outlive the machine.
  void compile(const CheckedUnit& unit, Compiler& compiler, Kept& kept,
               const EmitOptions& options = {});

  /// The unit's own kernel, which is the last one, without its nodes and blocks.
  const Kernel& head() const;
  std::uint64_t held_bytes() const;
  /// The calls of kernels inside of a run, each call of a callee counted for itself; with the run.
  std::uint64_t calls() const { return calls_.back(); }

  /// The bytes that run() needs for tensors of these shapes, those of `new` parameters included:
  /// scratch, local arrays and registers of all calls inside each other. The largest number if they
  /// are countless.
  std::uint64_t memory_for(std::span<const Sizes> shapes) const;

  /// Runs the unit's own kernel: its machine code, which the first call waits for, if operands lie
  /// in C order; otherwise it interprets. Returns the cells of its results. With compile(), one
  /// thread at a time may call it.
  tl::expected<std::vector<std::uint64_t>, Failure> run(const MachineCall& request) const;
  /// The same without machine code.
  tl::expected<std::vector<std::uint64_t>, Failure> interpret(const MachineCall& request) const;

  struct Code;
  const Code& code(std::size_t number) const { return *codes_[number]; }

 private:
  std::vector<std::unique_ptr<Code>> codes_;
  std::vector<std::uint64_t> calls_;  ///< of each kernel
  std::shared_ptr<const Native> native_;
};

}  // namespace outrigger::kernel
