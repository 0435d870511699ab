#include "engine/executor/execute.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <unordered_map>
#include <variant>

#include "base/last_memory.hpp"
#include "engine/executor/run_checks.hpp"
#include "engine/executor/run_kernel.hpp"
#include "engine/executor/writable.hpp"
#include "engine/planner/chain.hpp"
#include "ops/layout/slice.hpp"
#include "ops/pass/run_single.hpp"

namespace outrigger::engine {
namespace {

using ops::Context;

class Executor {
 public:
  Executor(Context& context, const Plan& plan, std::vector<Tensor> values,
           std::span<const StoragePtr> arguments, std::span<const NumberArgument> numbers,
           RunChecks& checks, Outcome& outcome, Profile* profile)
      : context_(context),
        plan_(plan),
        arguments_(arguments),
        numbers_(numbers),
        checks_(checks),
        outcome_(outcome),
        profile_(profile),
        frame_(std::move(values)) {
    outcome_.written.assign(arguments_.size(), false);
  }

  Result<void> run() {
    for (const auto& [slot, position] : plan_.constants)
      frame_[slot] = scalar_at(plan_.constant_values, position, plan_.types[slot]);
    OUTRIGGER_CHECK(number_values());
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
  /// The arguments that are numbers, in the dtypes that the program needs them in.
  Result<void> number_values() {
    if (plan_.number_values.empty()) return {};
    const auto count = static_cast<std::int64_t>(plan_.number_values.size());
    OUTRIGGER_TRY(const Tensor scalars, allocate_tensor(context_.memory, {DType::c128, {count}}));
    std::uint32_t position = 0;
    for (const auto& [slot, number] : plan_.number_values) {
      Tensor scalar = scalar_at(scalars.storage, position++, plan_.types[slot]);
      store_number(numbers_[number].second, scalar.dtype(), scalar.data());
      frame_[slot] = std::move(scalar);
    }
    return {};
  }

  const TensorType& type_of(const Step& step, std::size_t output) const {
    return plan_.types[step.out[output].slot];
  }

  Result<void> block(const StepBlock& block) {
    for (const Step& step : block.steps) {
      const bool plain = profile_ == nullptr;
      const auto* pass = step.as<PassStep>();
      if (plain && pass != nullptr && pass->pass->space.empty()) {
        if (auto error = scalar_pass(step, *pass->pass)) return failed(step, std::move(*error));
      } else if (auto done = plain ? this->step(step) : profiled(step); !done) {
        return failed(step, std::move(done).error());
      }
      for (const Slot slot : step.dead) drop(slot);
      checks_.after(step, frame_);
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

  /// Makes `scalar` a new scalar, in the memory of a dead one if there is any.
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
    return tl::make_unexpected(located(std::move(error), step.path, step.row->name));
  }

  Result<void> profiled(const Step& step) {
    return profile_->measure(step, bytes_moved(step, plan_, frame_),
                             [&] { return this->step(step); });
  }

  Result<void> step(const Step& step) {
    return std::visit([&](const auto& kind) { return carry_out(step, kind); }, step.kind);
  }

  /// A step with a kernel: memory for the results by their sources, the kernel, then the results go
  /// into the frame.
  template <typename Kind>
  Result<void> carry_out(const Step& step, const Kind& kind) {
    Tensors out;
    OperandSet taken;
    for (const Output& output : step.out)
      OUTRIGGER_CHECK(prepare(step, output, taken, out.emplace_back()));
    OUTRIGGER_CHECK(run(step, kind, out));
    for (std::size_t o = 0; o < out.size(); ++o) frame_[step.out[o].slot] = std::move(out[o]);
    return {};
  }

  /// A view has no kernel: its source is all that there is to do.
  Result<void> carry_out(const Step& step, const ViewStep&) {
    OperandSet taken;
    return prepare(step, step.out[0], taken, frame_[step.out[0].slot]);
  }
  Result<void> carry_out(const Step& step, const ConstantStep&) {
    OperandSet taken;
    return prepare(step, step.out[0], taken, frame_[step.out[0].slot]);
  }

  /// Makes `result` of its source. `taken` are the donors of the step's results before it.
  Result<void> prepare(const Step& step, const Output& output, OperandSet& taken, Tensor& result) {
    const TensorType& type = plan_.types[output.slot];
    const auto make = Overloaded{
        [&](const source::Fresh&) { return allocate(type, result); },
        [&](const source::Donated& from) { return donated(step, from, type, taken, result); },
        [&](const source::Copied& from) { return copied(step, from, result); },
        [&](const source::Written&) { return written(step, output.slot, result); },
        [&](const source::Viewed&) { return view(step, type, false, result); },
        [&](const source::Reshaped&) { return view(step, type, false, result); },
        [&](const source::Aliased&) { return view(step, type, true, result); },
        [&](const source::Repeated&) { return repeated(frame_[step.in[0]], type, result); },
        // A region gives the value.
        [](const source::HandedOver&) { return Result<void>(); },
    };
    return std::visit(make, output.source);
  }

  Result<void> allocate(const TensorType& type, Tensor& result) {
    OUTRIGGER_TRY(result, allocate_tensor(context_.memory, type));
    return {};
  }

  Result<void> donated(const Step& step, const source::Donated& from, const TensorType& type,
                       OperandSet& taken, Tensor& result) {
    const std::size_t donor = donor_of(step, from.donors, taken);
    if (donor == step.in.size()) return allocate(type, result);
    taken.add(donor);
    result = frame_[step.in[donor]];
    result.type = type;
    return {};
  }

  Result<void> copied(const Step& step, const source::Copied& from, Tensor& result) {
    const Tensor& operand = frame_[step.in[from.operand]];
    const bool takes = from.ends && operand.storage->unique() && operand.contiguous() &&
                       only_ending_views_see(step, operand);
    if (takes) {
      result = operand;
      return {};
    }
    OUTRIGGER_TRY(result, compact_copy(context_, operand));
    return {};
  }

  Result<void> written(const Step& step, Slot slot, Tensor& result) {
    Tensor& tensor = frame_[slot];
    if (!only_ending_views_see(step, tensor) || repeats_elements(tensor))
      OUTRIGGER_CHECK(make_writable(context_, tensor));
    result = tensor;
    return {};
  }

  static Result<void> repeated(const Tensor& scalar, const TensorType& type, Tensor& result) {
    result = view_of(scalar, type, Dims(type.shape.size(), 0), scalar.offset, false);
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

  /// True if no value sees the tensor's buffer but those with its storage, and views that end with
  /// the step and are read as they were.
  bool only_ending_views_see(const Step& step, const Tensor& tensor) const {
    const OperandSet ending = ending_views(step);
    std::uint32_t holders = 1;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Storage& storage = *frame_[step.in[i]].storage;
      const bool other =
          &storage != tensor.storage.get() && storage.buffer == tensor.storage->buffer;
      if (other && ending.has(i) && storage.unique()) ++holders;
    }
    return tensor.storage->buffer->references() == holders;
  }

  /// The tensor is about to change, or has changed.
  void mark_written(const Tensor& tensor) {
    if (arguments_.size() <= few_arguments) {
      for (std::size_t i = 0; i < arguments_.size(); ++i) {
        if (arguments_[i] == tensor.storage) outcome_.written[i] = true;
      }
      return;
    }
    if (!std::exchange(indexed_, true)) {
      unwritten_.reserve(arguments_.size());
      for (std::size_t i = 0; i < arguments_.size(); ++i)
        unwritten_.emplace(arguments_[i].get(), i);
    }
    const auto [first, last] = unwritten_.equal_range(tensor.storage.get());
    for (auto found = first; found != last; ++found) outcome_.written[found->second] = true;
    unwritten_.erase(first, last);
  }

  /// The position of the first donor whose memory no other value sees, or the number of operands.
  std::size_t donor_of(const Step& step, const OperandSet& donors, const OperandSet& taken) const {
    std::size_t donor = 0;
    for (; donor < step.in.size(); ++donor) {
      const Tensor& tensor = frame_[step.in[donor]];
      if (donors.has(donor) && !taken.has(donor) && tensor.unique() && tensor.contiguous()) break;
    }
    return donor;
  }

  /// A pass over scalars, as a loop that counts has one in each turn. It makes no objects but the
  /// values: a Result would cost as much as an operation.
  std::optional<Error> scalar_pass(const Step& step, const ops::Pass& pass) {
    boost::container::small_vector<std::byte*, 16> in, out;
    for (const Slot slot : step.in) in.push_back(frame_[slot].data());
    for (const Output& output : step.out) {
      Tensor& result = frame_[output.slot];
      if (!output.made()) {
        if (auto done = make_writable(context_, result); !done) return std::move(done).error();
        mark_written(result);
      } else if (auto error = make_scalar(plan_.types[output.slot].dtype, result)) {
        return error;
      }
      out.push_back(result.data());
    }
    ops::run_single(pass, std::span(in.data(), in.size()), std::span(out.data(), out.size()));
    return std::nullopt;
  }

  Result<void> run(const Step& step, const PassStep& kind, Tensors& out) {
    for (std::size_t o = 0; o < out.size(); ++o) {
      if (!step.out[o].made()) mark_written(out[o]);
    }
    return ops::run_pass(context_, *kind.pass, span_of(operands(step)), span_of(out));
  }

  Result<void> run(const Step& step, const PutPassStep& kind, Tensors& out) {
    if (!step.out[0].made()) mark_written(out[0]);
    const Tensors all = operands(step);
    const auto in = span_of(all).first(kind.target());
    const Tensor window =
        ops::window_at(out[0], kind.pass->space, span_of(all).subspan(kind.target() + 1));
    Context context = context_;
    if (ops::streams(window, context.stream_from)) context.stream_from = 0;
    return ops::run_pass(context, *kind.pass, in, std::span(&window, 1));
  }

  Result<void> view(const Step& step, const TensorType& type, bool is_mutable, Tensor& result) {
    // A mutable view needs memory for each element.
    if (is_mutable && repeats_elements(frame_[step.in[0]]))
      OUTRIGGER_CHECK(make_writable(context_, frame_[step.in[0]]));
    Tensors in = operands(step);
    const ops::AttrView attrs(*step.as<ViewStep>()->attrs);
    const ops::ViewCall call{span_of(in), attrs, type, is_mutable};
    auto made = step.row->view(call);
    if (!made && !is_mutable) {
      // The only view that can fail: a reshape of memory whose layout does not allow it.
      OUTRIGGER_TRY(in[0], compact_copy(context_, in[0]));
      made = step.row->view(call);
    }
    if (!made) return tl::make_unexpected(std::move(made).error());
    result = std::move(*made);
    return {};
  }

  Result<void> run(const Step& step, const ComputeStep& kind, Tensors& out) {
    const Tensors in = operands(step);
    return step.row->run(
        {context_, span_of(in), span_of(out), ops::AttrView(*kind.attrs), kind.compute});
  }

  Result<void> run(const Step& step, const ChainStep& kind, Tensors& out) {
    return run_chain(context_, plan_, kind, span_of(operands(step)), span_of(out));
  }

  Result<void> run(const Step& step, const KernelStep& kind, Tensors& out) {
    const Tensors in = operands(step);
    if (has_effects(step)) OUTRIGGER_CHECK(check_apart(step, kind, span_of(in)));
    // A kernel that fails counts as one that has written.
    for (std::size_t o = 0; o < out.size(); ++o) {
      if (!step.out[o].made()) mark_written(out[o]);
    }
    return run_kernel(context_, step, kind, span_of(in), span_of(out));
  }

  Result<void> run(const Step& step, const UpdateStep& kind, Tensors& out) {
    const bool in_place = !step.out[0].made();
    Tensors in = operands(step);
    in.front() = out[0];
    try {
      auto done = step.row->run(
          {context_, span_of(in), span_of(out), ops::AttrView(*kind.attrs), kind.compute});
      // An op that fails has changed nothing, unless it was interrupted.
      if (in_place && (done || interrupted(done.error()))) mark_written(out[0]);
      return done;
    } catch (const std::bad_alloc&) {
      if (in_place) mark_written(out[0]);
      throw;
    }
  }

  Result<void> run(const Step& step, const FoldStep& kind, Tensors& out) {
    const Tensors in = operands(step);
    if (step.row->name == "map") return map(kind, in[0], out[0]);
    OUTRIGGER_TRY(const ops::Windows windows,
                  ops::fold_windows(*step.row, in[0].shape(), ops::AttrView(*kind.attrs)));
    if (!kind.lifted) return fold_elements(*kind.region, windows, in[0], in[1], out[0]);
    return ops::run_fold(context_, kind.lifted->lifted, windows, in[0], in[1],
                         span_of(captures(*kind.lifted)), out[0]);
  }

  Tensors captures(const LiftedRegion& region) const {
    Tensors tensors;
    for (const Slot slot : region.captures) tensors.push_back(frame_[slot]);
    return tensors;
  }

  Result<void> map(const FoldStep& kind, const Tensor& x, const Tensor& out) {
    if (kind.lifted) {
      ops::Pass pass = kind.lifted->lifted.pass;
      pass.space = x.shape();
      Tensors in{x};
      for (Tensor& captured : captures(*kind.lifted)) in.push_back(std::move(captured));
      return ops::run_pass(context_, pass, span_of(in), std::span(&out, 1));
    }
    ElementWalk walk(x);
    for (std::int64_t i = 0; i < out.size(); ++i) {
      OUTRIGGER_TRY(const Tensor value, call_region(*kind.region, {walk.scalar(i)}));
      put_element(out, i, value);
    }
    return {};
  }

  /// Carries out the region for each element of each window, one after the other.
  Result<void> fold_elements(const StepBlock& region, const ops::Windows& windows, const Tensor& x,
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
        OUTRIGGER_TRY(accumulator,
                      call_region(region, {std::move(element), std::move(accumulator)}));
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

  Result<Tensor> call_region(const StepBlock& region, Tensors params) {
    if (context_.interrupt.raised()) return tl::make_unexpected(context_.interrupt.error());
    for (std::size_t i = 0; i < params.size(); ++i) frame_[region.params[i]] = std::move(params[i]);
    OUTRIGGER_CHECK(block(region));
    Tensors outputs(1);
    take_outputs(region, outputs);
    return std::move(outputs[0]);
  }

  /// A value for a parameter of a region: the operand itself if this is its last use, and no
  /// mutable view shares its storage.
  Tensor pass_value(Tensor& tensor, bool last_use) const {
    if (last_use && tensor.storage->unique()) return std::move(tensor);
    return view_of(tensor, tensor.type, tensor.strides, tensor.offset, false);
  }

  static bool is_true(const Tensor& scalar) { return !is_zero(scalar.dtype(), scalar.data()); }

  Result<void> scalar_loop(const Step& step, const ScalarLoop& loop) {
    std::vector<Bits128> cells(loop.cells);
    const auto put = [&](ScalarLoop::Cell cell, const Tensor& scalar) {
      std::memcpy(&cells[cell], scalar.data(), size_of(scalar.dtype()));
    };
    for (const auto& [slot, cell] : loop.captured) put(cell, frame_[slot]);
    for (std::size_t i = 0; i < step.in.size(); ++i) put(loop.carried[i], frame_[step.in[i]]);
    OUTRIGGER_CHECK(engine::run(loop, context_.interrupt, cells));
    for (std::size_t i = 0; i < step.out.size(); ++i) {
      Tensor& result = frame_[step.out[i].slot];
      const DType dtype = type_of(step, i).dtype;
      if (auto error = make_scalar(dtype, result)) return tl::make_unexpected(std::move(*error));
      std::memcpy(result.data(), &cells[loop.carried[i]], size_of(dtype));
    }
    return {};
  }

  Result<void> carry_out(const Step& step, const LoopStep& kind) {
    if (kind.scalars && profile_ == nullptr) return scalar_loop(step, *kind.scalars);
    const StepBlock& condition = *kind.condition;
    const StepBlock& body = *kind.body;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      frame_[body.params[i]] = pass_value(frame_[step.in[i]], kind.ending.has(i));
    }
    Tensors next(body.params.size());
    const Slot verdict = condition.outputs[0];
    const bool made = made_in(condition, verdict);
    while (true) {
      if (context_.interrupt.raised()) return tl::make_unexpected(context_.interrupt.error());
      OUTRIGGER_CHECK(block(condition));
      const bool go_on = is_true(frame_[verdict]);
      // A verdict that is a view would share the memory of a carried value in the body.
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
      frame_[step.out[i].slot] = std::move(frame_[body.params[i]]);
    return {};
  }

  /// Outputs of a region, each a value of its own.
  void take_outputs(const StepBlock& region, Tensors& outputs) {
    for (std::size_t i = 0; i < region.outputs.size(); ++i)
      outputs[i] = pass_value(frame_[region.outputs[i]], region.hands_over[i]);
  }

  Result<void> carry_out(const Step& step, const BranchStep& kind) {
    const StepBlock& region = is_true(frame_[step.in[0]]) ? *kind.on_true : *kind.on_false;
    OUTRIGGER_CHECK(block(region));
    Tensors outputs(region.outputs.size());
    take_outputs(region, outputs);
    for (std::size_t i = 0; i < step.out.size(); ++i)
      frame_[step.out[i].slot] = std::move(outputs[i]);
    return {};
  }

  Context& context_;
  const Plan& plan_;
  std::span<const StoragePtr> arguments_;
  std::span<const NumberArgument> numbers_;
  RunChecks& checks_;
  Outcome& outcome_;
  Profile* profile_;
  std::vector<Tensor> frame_;
  /// The number of arguments up to which mark_written() searches all of them.
  static constexpr std::size_t few_arguments = 16;
  /// If there are more: after the first write, the positions of those that are not written.
  std::unordered_multimap<const Storage*, std::size_t> unwritten_;
  bool indexed_ = false;
  /// Memory of dead scalars for new ones: this is cheaper than to free and to allocate it.
  boost::container::small_vector<StoragePtr, spare_scalars_max> spare_;
};

}  // namespace

Outcome execute(Context& context, const Plan& plan, std::vector<Tensor> values,
                std::span<const StoragePtr> arguments, std::span<const NumberArgument> numbers,
                Profile* profile) {
  Outcome outcome;
  try {
    RunChecks checks(context, plan, values);
    {
      Executor executor(context, plan, std::move(values), arguments, numbers, checks, outcome,
                        profile);
      if (auto done = executor.run(); !done) outcome.error = std::move(done).error();
    }
    if (outcome.error) outcome.results.clear();
    checks.at_end(outcome, arguments);
  } catch (const std::bad_alloc&) {
    outcome.error = with_last_memory(no_memory);
    outcome.results.clear();
  }
  return outcome;
}

Outcome execute(Context& context, const Plan& plan, std::span<const Tensor> arguments,
                Donations donated, Profile* profile) {
  std::vector<Tensor> values(plan.types.size());
  std::vector<StoragePtr> storages;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    values[plan.main.params[i]] = arguments[i];
    storages.push_back(arguments[i].storage);
  }
  for (std::pair<std::size_t, Tensor>& donation : donated)
    values[plan.main.params[donation.first]] = std::move(donation.second);
  return execute(context, plan, std::move(values), storages, {}, profile);
}

}  // namespace outrigger::engine
