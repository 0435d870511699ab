#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "ops/pass/compile/pass_code.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/stream.hpp"
#include "ops/support/strided.hpp"

// The execution of a pass. Only ops/pass/pass.cpp and ops/pass/lag.cpp include this file.

namespace outrigger::ops {

/// A pass with this many micro-ops or more is computed in quarters of a tile (of bytes, in whole
/// tiles). The hardware prefetches about a quarter of a tile while one is computed, so that
/// arithmetic and memory accesses overlap (a sixth of the time of tanh(a·b+1)·exp(-a)). Software
/// prefetches had no effect.
inline constexpr std::size_t long_pass = 3;

enum class Access : std::uint8_t { direct, uniform, strided };

/// Shorter rows of a strided operand are gathered into a tile. Longer rows are used in place, and
/// no tile crosses the end of a row.
inline constexpr std::int64_t row_elements_min = 128;

/// One input or output, bound to memory.
struct Binding {
  std::byte* base = nullptr;
  std::size_t width = 0;
  Access access = Access::direct;
  bool rows = false;    ///< strided, but the elements of each row are adjacent
  bool spread = false;  ///< strided, but all elements of a row are one element
  Dims strides;
};

/// The tensor's strides in the space to which its shape is broadcast.
inline Dims broadcast_strides(const Tensor& tensor, std::span<const std::int64_t> space) {
  Dims strides(space.size(), 0);
  const std::size_t shift = space.size() - tensor.shape().size();
  for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    if (tensor.shape()[axis] != 1) strides[axis + shift] = tensor.strides[axis];
  }
  return strides;
}

inline Access classify(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides) {
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

/// The numbers of each axis, in another order of the axes. An empty order does not change them.
inline Dims reordered(const Dims& dims, std::span<const std::int64_t> order) {
  if (order.empty()) return dims;
  Dims result;
  for (const std::int64_t axis : order) result.push_back(dims[static_cast<std::size_t>(axis)]);
  return result;
}

/// `bytes` of the context's scratch, aligned to a cache line.
inline std::byte* aligned_scratch(Context& context, std::size_t bytes) {
  if (context.scratch.size() < bytes + cache_line) context.scratch.resize(bytes + cache_line);
  void* unaligned = context.scratch.data();
  std::size_t space = context.scratch.size();
  return static_cast<std::byte*>(std::align(cache_line, bytes, unaligned, space));
}

/// A pass bound to the memory of one run.
class PassRun {
 public:
  PassRun(const Pass& pass, std::span<const Tensor> in, std::span<const Tensor> out,
          std::span<const std::int64_t> order, const Context& context)
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
    stream_ = !out.empty() && pass.reductions.empty();
    for (std::size_t i = 0; i < out.size(); ++i)
      stream_ = stream_ && may_stream(outputs_[i], out[i], context.stream_from);
    code_ = find_code(context);
    deferred_.resize(out.size(), false);
    for (std::size_t i = 0; i < out.size(); ++i) {
      deferred_[i] = must_defer(i);
      any_deferred_ = any_deferred_ || deferred_[i];
    }
    without_tiles_ = needs_no_tiles();
  }

  /// The bytes of scratch for each thread.
  std::size_t scratch_bytes() const {
    const std::size_t count = code_ != nullptr ? code_->schedule->slot_count : pass_.slot_count;
    return count * pass_.slot_bytes;
  }

  /// Sets each register to its slot of the scratch, and fills the uniform inputs.
  void prepare(std::byte* scratch, std::int64_t n, std::span<std::byte*> registers) const {
    const auto& slots = code_ != nullptr ? code_->schedule->slots : pass_.slots;
    for (std::size_t r = 0; r < pass_.registers.size(); ++r) {
      registers[r] = scratch + static_cast<std::size_t>(slots[r]) * pass_.slot_bytes;
    }
    const std::int64_t filled = std::min(n, tile_size);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Binding& input = inputs_[i];
      if (input.access != Access::uniform || !read_by_calls(i)) continue;
      with_width(input.width, [&](auto tag) {
        using T = typename decltype(tag)::type;
        std::fill_n(reinterpret_cast<T*>(registers[i]), filled,
                    *reinterpret_cast<const T*>(input.base));
      });
    }
  }

  /// Sets the address of element `begin` of the only output; the other elements follow from it. The
  /// output is in C order, and does not share memory with an input.
  void put_output(std::byte* to, std::int64_t begin) {
    outputs_[0].base = to - begin * static_cast<std::int64_t>(outputs_[0].width);
  }

  /// The largest number of elements of a tile.
  std::int64_t step() const {
    if (without_tiles_) return std::numeric_limits<std::int64_t>::max();
    if (code_ != nullptr && code_->schedule->whole()) return tile_size;
    if (pass_.micro_ops.size() < long_pass) return tile_size;
    return tile_size / std::min<std::int64_t>(pass_.slot_bytes / tile_size, 4);
  }

  /// Runs all tiles of [begin, end), with at most `step` elements each.
  void tiles(std::int64_t begin, std::int64_t end, std::int64_t step,
             std::span<std::byte*> registers, TileTaker* taker) const {
    if (without_tiles_ && code_ != nullptr) return through(begin, end);
    for (std::int64_t start = begin; start < end;) {
      const Place at = place(start);
      std::int64_t n = std::min(step, end - start);
      if (in_rows_) n = std::min(n, dims_.back() - at.index[dims_.size() - 1]);
      tile(at, n, registers, taker);
      start += n;
    }
    if (stream_) end_of_stream();
  }

 private:
  /// True if the code reads and writes all operands in place, or if there are no operations and the
  /// elements only go to reductions.
  bool needs_no_tiles() const {
    const bool coded =
        code_ != nullptr && code_->schedule->whole() && pass_.reductions.empty() && !any_deferred_;
    const bool handed_on = pass_.micro_ops.empty() && outputs_.empty();
    return (coded || handed_on) &&
           std::all_of(inputs_.begin(), inputs_.end(), [coded](const Binding& input) {
             return input.access == Access::direct || input.rows ||
                    (coded && (input.access == Access::uniform || input.spread));
           });
  }

  /// Runs the code over [begin, end) on operands in place, row by row if rows matter.
  void through(std::int64_t begin, std::int64_t end) const {
    const Schedule::Part& part = code_->schedule->parts[0];
    const CompiledPass::Segment& segment = code_->segments[0];
    boost::container::small_vector<const Binding*, 16> operands;
    boost::container::small_vector<std::byte*, 16> addresses;
    for (const Pass::Register r : part.in) operands.push_back(&inputs_[r]);
    for (const Pass::Register r : part.out) operands.push_back(&outputs_[output_of(r)]);
    addresses.resize(operands.size());
    const auto go_to = [&](const Place& at) {
      for (std::size_t k = 0; k < operands.size(); ++k) addresses[k] = address(*operands[k], at);
    };
    Place at = place(begin);
    go_to(at);
    const auto run = [&](std::int64_t n) {
      if (!code_->streaming) return segment.run(std::span(addresses.data(), addresses.size()), n);
      auto moving = addresses;
      code_->stream(std::span(moving.data(), moving.size()), n);
    };
    if (!in_rows_) return run(end - begin);
    const std::size_t last = dims_.size() - 1;
    while (true) {
      const std::int64_t n = std::min(end - at.start, dims_[last] - at.index[last]);
      run(n);
      if (at.start + n == end) return;
      const bool next_row =
          last > 0 && at.index[last] == 0 && at.index[last - 1] + 1 < dims_[last - 1];
      if (!next_row) {
        at = place(at.start + n);
        go_to(at);
        continue;
      }
      at.start += n;
      ++at.index[last - 1];
      for (std::size_t k = 0; k < operands.size(); ++k) addresses[k] += row_bytes(*operands[k]);
    }
  }

  std::size_t output_of(Pass::Register r) const {
    const auto found = std::find(pass_.stores.begin(), pass_.stores.end(), r);
    return static_cast<std::size_t>(found - pass_.stores.begin());
  }

  /// The bytes from a row to the next.
  std::ptrdiff_t row_bytes(const Binding& binding) const {
    return binding.strides[dims_.size() - 2] * static_cast<std::ptrdiff_t>(binding.width);
  }

  /// The place of a tile: the position of its first element, and that element's index if rows
  /// matter.
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
    if (code_ != nullptr) {
      run_parts(at, n, registers);
    } else {
      for (const Pass::MicroOp& op : pass_.micro_ops) call(op, n, registers);
    }
    if (taker != nullptr) {
      boost::container::small_vector<const std::byte*, 4> taken;
      for (const Pass::Reduction& reduction : pass_.reductions)
        taken.push_back(registers[reduction.of]);
      taker->take(n, std::span(taken.data(), taken.size()));
    }
    if (!any_deferred_) return;
    // Stores of inputs come first, because another store may overwrite the inputs.
    for (const bool inputs_first : {true, false}) {
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        const bool is_input = pass_.stores[i] < pass_.inputs;
        if (deferred_[i] && is_input == inputs_first)
          store(outputs_[i], at, n, registers[pass_.stores[i]]);
      }
    }
  }

  static void call(const Pass::MicroOp& op, std::int64_t n, std::span<std::byte*> registers) {
    const std::array<const void*, 3> in{registers[op.in[0]], registers[op.in[1]],
                                        registers[op.in[2]]};
    op.run(registers[op.out], in.data(), n);
  }

  void run_parts(const Place& at, std::int64_t n, std::span<std::byte*> registers) const {
    auto segment = code_->segments.begin();
    for (const Schedule::Part& part : code_->schedule->parts) {
      if (!part.segment) {
        call(pass_.micro_ops[part.micro_ops[0]], n, registers);
        continue;
      }
      boost::container::small_vector<std::byte*, 16> addresses;
      for (const Pass::Register r : part.in) {
        const bool single = r < pass_.inputs && code_->uniform[r];
        addresses.push_back(single ? address(inputs_[r], at) : registers[r]);
      }
      for (const Pass::Register r : part.out) addresses.push_back(registers[r]);
      segment++->run(std::span(addresses.data(), addresses.size()), n);
    }
  }

  /// The address of the tile's first element. The rest of its row, or of the operand, follows it.
  std::byte* address(const Binding& binding, const Place& at) const {
    if (binding.access == Access::uniform) return binding.base;
    std::int64_t offset = at.start;
    if (binding.rows || binding.spread) {
      offset = 0;
      for (std::size_t axis = 0; axis < dims_.size(); ++axis)
        offset += at.index[axis] * binding.strides[axis];
    }
    return binding.base + offset * static_cast<std::int64_t>(binding.width);
  }

  Binding bind(const Tensor& tensor, Dims strides) const {
    const Access access = classify(dims_, strides);
    const bool long_rows = access == Access::strided && dims_.back() >= row_elements_min;
    const bool rows = long_rows && strides.back() == 1;
    return Binding{tensor.data(), size_of(tensor.dtype()), access, rows, false, std::move(strides)};
  }

  /// Finds code for the inputs in place. An input whose rows are one element each needs no tile if
  /// only code reads it.
  const CompiledPass* find_code(const Context& context) {
    const std::int64_t n = element_count(dims_);
    std::vector<bool> uniform;
    bool any_spread = false;
    for (Binding& input : inputs_) {
      input.spread = input.access == Access::strided && input.strides.back() == 0 &&
                     dims_.back() >= row_elements_min;
      any_spread = any_spread || input.spread;
      uniform.push_back(input.access == Access::uniform || input.spread);
    }
    code_ = pass_.code->find(pass_, uniform, stream_, n, context);
    if (!any_spread) return code_;
    bool again = false;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!inputs_[i].spread || (code_ != nullptr && !read_by_calls(i))) continue;
      inputs_[i].spread = false;
      uniform[i] = false;
      again = code_ != nullptr;
    }
    if (again) code_ = pass_.code->find(pass_, uniform, stream_, n, context);
    for (Binding& input : inputs_) {
      if (code_ == nullptr) input.spread = false;
      in_rows_ = in_rows_ || input.spread;
    }
    return code_;
  }

  /// True if a kernel reads the input from a tile.
  bool read_by_calls(std::size_t input) const {
    if (code_ == nullptr) return true;
    const auto reads = [input](const Schedule::Part& part) {
      return !part.segment && std::find(part.in.begin(), part.in.end(), input) != part.in.end();
    };
    const auto& parts = code_->schedule->parts;
    return std::any_of(parts.begin(), parts.end(), reads) ||
           pass_.is_wanted(static_cast<Pass::Register>(input));
  }

  /// True if an output cannot be computed directly into its memory: because it is strided, because
  /// it is an input or a second name of a register, or because it overwrites an input that is read
  /// later.
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

  /// True if stores may bypass the caches. Memory that is also read for an input need not bypass
  /// them.
  bool may_stream(const Binding& output, const Tensor& tensor, std::size_t from) const {
    if (output.access == Access::strided && !output.rows) return false;
    if (static_cast<std::size_t>(byte_count(tensor.type)) < from) return false;
    return std::none_of(inputs_.begin(), inputs_.end(),
                        [&](const Binding& input) { return input.base == output.base; });
  }

  /// The time of the write, counted in micro-ops or in parts of the schedule.
  std::size_t written_at(Pass::Register r) const {
    if (code_ == nullptr) return r - pass_.inputs;
    std::size_t part = 0;
    const auto& parts = code_->schedule->parts;
    while (std::find(parts[part].out.begin(), parts[part].out.end(), r) == parts[part].out.end())
      ++part;
    return part;
  }

  std::size_t last_read(Pass::Register r) const {
    // A store or a reduction of the input itself reads it at the end.
    if (pass_.is_wanted(r)) return pass_.micro_ops.size();
    std::size_t last = 0;
    if (code_ != nullptr) {
      const auto& parts = code_->schedule->parts;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (std::find(parts[i].in.begin(), parts[i].in.end(), r) != parts[i].in.end()) last = i;
      }
      return last;
    }
    for (std::size_t i = 0; i < pass_.micro_ops.size(); ++i) {
      const Pass::MicroOp& op = pass_.micro_ops[i];
      for (std::size_t k = 0; k < op.arity; ++k) {
        if (op.in[k] == r) last = i;
      }
    }
    return last;
  }

  void load(const Place& at, std::int64_t n, std::span<std::byte*> registers) const {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Binding& input = inputs_[i];
      if (input.access == Access::direct || input.rows) {
        registers[i] = address(input, at);
      } else if (input.access == Access::strided && !input.spread) {
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
      } else if (stream_) {
        stream_copy(address(output, at), from, static_cast<std::size_t>(n) * sizeof(T));
      } else {
        // An output may be the memory of the input that it stores.
        std::memmove(address(output, at), in, static_cast<std::size_t>(n) * sizeof(T));
      }
    });
  }

  const Pass& pass_;
  Dims dims_;
  const CompiledPass* code_ = nullptr;
  bool in_rows_ = false;
  bool any_deferred_ = false;
  bool stream_ = false;  ///< outputs bypass the caches
  bool without_tiles_ = false;
  boost::container::small_vector<Binding, 8> inputs_;
  boost::container::small_vector<Binding, 4> outputs_;
  boost::container::small_vector<bool, 4> deferred_;
};

}  // namespace outrigger::ops
