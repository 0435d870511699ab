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

/// The elements of a tile. Some registers of this size fit the L1 cache.
inline constexpr std::int64_t tile_size = 1024;

/// A kernel on one tile of n contiguous elements. `out` may be one of `in`.
using TileFn = void (*)(void* out, const void* const* in, std::int64_t n);

class PassCode;
class Trace;
/// Records the kernel's operation on an element for the compiler (ops/pass/compile/lanes.hpp). It
/// takes the ids of the operands, and returns the id of the result.
using RecordFn = std::uint16_t (*)(Trace& trace, const std::uint16_t* in);

/// The implementation of an elementwise op for the interpreter and, if the op can be compiled, for
/// the compiler. Both give the same bits.
struct Kernel {
  TileFn run = nullptr;
  RecordFn record = nullptr;

  constexpr Kernel(TileFn tile) : run(tile) {}  // NOLINT(google-explicit-constructor)
  constexpr Kernel(TileFn tile, RecordFn recorder) : run(tile), record(recorder) {}
  explicit operator bool() const { return run != nullptr; }
};

/// A fused pass: elementwise operations over one iteration space, as data. A register holds a tile
/// of one dtype. The first `inputs` registers are loaded from the input tensors (broadcast to the
/// space). Each micro-op writes one more register. `stores` has the register of each output. The
/// pass may end with reductions of registers.
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
  /// All reductions fold the space in the same way.
  std::vector<Reduction> reductions;
  Folding folding;

  /// finish() sets these: the scratch slot of each register, and the object for the pass's machine
  /// code.
  std::vector<std::uint16_t> slots;
  std::uint16_t slot_count = 0;
  std::uint32_t slot_bytes = 0;
  std::shared_ptr<PassCode> code;

  /// True if a store or a reduction reads the register after the micro-ops.
  bool is_wanted(Register r) const;

  /// Assigns scratch slots to registers; registers whose lives do not overlap share a slot. Call it
  /// once, when the pass is complete.
  OUTRIGGER_EXPORT void finish();
};

/// The largest number of registers of a pass. The planner starts a new pass before it is exceeded.
inline constexpr std::size_t pass_registers_max = 128;

/// Runs a finished pass. `out` has one tensor of the space's shape for each store, then the results
/// of the reductions, in C order. An output may be the memory of an input (same layout), and may
/// overlap inputs in any other way. The pass computes as if all inputs were read before the first
/// write. If such an input is the output's own window, shifted, the results are written late
/// (ops/pass/lag.hpp). Otherwise these inputs are copied first, or the output is copied last.
/// Errors: cancelled or deadline_exceeded (outputs are then partly written), out_of_memory.
OUTRIGGER_EXPORT Result<void> run_pass(Context& context, const Pass& pass,
                                       std::span<const Tensor> in, std::span<const Tensor> out);

/// The largest number of bytes that run_pass takes because outputs overlap inputs in other layouts;
/// `copies` are the bytes of copies of all inputs that may do so.
OUTRIGGER_EXPORT std::uint64_t overlap_scratch(const Pass& pass, std::uint64_t copies);

/// Receives the tiles of a pass's reduced registers while they are in the cache.
class TileTaker {
 public:
  /// Receives the next n elements of each reduced register, in the order of `reductions`.
  virtual void take(std::int64_t n, std::span<const std::byte* const> tiles) = 0;

 protected:
  ~TileTaker() = default;
};

/// A pass bound to the memory of one run, which is carried out piece by piece.
class BoundPass {
 public:
  /// `out` has a tensor for each store. `order` is the order of the space's axes in the run. Each
  /// thread gets `own_bytes` of memory, aligned to a cache line. The pass must outlive the
  /// BoundPass. During the life of the BoundPass, no other pass may use the context's scratch.
  /// Errors: out_of_memory.
  static Result<BoundPass> bind(Context& context, const Pass& pass, std::span<const Tensor> in,
                                std::span<const Tensor> out, std::span<const std::int64_t> order,
                                std::size_t own_bytes);
  BoundPass(BoundPass&&) noexcept;
  ~BoundPass();

  /// The memory of the thread.
  std::byte* own(int thread) const;

  /// Computes the elements [begin, end) of the space tile by tile. Tiles end at `begin` plus a
  /// multiple of `unit`, if `unit` elements fit in a tile.
  void run(int thread, std::int64_t begin, std::int64_t end, std::int64_t unit,
           TileTaker& taker) const;

 private:
  struct State;
  explicit BoundPass(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Copies `from` to `to`: elements in C order of equal shapes and dtypes, with any strides. The
/// memory may overlap in any way; the copy has the elements that `from` had before, as in run_pass.
OUTRIGGER_EXPORT Result<void> copy_tensor(Context& context, const Tensor& from, const Tensor& to);

/// `from` itself if it is in C order, otherwise a copy in C order.
OUTRIGGER_EXPORT Result<Tensor> to_contiguous(Context& context, const Tensor& from);

/// Copies elements [begin, begin + n) of `from`, in C order, to `bytes`.
OUTRIGGER_EXPORT void read_elements(const Tensor& from, std::int64_t begin, std::int64_t n,
                                    void* bytes);

}  // namespace outrigger::ops
