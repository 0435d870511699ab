#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "ops/pass/folding.hpp"
#include "ops/support/context.hpp"
#include "ops/support/export.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// Elements that a tile holds: a few registers of them stay in the L1 cache.
inline constexpr std::int64_t tile_size = 1024;

/// A kernel over one tile: n elements, contiguous. `out` may be one of `in`.
using TileFn = void (*)(void* out, const void* const* in, std::int64_t n);

class PassCode;
class Trace;
/// Records what a kernel does to an element for the compiler (ops/pass/compile/lanes.hpp): the
/// values' ids to that of the result.
using RecordFn = std::uint16_t (*)(Trace& trace, const std::uint16_t* in);

/// What an elementwise op does, for the interpreter and, if it can be compiled, for the compiler:
/// both give the same bits.
struct Kernel {
  TileFn run = nullptr;
  RecordFn record = nullptr;

  constexpr Kernel(TileFn tile) : run(tile) {}  // NOLINT(google-explicit-constructor)
  constexpr Kernel(TileFn tile, RecordFn recorder) : run(tile), record(recorder) {}
  explicit operator bool() const { return run != nullptr; }
};

/// A fused pass: elementwise operations over one iteration space, as data. Registers hold a tile of
/// one dtype; the first `inputs` of them are loaded from the input tensors (broadcast to the
/// space), each micro-op writes one further register, and `stores` names the register of each
/// output. Reductions of registers may end it.
struct Pass {
  using Register = std::uint16_t;
  struct MicroOp {
    TileFn run = nullptr;
    Register out = 0;
    std::array<Register, 3> in{};
    std::uint8_t arity = 0;
    RecordFn record = nullptr;
  };

  Dims space;
  std::uint16_t inputs = 0;
  std::vector<DType> registers;
  std::vector<MicroOp> micro_ops;
  std::vector<Register> stores;

  struct Reduction {
    Register of = 0;
    const Reducer* reducer = nullptr;
  };
  /// All of them fold the space in the same way.
  std::vector<Reduction> reductions;
  Folding folding;

  /// Filled in by finish(): the scratch slot of each register, and where the pass's machine code
  /// will be.
  std::vector<std::uint16_t> slots;
  std::uint16_t slot_count = 0;
  std::uint32_t slot_bytes = 0;
  std::shared_ptr<PassCode> code;

  /// Whether somebody wants the register when the micro-ops are done: a store or a reduction.
  bool is_wanted(Register r) const;

  /// Gives registers whose lives do not overlap the same scratch slot. Call once when complete.
  OUTRIGGER_EXPORT void finish();
};

/// Registers that a pass may have; the planner starts a new pass above it.
inline constexpr std::size_t pass_registers_max = 128;

/// Runs a finished pass. `out` are one tensor of the space's shape for each store, and the results
/// of the reductions behind them, in C order. An output may be the very memory of an input (same
/// layout), and may overlap inputs in any other way: they are read as they were before. Where that
/// is the output's own window, shifted, the output is written behind what is still to be read
/// (ops/pass/lag.hpp); otherwise such inputs are copied first, or the output last.
/// Errors: cancelled or deadline_exceeded (outputs are then partly written), out_of_memory.
OUTRIGGER_EXPORT Result<void> run_pass(Context& context, const Pass& pass,
                                       std::span<const Tensor> in, std::span<const Tensor> out);

/// The memory that run_pass takes because outputs overlap inputs in other layouts, at most:
/// `copies` are the bytes of copies of all inputs that may do so.
OUTRIGGER_EXPORT std::uint64_t overlap_scratch(const Pass& pass, std::uint64_t copies);

/// Who takes the tiles of a pass's reduced registers while they are hot.
class TileTaker {
 public:
  /// n elements of each of them, in the order of `reductions`. They follow the tile before.
  virtual void take(std::int64_t n, std::span<const std::byte* const> tiles) = 0;

 protected:
  ~TileTaker() = default;
};

/// A pass bound to the memory of one run, which is carried out piece by piece.
class BoundPass {
 public:
  /// `out`: a tensor for each store. The space's axes are walked in the given order. Each thread
  /// gets `own_bytes` of memory, aligned to a cache line. The pass must outlive it; until then, no
  /// other pass may use the context's scratch. Errors: out_of_memory.
  static Result<BoundPass> bind(Context& context, const Pass& pass, std::span<const Tensor> in,
                                std::span<const Tensor> out, std::span<const std::int64_t> order,
                                std::size_t own_bytes);
  BoundPass(BoundPass&&) noexcept;
  ~BoundPass();

  /// The thread's own memory.
  std::byte* own(int thread) const;

  /// Computes the elements [begin, end) of the space tile by tile. A tile is cut at `begin` plus a
  /// multiple of `unit`, if that many elements fit in one.
  void run(int thread, std::int64_t begin, std::int64_t end, std::int64_t unit,
           TileTaker& taker) const;

 private:
  struct State;
  explicit BoundPass(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Copies `from` to `to`, elements in C order of equal shapes and dtypes, any strides. The memory
/// may overlap in any way: `from` is read as it was before, as run_pass does.
OUTRIGGER_EXPORT Result<void> copy_tensor(Context& context, const Tensor& from, const Tensor& to);

/// `from` itself if it is in C order, otherwise a copy that is.
OUTRIGGER_EXPORT Result<Tensor> to_contiguous(Context& context, const Tensor& from);

/// Copies elements [begin, begin + n) of `from`, in C order, to `bytes`.
OUTRIGGER_EXPORT void read_elements(const Tensor& from, std::int64_t begin, std::int64_t n,
                                    void* bytes);

}  // namespace outrigger::ops
