#include "ops/pass.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <memory>

#include <boost/container/small_vector.hpp>

#include "ops/reduction.hpp"
#include "ops/run_single.hpp"
#include "ops/strided.hpp"

namespace outrigger::ops {
namespace {

/// Tiles that one thread takes at a time: 64 Ki elements.
constexpr std::int64_t tiles_per_chunk = 16;

/// Passes of this many micro-ops go in quarters of a tile (of bytes, in whole ones): the hardware's
/// prefetcher runs about that far ahead while one is computed, so that arithmetic and memory
/// overlap (a sixth of the time of tanh(a·b+1)·exp(-a)). Software prefetches gave nothing.
constexpr std::size_t long_pass = 3;

enum class Access : std::uint8_t { direct, uniform, strided };

/// Rows of a strided operand that are shorter are gathered into a tile; longer ones are used where
/// they are, and no tile goes beyond the end of a row.
constexpr std::int64_t row_elements_min = 128;

/// One input or output, bound to memory.
struct Binding {
  std::byte* base = nullptr;
  std::size_t width = 0;
  Access access = Access::direct;
  bool rows = false;  ///< strided, but each row lies together
  Dims strides;
};

/// The tensor's strides in the space that its shape broadcasts to.
Dims broadcast_strides(const Tensor& tensor, std::span<const std::int64_t> space) {
  Dims strides(space.size(), 0);
  const std::size_t shift = space.size() - tensor.shape().size();
  for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    if (tensor.shape()[axis] != 1) strides[axis + shift] = tensor.strides[axis];
  }
  return strides;
}

Access classify(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides) {
  if (std::all_of(strides.begin(), strides.end(), [](std::int64_t s) { return s == 0; })) {
    return dims.empty() ? Access::direct : Access::uniform;
  }
  std::int64_t expected = 1;
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    if (strides[axis] != expected) return Access::strided;
    expected *= dims[axis];
  }
  return Access::direct;
}

/// The numbers of each axis in another order of the axes; an empty one leaves them as they are.
Dims reordered(const Dims& dims, std::span<const std::int64_t> order) {
  if (order.empty()) return dims;
  Dims result;
  for (const std::int64_t axis : order) result.push_back(dims[static_cast<std::size_t>(axis)]);
  return result;
}

/// A pass bound to the memory of one run.
class Run {
 public:
  Run(const Pass& pass, std::span<const Tensor> in, std::span<const Tensor> out,
      std::span<const std::int64_t> order)
      : pass_(pass), dims_(reordered(pass.space, order)) {
    boost::container::small_vector<Dims, 12> strides;
    for (const auto& tensors : {in, out}) {
      for (const Tensor& tensor : tensors)
        strides.push_back(reordered(broadcast_strides(tensor, pass.space), order));
    }
    collapse(dims_, std::span(strides.data(), strides.size()));
    std::size_t next = 0;
    for (const Tensor& tensor : in) inputs_.push_back(bind(tensor, std::move(strides[next++])));
    for (const Tensor& tensor : out) {
      Binding output = bind(tensor, std::move(strides[next++]));
      assert(output.access != Access::uniform);
      outputs_.push_back(std::move(output));
    }
    const auto in_rows = [](const Binding& binding) { return binding.rows; };
    in_rows_ = std::any_of(inputs_.begin(), inputs_.end(), in_rows) ||
               std::any_of(outputs_.begin(), outputs_.end(), in_rows);
    deferred_.resize(out.size(), false);
    for (std::size_t i = 0; i < out.size(); ++i) {
      deferred_[i] = must_defer(i);
      any_deferred_ = any_deferred_ || deferred_[i];
    }
  }

  /// Scratch that each thread needs.
  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(pass_.slot_count) * pass_.slot_bytes;
  }

  /// Points each register at its slot of the scratch and fills the uniform inputs.
  void prepare(std::byte* scratch, std::int64_t n, std::span<std::byte*> registers) const {
    for (std::size_t r = 0; r < pass_.registers.size(); ++r) {
      registers[r] = scratch + static_cast<std::size_t>(pass_.slots[r]) * pass_.slot_bytes;
    }
    const std::int64_t filled = std::min(n, tile_size);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Binding& input = inputs_[i];
      if (input.access != Access::uniform) continue;
      with_width(input.width, [&](auto tag) {
        using T = typename decltype(tag)::type;
        std::fill_n(reinterpret_cast<T*>(registers[i]), filled,
                    *reinterpret_cast<const T*>(input.base));
      });
    }
  }

  /// Elements of a tile, at most.
  std::int64_t step() const {
    const auto in_memory = [](const Binding& input) {
      return input.access == Access::direct || input.rows;
    };
    // What only passes elements on needs no registers.
    if (pass_.micro_ops.empty() && outputs_.empty() &&
        std::all_of(inputs_.begin(), inputs_.end(), in_memory))
      return std::numeric_limits<std::int64_t>::max();
    if (pass_.micro_ops.size() < long_pass) return tile_size;
    return tile_size / std::min<std::int64_t>(pass_.slot_bytes / tile_size, 4);
  }

  /// All tiles of [begin, end), of at most `step` elements.
  void tiles(std::int64_t begin, std::int64_t end, std::int64_t step,
             std::span<std::byte*> registers, TileTaker* taker) const {
    for (std::int64_t start = begin; start < end;) {
      const Place at = place(start);
      std::int64_t n = std::min(step, end - start);
      if (in_rows_) n = std::min(n, dims_.back() - at.index[dims_.size() - 1]);
      tile(at, n, registers, taker);
      start += n;
    }
  }

 private:
  /// Where a tile begins: its first element, and that one's index where rows matter.
  struct Place {
    std::int64_t start = 0;
    std::array<std::int64_t, Limits::rank_max> index;
  };

  Place place(std::int64_t start) const {
    Place at;
    at.start = start;
    if (!in_rows_) return at;
    for (std::size_t axis = dims_.size(); axis-- > 0; start /= dims_[axis])
      at.index[axis] = start % dims_[axis];
    return at;
  }

  void tile(const Place& at, std::int64_t n, std::span<std::byte*> registers,
            TileTaker* taker) const {
    load(at, n, registers);
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (!deferred_[i]) registers[pass_.stores[i]] = address(outputs_[i], at);
    }
    for (const Pass::MicroOp& op : pass_.micro_ops) {
      const std::array<const void*, 3> in{registers[op.in[0]], registers[op.in[1]],
                                          registers[op.in[2]]};
      op.run(registers[op.out], in.data(), n);
    }
    if (taker != nullptr) {
      boost::container::small_vector<const std::byte*, 4> taken;
      for (const Pass::Reduction& reduction : pass_.reductions)
        taken.push_back(registers[reduction.of]);
      taker->take(n, std::span(taken.data(), taken.size()));
    }
    if (!any_deferred_) return;
    // Inputs that are stored as they are go first: another store may overwrite them.
    for (const bool inputs_first : {true, false}) {
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        const bool is_input = pass_.stores[i] < pass_.inputs;
        if (deferred_[i] && is_input == inputs_first)
          store(outputs_[i], at, n, registers[pass_.stores[i]]);
      }
    }
  }

  /// Of the tile's first element, behind which its row or all of the operand lies.
  std::byte* address(const Binding& binding, const Place& at) const {
    std::int64_t offset = at.start;
    if (binding.rows) {
      offset = 0;
      for (std::size_t axis = 0; axis < dims_.size(); ++axis)
        offset += at.index[axis] * binding.strides[axis];
    }
    return binding.base + offset * static_cast<std::int64_t>(binding.width);
  }

  Binding bind(const Tensor& tensor, Dims strides) const {
    const Access access = classify(dims_, strides);
    const bool rows =
        access == Access::strided && strides.back() == 1 && dims_.back() >= row_elements_min;
    return Binding{tensor.data(), size_of(tensor.dtype()), access, rows, std::move(strides)};
  }

  /// An output can be computed right where it belongs, unless it is strided, is itself an input
  /// or a second name of a register, or overwrites an input that is still read after it.
  bool must_defer(std::size_t output) const {
    const Pass::Register r = pass_.stores[output];
    const Binding& target = outputs_[output];
    if ((target.access == Access::strided && !target.rows) || r < pass_.inputs) return true;
    for (std::size_t other = 0; other < output; ++other) {
      if (pass_.stores[other] == r) return true;
    }
    for (std::size_t input = 0; input < inputs_.size(); ++input) {
      if (inputs_[input].base != outputs_[output].base) continue;
      if (last_read(static_cast<Pass::Register>(input)) > written_at(r)) return true;
    }
    return false;
  }

  std::size_t written_at(Pass::Register r) const { return r - pass_.inputs; }

  std::size_t last_read(Pass::Register r) const {
    std::size_t last = 0;
    for (std::size_t i = 0; i < pass_.micro_ops.size(); ++i) {
      const Pass::MicroOp& op = pass_.micro_ops[i];
      for (std::size_t k = 0; k < op.arity; ++k) {
        if (op.in[k] == r) last = i;
      }
    }
    // A store of the input itself reads it at the very end, and so does a reduction of it.
    for (const Pass::Register stored : pass_.stores) {
      if (stored == r) last = pass_.micro_ops.size();
    }
    for (const Pass::Reduction& reduction : pass_.reductions) {
      if (reduction.of == r) last = pass_.micro_ops.size();
    }
    return last;
  }

  void load(const Place& at, std::int64_t n, std::span<std::byte*> registers) const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Binding& input = inputs_[i];
      if (input.access == Access::direct || input.rows) {
        registers[i] = address(input, at);
      } else if (input.access == Access::strided) {
        with_width(input.width, [&](auto tag) {
          using T = typename decltype(tag)::type;
          gather_tile(reinterpret_cast<T*>(registers[i]), reinterpret_cast<const T*>(input.base),
                      dims_, input.strides, at.start, n);
        });
      }
    }
  }

  void store(const Binding& output, const Place& at, std::int64_t n, const std::byte* from) const {
    with_width(output.width, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* in = reinterpret_cast<const T*>(from);
      if (output.access == Access::strided && !output.rows) {
        scatter_tile(in, reinterpret_cast<T*>(output.base), dims_, output.strides, at.start, n);
      } else {
        // An output may be the memory of the input that it stores.
        std::memmove(address(output, at), in, static_cast<std::size_t>(n) * sizeof(T));
      }
    });
  }

  const Pass& pass_;
  Dims dims_;
  bool in_rows_ = false;
  bool any_deferred_ = false;
  boost::container::small_vector<Binding, 8> inputs_;
  boost::container::small_vector<Binding, 4> outputs_;
  boost::container::small_vector<bool, 4> deferred_;
};

}  // namespace

void collapse(Dims& dims, std::span<Dims> strides) {
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] == 1) continue;
    const bool merges =
        kept > 0 && std::all_of(strides.begin(), strides.end(), [&](const Dims& row) {
          return row[kept - 1] == row[axis] * dims[axis];
        });
    if (merges) {
      dims[kept - 1] *= dims[axis];
      for (Dims& row : strides) row[kept - 1] = row[axis];
    } else {
      dims[kept] = dims[axis];
      for (Dims& row : strides) row[kept] = row[axis];
      ++kept;
    }
  }
  dims.resize(kept);
  for (Dims& row : strides) row.resize(kept);
}

void Pass::finish() {
  // An input's scratch must outlive the tile: uniform inputs are filled only once.
  const std::size_t count = registers.size();
  std::vector<std::size_t> last_use(count, 0);
  for (std::size_t i = 0; i < micro_ops.size(); ++i) {
    for (std::size_t k = 0; k < micro_ops[i].arity; ++k) last_use[micro_ops[i].in[k]] = i;
  }
  for (const Register r : stores) last_use[r] = micro_ops.size();
  for (const Reduction& reduction : reductions) last_use[reduction.of] = micro_ops.size();
  slots.assign(count, 0);
  std::vector<std::uint16_t> free_slots;
  slot_count = 0;
  std::size_t width = 1;
  for (std::size_t r = 0; r < count; ++r) {
    width = std::max(width, size_of(registers[r]));
    if (r < inputs) slots[r] = slot_count++;
  }
  for (std::size_t i = 0; i < micro_ops.size(); ++i) {
    if (free_slots.empty()) free_slots.push_back(slot_count++);
    slots[micro_ops[i].out] = free_slots.back();
    free_slots.pop_back();
    for (std::size_t r = inputs; r < count; ++r) {
      const bool written = r - inputs <= i;
      if (written && last_use[r] == i) {
        free_slots.push_back(slots[r]);
        last_use[r] = micro_ops.size() + 1;
      }
    }
  }
  slot_bytes = static_cast<std::uint32_t>(width * tile_size);
}

void run_single(const Pass& pass, std::span<std::byte* const> in, std::span<std::byte* const> out) {
  constexpr std::size_t element_max = 16;
  alignas(64) std::array<std::byte, pass_registers_max * element_max> values;
  std::array<std::byte*, pass_registers_max> registers;
  std::copy(in.begin(), in.end(), registers.begin());
  for (const Pass::MicroOp& op : pass.micro_ops) {
    registers[op.out] = values.data() + op.out * element_max;
    const std::array<const void*, 3> operands{registers[op.in[0]], registers[op.in[1]],
                                              registers[op.in[2]]};
    op.run(registers[op.out], operands.data(), 1);
  }
  // An output may be the memory of an input that another one stores as it is.
  for (const Pass::Register r : pass.stores) {
    if (r >= pass.inputs) continue;
    std::byte* const kept = values.data() + r * element_max;
    if (registers[r] != kept) std::memcpy(kept, registers[r], size_of(pass.registers[r]));
    registers[r] = kept;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Pass::Register r = pass.stores[i];
    std::memcpy(out[i], registers[r], size_of(pass.registers[r]));
  }
}

namespace {

/// The inputs, copied where they overlap an output in another layout.
using Inputs = boost::container::small_vector<Tensor, 8>;
Result<Inputs> inputs_apart(Context& context, std::span<const Tensor> in,
                            std::span<const Tensor> out) {
  Inputs inputs(in.begin(), in.end());
  for (Tensor& input : inputs) {
    const auto clashes = [&](const Tensor& output) { return overlap_differently(input, output); };
    if (!std::any_of(out.begin(), out.end(), clashes)) continue;
    OUTRIGGER_TRY(Tensor copy, allocate_tensor(context.memory, input.type));
    OUTRIGGER_CHECK(copy_tensor(context, input, copy));
    input = std::move(copy);
  }
  return inputs;
}

/// A run and what each thread needs for it.
class Team {
 public:
  Team(Context& context, const Pass& pass, Inputs inputs, std::span<const Tensor> out,
       std::span<const std::int64_t> order, std::size_t own_bytes)
      : inputs_(std::move(inputs)),
        run_(pass, std::span(inputs_.data(), inputs_.size()), out, order),
        elements_(element_count(pass.space)),
        step_(run_.step()),
        own_bytes_((own_bytes + 63) / 64 * 64),
        bytes_(own_bytes_ + run_.scratch_bytes()),
        registers_(static_cast<std::size_t>(context.threads)),
        prepared_(static_cast<std::size_t>(context.threads), false) {
    const std::size_t needed = bytes_ * static_cast<std::size_t>(context.threads);
    if (context.scratch.size() < needed + 64) context.scratch.resize(needed + 64);
    void* unaligned = context.scratch.data();
    std::size_t space = context.scratch.size();
    scratch_ = static_cast<std::byte*>(std::align(64, needed, unaligned, space));
  }

  std::byte* own(int thread) const { return scratch_ + static_cast<std::size_t>(thread) * bytes_; }

  void run(int thread, std::int64_t begin, std::int64_t end, std::int64_t unit, TileTaker* taker) {
    const auto t = static_cast<std::size_t>(thread);
    if (!prepared_[t]) {
      // Uniform inputs are splatted once per thread, which is known by its first chunk.
      run_.prepare(own(thread) + own_bytes_, elements_, registers_[t]);
      prepared_[t] = true;
    }
    run_.tiles(begin, end, unit <= step_ ? step_ - step_ % unit : step_, registers_[t], taker);
  }

 private:
  Inputs inputs_;
  Run run_;
  std::int64_t elements_;
  std::int64_t step_;
  std::size_t own_bytes_;
  std::size_t bytes_;
  boost::container::small_vector<std::array<std::byte*, pass_registers_max>, 2> registers_;
  boost::container::small_vector<bool, 8> prepared_;
  std::byte* scratch_ = nullptr;
};

}  // namespace

Result<void> run_pass(Context& context, const Pass& pass, std::span<const Tensor> in,
                      std::span<const Tensor> out) {
  if (!pass.reductions.empty()) return run_reductions(context, pass, in, out);
  const std::int64_t n = element_count(pass.space);
  if (n == 0) return {};
  if (n == 1) {
    boost::container::small_vector<std::byte*, 8> from, to;
    for (const Tensor& tensor : in) from.push_back(tensor.data());
    for (const Tensor& tensor : out) to.push_back(tensor.data());
    run_single(pass, std::span(from.data(), from.size()), std::span(to.data(), to.size()));
    return {};
  }
  OUTRIGGER_TRY(Inputs inputs, inputs_apart(context, in, out));
  Team team(context, pass, std::move(inputs), out, {}, 0);
  const auto work = n * static_cast<std::int64_t>(1 + pass.micro_ops.size());
  return parallel_ranges(context, n, tile_size * tiles_per_chunk, work,
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           team.run(thread, begin, end, 1, nullptr);
                         });
}

struct BoundPass::State : Team {
  using Team::Team;
};

BoundPass::BoundPass(std::unique_ptr<State> state) : state_(std::move(state)) {}
BoundPass::BoundPass(BoundPass&&) noexcept = default;
BoundPass::~BoundPass() = default;

Result<BoundPass> BoundPass::bind(Context& context, const Pass& pass, std::span<const Tensor> in,
                                  std::span<const Tensor> out, std::span<const std::int64_t> order,
                                  std::size_t own_bytes) {
  OUTRIGGER_TRY(Inputs inputs, inputs_apart(context, in, out));
  return BoundPass(
      std::make_unique<State>(context, pass, std::move(inputs), out, order, own_bytes));
}

std::byte* BoundPass::own(int thread) const { return state_->own(thread); }

void BoundPass::run(int thread, std::int64_t begin, std::int64_t end, std::int64_t unit,
                    TileTaker& taker) const {
  state_->run(thread, begin, end, unit, &taker);
}

void read_elements(const Tensor& from, std::int64_t begin, std::int64_t n, void* bytes) {
  Dims dims = from.shape();
  std::array<Dims, 1> strides{from.strides};
  collapse(dims, strides);
  with_width(size_of(from.dtype()), [&](auto tag) {
    using T = typename decltype(tag)::type;
    gather_tile(static_cast<T*>(bytes), from.as<T>(), dims, strides[0], begin, n);
  });
}

}  // namespace outrigger::ops
