#include "engine/executor/execute.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/executor/writable.hpp"
#include "engine/planner/chain.hpp"
#include "ops/layout/slice.hpp"
#include "ops/pass/run_single.hpp"

namespace outrigger::engine {
namespace {

using ops::Context;

/// Bytes that are asked for a scalar of any dtype.
constexpr std::size_t scalar_bytes = 16;

class Executor {
 public:
  Executor(Context& context, const Plan& plan, std::span<const Tensor> arguments, Donations donated,
           Outcome& outcome, Profile* profile)
      : context_(context),
        plan_(plan),
        arguments_(arguments),
        outcome_(outcome),
        profile_(profile),
        frame_(plan.types.size()) {
    outcome_.written.assign(arguments.size(), false);
    for (std::size_t i = 0; i < arguments_.size(); ++i)
      frame_[plan_.main.params[i]] = arguments_[i];
    for (auto& [position, tensor] : donated)
      frame_[plan_.main.params[position]] = std::move(tensor);
  }

  Result<void> run() {
    for (const auto& [slot, scalar] : plan_.constants) frame_[slot] = scalar;
    OUTRIGGER_CHECK(block(plan_.main));
    for (std::size_t i = 0; i < plan_.main.outputs.size(); ++i) {
      const Tensor& output = frame_[plan_.main.outputs[i]];
      if (plan_.result_aliases[i]) {
        outcome_.results.push_back(output);
      } else {
        OUTRIGGER_TRY(Tensor value, as_value(context_, output));
        outcome_.results.push_back(std::move(value));
      }
    }
    return {};
  }

 private:
  Result<void> block(const StepBlock& block) {
    for (const Step& step : block.steps) {
      const bool plain = profile_ == nullptr;
      if (plain && step.kind == Step::Kind::pass && step.pass.space.empty()) {
        if (auto error = scalar_pass(step)) return failed(step, std::move(*error));
      } else if (auto done = plain ? this->step(step) : profiled(step); !done) {
        return failed(step, std::move(done).error());
      }
      for (const Slot slot : step.dead) drop(slot);
    }
    return {};
  }

  void drop(Slot slot) {
    StoragePtr& storage = frame_[slot].storage;
    const bool spare = plan_.types[slot].shape.empty() && spare_.size() < spare_scalars_max &&
                       storage && storage->unique() && storage->buffer->unique() &&
                       storage->buffer->bytes() == scalar_bytes;
    if (spare) {
      spare_.push_back(std::move(storage));
    } else {
      storage.reset();
    }
  }

  /// Makes `scalar` a new one, in the memory of one that has died if there is any.
  std::optional<Error> make_scalar(DType dtype, Tensor& scalar) {
    if (spare_.empty()) {
      auto fresh = allocate_tensor(context_.memory, {DType::c128, {}});
      if (!fresh) return std::move(fresh).error();
      scalar = std::move(*fresh);
    } else {
      scalar = Tensor{{}, {}, 0, std::move(spare_.back())};
      spare_.pop_back();
    }
    scalar.type.dtype = dtype;
    return std::nullopt;
  }

  static bool interrupted(const Error& error) {
    return error.code == ErrorCode::cancelled || error.code == ErrorCode::deadline_exceeded;
  }

  static tl::unexpected<Error> failed(const Step& step, Error error) {
    if (error.op.empty()) {
      error.op = step.row->name;
      error.path.assign(step.path.begin(), step.path.end());
      error.text = error.op + ": " + error.text;
    }
    return tl::make_unexpected(std::move(error));
  }

  Result<void> profiled(const Step& step) {
    return profile_->measure(step, bytes_moved(step), [&] { return this->step(step); });
  }

  /// Bytes that the step reads and writes if it does no more than it has to. An update touches what
  /// it is given twice: here and in its target.
  std::uint64_t bytes_moved(const Step& step) const {
    if (step.kind == Step::Kind::view || step.kind == Step::Kind::constant ||
        step.kind == Step::Kind::loop || step.kind == Step::Kind::branch)
      return 0;
    const bool update = step.kind == Step::Kind::update;
    const bool put = step.kind == Step::Kind::put_pass;
    std::uint64_t bytes = 0;
    for (std::size_t i = update ? 1 : 0; i < (put ? step.pass.inputs : step.in.size()); ++i) {
      const Tensor& tensor = frame_[step.in[i]];
      // A broadcast operand is read again and again, but from the cache.
      bytes += std::min<std::uint64_t>(byte_count(tensor.type), tensor.storage->buffer->bytes());
    }
    if (update) return 2 * bytes;
    if (put) return bytes + byte_count({step.types[0].dtype, step.pass.space});
    for (const TensorType& type : step.types) bytes += byte_count(type);
    return bytes;
  }

  Result<void> step(const Step& step) {
    switch (step.kind) {
      case Step::Kind::pass:
        return pass(step);
      case Step::Kind::put_pass:
        return put_pass(step);
      case Step::Kind::view:
        return view(step);
      case Step::Kind::constant:
        return constant(step);
      case Step::Kind::compute:
        return compute(step);
      case Step::Kind::update:
        return update(step);
      case Step::Kind::fold:
        return fold(step);
      case Step::Kind::loop:
        return loop(step);
      case Step::Kind::branch:
        return branch(step);
      case Step::Kind::chain:
        return chain(step);
    }
    return {};
  }

  using Tensors = boost::container::small_vector<Tensor, 4>;
  static std::span<const Tensor> span_of(const Tensors& tensors) {
    return {tensors.data(), tensors.size()};
  }

  Tensors operands(const Step& step) const {
    Tensors tensors;
    for (const Slot slot : step.in) tensors.push_back(frame_[slot]);
    return tensors;
  }

  Result<void> make_writable(Slot slot) { return engine::make_writable(context_, frame_[slot]); }

  /// Whether nobody holds the slot's buffer but its Storage and operands that end with the step.
  bool others_end(const Step& step, Slot slot) const {
    const Tensor& tensor = frame_[slot];
    std::uint32_t holders = 1;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Storage& storage = *frame_[step.in[i]].storage;
      const bool other =
          &storage != tensor.storage.get() && storage.buffer == tensor.storage->buffer;
      if (other && dies(step, i) && storage.unique()) ++holders;
    }
    return tensor.storage->buffer->references() == holders;
  }

  /// The same for a pass, whose inputs are read as they were.
  Result<void> make_writable(const Step& pass, Slot slot) {
    if (others_end(pass, slot) && !repeats_elements(frame_[slot])) return {};
    return make_writable(slot);
  }

  /// The tensor is about to change, or has changed.
  void mark_written(const Tensor& tensor) {
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      if (arguments_[i].storage == tensor.storage) outcome_.written[i] = true;
    }
  }

  /// Nobody else sees the memory: known only when it runs.
  static bool is_free(const Tensor& tensor) { return tensor.unique() && tensor.contiguous(); }

  /// A dying operand of the right form whose memory the result may take.
  bool can_take(const Step& step, std::size_t position, const TensorType& result) const {
    const Tensor& tensor = frame_[step.in[position]];
    return may_take(step, position, tensor.type, result) && is_free(tensor);
  }

  /// The position of a dying input whose memory output `o` of a pass may take, or the number of
  /// inputs. Bits of `taken` are inputs that another output took.
  std::size_t donor_of(const Step& step, std::size_t o, std::uint64_t taken) const {
    std::size_t donor = 0;
    for (; donor < step.in.size(); ++donor) {
      const Tensor& tensor = frame_[step.in[donor]];
      if ((taken >> donor & 1) == 0 && may_donate(step, donor, tensor.type, o) && is_free(tensor))
        break;
    }
    return donor;
  }

  /// A pass over scalars: what a loop that counts does in each turn. Nothing is built for it but
  /// the values; a Result would cost as much as an operation.
  std::optional<Error> scalar_pass(const Step& step) {
    boost::container::small_vector<std::byte*, 16> in, out;
    for (const Slot slot : step.in) in.push_back(frame_[slot].data());
    for (std::size_t o = 0; o < step.out.size(); ++o) {
      Tensor& result = frame_[step.out[o]];
      if (o >= step.fresh_outputs) {
        if (auto done = make_writable(step.out[o]); !done) return std::move(done).error();
        mark_written(result);
      } else if (auto error = make_scalar(step.types[o].dtype, result)) {
        return error;
      }
      out.push_back(result.data());
    }
    ops::run_single(step.pass, std::span(in.data(), in.size()), std::span(out.data(), out.size()));
    return std::nullopt;
  }

  Result<void> pass(const Step& step) {
    Tensors out;
    std::uint64_t taken = 0;
    for (std::size_t o = 0; o < step.out.size(); ++o) {
      if (o >= step.fresh_outputs) {
        OUTRIGGER_CHECK(make_writable(step, step.out[o]));
        mark_written(frame_[step.out[o]]);
        out.push_back(frame_[step.out[o]]);
        continue;
      }
      const std::size_t donor = donor_of(step, o, taken);
      if (donor < step.in.size()) {
        taken |= std::uint64_t{1} << donor;
        out.push_back(frame_[step.in[donor]]);
        out.back().type = step.types[o];
      } else {
        OUTRIGGER_TRY(Tensor fresh, allocate_tensor(context_.memory, step.types[o]));
        out.push_back(std::move(fresh));
      }
    }
    OUTRIGGER_CHECK(ops::run_pass(context_, step.pass, span_of(operands(step)), span_of(out)));
    for (std::size_t o = 0; o < step.fresh_outputs; ++o) frame_[step.out[o]] = std::move(out[o]);
    return {};
  }

  bool may_take_target(const Step& step) const {
    const Slot target = put_target(step);
    const Tensor& tensor = frame_[target];
    return ends_in(step, target) && tensor.storage->unique() && tensor.contiguous() &&
           others_end(step, target);
  }

  Result<void> put_pass(const Step& step) {
    const Slot target = put_target(step);
    if (step.in_place) {
      OUTRIGGER_CHECK(make_writable(step, target));
      mark_written(frame_[target]);
    }
    Tensor out;
    if (step.in_place || may_take_target(step)) {
      out = frame_[target];
    } else {
      OUTRIGGER_TRY(out, compact_copy(context_, frame_[target]));
    }
    const Tensors all = operands(step);
    const auto in = span_of(all).first(step.pass.inputs);
    const Tensor window =
        ops::window_at(out, step.pass.space, span_of(all).subspan(step.pass.inputs + 1));
    Context context = context_;
    if (ops::streams(window, context.stream_from)) context.stream_from = 0;
    OUTRIGGER_CHECK(ops::run_pass(context, step.pass, in, std::span(&window, 1)));
    frame_[step.out[0]] = std::move(out);
    return {};
  }

  Result<void> view(const Step& step) {
    // A mutable view needs memory for each element.
    if (step.in_place && repeats_elements(frame_[step.in[0]]))
      OUTRIGGER_CHECK(make_writable(step.in[0]));
    Tensors in = operands(step);
    const ops::ViewCall call{span_of(in), attrs_of(step), step.types[0], step.in_place};
    auto made = step.row->view(call);
    if (!made && !step.in_place) {
      // The only view that can fail: a reshape of memory that is not laid out so.
      OUTRIGGER_TRY(in[0], compact_copy(context_, in[0]));
      made = step.row->view(call);
    }
    if (!made) return tl::make_unexpected(std::move(made).error());
    frame_[step.out[0]] = std::move(*made);
    return {};
  }

  Result<void> constant(const Step& step) {
    const Tensor& scalar = frame_[step.in[0]];
    frame_[step.out[0]] =
        view_of(scalar, step.types[0], Dims(step.types[0].shape.size(), 0), scalar.offset, false);
    return {};
  }

  Result<void> compute(const Step& step) {
    Tensors out;
    for (const TensorType& type : step.types) {
      OUTRIGGER_TRY(Tensor fresh, allocate_tensor(context_.memory, type));
      out.push_back(std::move(fresh));
    }
    const Tensors in = operands(step);
    OUTRIGGER_CHECK(
        step.row->run({context_, span_of(in), span_of(out), attrs_of(step), step.compute}));
    for (std::size_t o = 0; o < out.size(); ++o) frame_[step.out[o]] = std::move(out[o]);
    return {};
  }

  Result<void> chain(const Step& step) {
    Tensors out;
    for (const TensorType& type : step.types) {
      OUTRIGGER_TRY(Tensor fresh, allocate_tensor(context_.memory, type));
      out.push_back(std::move(fresh));
    }
    const Tensors in = operands(step);
    OUTRIGGER_CHECK(run_chain(context_, plan_, step, span_of(in), span_of(out)));
    for (std::size_t o = 0; o < out.size(); ++o) frame_[step.out[o]] = std::move(out[o]);
    return {};
  }

  Result<void> update(const Step& step) {
    if (step.in_place) OUTRIGGER_CHECK(make_writable(step.in[0]));
    Tensors in = operands(step);
    Tensor out;
    if (step.in_place) {
      out = frame_[step.in[0]];
    } else if (in.front().storage.reset(); can_take(step, 0, step.types[0])) {
      out = std::move(frame_[step.in[0]]);
    } else {
      OUTRIGGER_TRY(out, compact_copy(context_, frame_[step.in[0]]));
    }
    in.front() = out;
    const Slot to = step.in_place ? step.in[0] : step.out[0];
    auto done =
        step.row->run({context_, span_of(in), std::span(&out, 1), attrs_of(step), step.compute});
    // What fails has changed nothing, unless it was interrupted.
    if (step.in_place && (done || interrupted(done.error()))) mark_written(out);
    OUTRIGGER_CHECK(std::move(done));
    frame_[to] = std::move(out);
    return {};
  }

  Result<void> fold(const Step& step) {
    OUTRIGGER_TRY(Tensor out, allocate_tensor(context_.memory, step.types[0]));
    const Tensors in = operands(step);
    if (step.row->name == "map") {
      OUTRIGGER_CHECK(map(step, in[0], out));
    } else {
      OUTRIGGER_TRY(const ops::Windows windows,
                    ops::fold_windows(*step.row, in[0].shape(), attrs_of(step)));
      if (step.lifted) {
        OUTRIGGER_CHECK(ops::run_fold(context_, *step.lifted, windows, in[0], in[1],
                                      span_of(captures(step)), out));
      } else {
        OUTRIGGER_CHECK(fold_elements(step, windows, in[0], in[1], out));
      }
    }
    frame_[step.out[0]] = std::move(out);
    return {};
  }

  Tensors captures(const Step& step) const {
    Tensors tensors;
    for (const Slot slot : step.captures) tensors.push_back(frame_[slot]);
    return tensors;
  }

  Result<void> map(const Step& step, const Tensor& x, const Tensor& out) {
    if (step.lifted) {
      ops::Pass pass = step.lifted->pass;
      pass.space = x.shape();
      Tensors in{x};
      for (Tensor& captured : captures(step)) in.push_back(std::move(captured));
      return ops::run_pass(context_, pass, span_of(in), std::span(&out, 1));
    }
    ElementWalk walk(x);
    for (std::int64_t i = 0; i < out.size(); ++i) {
      OUTRIGGER_TRY(const Tensor value, call_region(step, {walk.scalar(i)}));
      put_element(out, i, value);
    }
    return {};
  }

  /// Carries out the region for each element of each window, one after the other.
  Result<void> fold_elements(const Step& step, const ops::Windows& windows, const Tensor& x,
                             const Tensor& init, const Tensor& out) {
    const std::size_t rank = x.shape().size();
    const std::int64_t taps = windows.taps();
    for (std::int64_t o = 0; o < out.size(); ++o) {
      Tensor accumulator = view_of(init, init.type, init.strides, init.offset, false);
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        std::int64_t rest = o;
        std::int64_t window_rest = tap;
        std::int64_t offset = x.offset;
        bool inside = true;
        for (std::size_t axis = rank; axis-- > 0;) {
          const std::int64_t at =
              windows.position(axis, rest % windows.out[axis], window_rest % windows.window[axis]);
          rest /= windows.out[axis];
          window_rest /= windows.window[axis];
          inside = inside && at >= 0 && at < x.shape()[axis];
          offset += at * x.strides[axis];
        }
        const Tensor& from = inside ? x : init;
        Tensor element =
            view_of(from, TensorType{x.dtype(), {}}, {}, inside ? offset : init.offset, false);
        OUTRIGGER_TRY(accumulator, call_region(step, {std::move(element), std::move(accumulator)}));
      }
      put_element(out, o, accumulator);
    }
    return {};
  }

  /// Elements of a tensor in C order, as scalars.
  class ElementWalk {
   public:
    explicit ElementWalk(const Tensor& tensor) : tensor_(tensor) {}
    Tensor scalar(std::int64_t index) const {
      std::int64_t offset = tensor_.offset;
      for (std::size_t axis = tensor_.shape().size(); axis-- > 0; index /= tensor_.shape()[axis]) {
        offset += index % tensor_.shape()[axis] * tensor_.strides[axis];
      }
      return view_of(tensor_, TensorType{tensor_.dtype(), {}}, {}, offset, false);
    }

   private:
    const Tensor& tensor_;
  };

  /// `out` is in C order.
  static void put_element(const Tensor& out, std::int64_t index, const Tensor& scalar) {
    const std::size_t width = size_of(out.dtype());
    std::memcpy(out.data() + static_cast<std::size_t>(index) * width, scalar.data(), width);
  }

  Result<Tensor> call_region(const Step& step, Tensors params) {
    if (context_.interrupt.raised()) return tl::make_unexpected(context_.interrupt.error());
    const StepBlock& region = step.regions[0];
    for (std::size_t i = 0; i < params.size(); ++i) frame_[region.params[i]] = std::move(params[i]);
    OUTRIGGER_CHECK(block(region));
    Tensors outputs(1);
    take_outputs(region, outputs);
    return std::move(outputs[0]);
  }

  /// A value for a parameter of a region: the operand itself if nobody else needs it.
  Tensor pass_value(Tensor& tensor, bool last_use) const {
    if (last_use && tensor.storage->unique()) return std::move(tensor);
    return view_of(tensor, tensor.type, tensor.strides, tensor.offset, false);
  }

  static bool is_true(const Tensor& scalar) { return !is_zero(scalar.dtype(), scalar.data()); }

  Result<void> scalar_loop(const Step& step) {
    const ScalarLoop& loop = *step.scalars;
    std::vector<Bits128> cells(loop.cells);
    const auto put = [&](ScalarLoop::Cell cell, const Tensor& scalar) {
      std::memcpy(&cells[cell], scalar.data(), size_of(scalar.dtype()));
    };
    for (const auto& [slot, cell] : loop.captured) put(cell, frame_[slot]);
    for (std::size_t i = 0; i < step.in.size(); ++i) put(loop.carried[i], frame_[step.in[i]]);
    OUTRIGGER_CHECK(engine::run(loop, context_.interrupt, cells));
    for (std::size_t i = 0; i < step.out.size(); ++i) {
      Tensor& result = frame_[step.out[i]];
      const DType dtype = step.types[i].dtype;
      if (auto error = make_scalar(dtype, result)) return tl::make_unexpected(std::move(*error));
      std::memcpy(result.data(), &cells[loop.carried[i]], size_of(dtype));
    }
    return {};
  }

  Result<void> loop(const Step& step) {
    if (step.scalars && profile_ == nullptr) return scalar_loop(step);
    const StepBlock& condition = step.regions[0];
    const StepBlock& body = step.regions[1];
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      frame_[body.params[i]] = pass_value(frame_[step.in[i]], dies(step, i));
    }
    Tensors next(body.params.size());
    const Slot verdict = condition.outputs[0];
    const bool made = made_in(condition, verdict);
    while (true) {
      if (context_.interrupt.raised()) return tl::make_unexpected(context_.interrupt.error());
      OUTRIGGER_CHECK(block(condition));
      const bool go_on = is_true(frame_[verdict]);
      // A verdict that is a view would make the body believe that its memory is shared.
      if (made) drop(verdict);
      if (!go_on) break;
      OUTRIGGER_CHECK(block(body));
      take_outputs(body, next);
      for (std::size_t i = 0; i < next.size(); ++i) {
        drop(body.params[i]);
        frame_[body.params[i]] = std::move(next[i]);
      }
    }
    for (std::size_t i = 0; i < step.out.size(); ++i)
      frame_[step.out[i]] = std::move(frame_[body.params[i]]);
    return {};
  }

  /// Outputs of a region, each a value of its own.
  void take_outputs(const StepBlock& region, Tensors& outputs) {
    for (std::size_t i = 0; i < region.outputs.size(); ++i)
      outputs[i] = pass_value(frame_[region.outputs[i]], region.hands_over[i]);
  }

  Result<void> branch(const Step& step) {
    const StepBlock& region = step.regions[is_true(frame_[step.in[0]]) ? 0 : 1];
    OUTRIGGER_CHECK(block(region));
    Tensors outputs(region.outputs.size());
    take_outputs(region, outputs);
    for (std::size_t i = 0; i < step.out.size(); ++i) frame_[step.out[i]] = std::move(outputs[i]);
    return {};
  }

  Context& context_;
  const Plan& plan_;
  std::span<const Tensor> arguments_;
  Outcome& outcome_;
  Profile* profile_;
  std::vector<Tensor> frame_;
  /// Memory of scalars that have died: to free and allocate it costs more than to use it.
  boost::container::small_vector<StoragePtr, spare_scalars_max> spare_;
};

}  // namespace

Outcome execute(Context& context, const Plan& plan, std::span<const Tensor> arguments,
                Donations donated, Profile* profile) {
  Outcome outcome;
  Executor executor(context, plan, arguments, std::move(donated), outcome, profile);
  if (auto done = executor.run(); !done) {
    outcome.error = std::move(done).error();
    outcome.results.clear();
  }
  return outcome;
}

}  // namespace outrigger::engine
