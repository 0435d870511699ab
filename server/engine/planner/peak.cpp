#include "engine/planner/peak.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include "engine/planner/chain.hpp"
#include "ops/pass/reduction.hpp"

namespace outrigger::engine {
namespace {

std::uint64_t bytes_of(const TensorType& type) {
  return Memory::capacity_of(static_cast<std::size_t>(byte_count(type)));
}

/// Carries out a plan with bytes in place of tensors. For each step it does with bytes what the
/// executor does with memory, by the same description: the sources of the step's results.
class PeakMeter {
 public:
  PeakMeter(const Plan& plan, const std::vector<ArgumentLayout>& layouts, int threads,
            PlanningSteps& steps, StepPeaks* by_step)
      : plan_(plan),
        threads_(threads),
        steps_(steps),
        by_step_(by_step),
        spare_(spare_scalars()),
        values_(plan.types.size()) {
    for (Slot slot = 0; slot < values_.size(); ++slot) values_[slot].root = slot;
    peak_.argument_copies.assign(plan.main.params.size(), 0);
    for (std::size_t i = 0; i < plan.main.params.size(); ++i) {
      Value& value = values_[plan.main.params[i]];
      value.argument = i;
      value.plain = layouts[i].plain;
      value.may_be_shared = !layouts[i].apart;
      value.users = 1;
      value.buffer = value.held = layouts[i].donated;
      donated_ = saturating_add(donated_, value.held);
    }
    now_ = peak_.bytes = donated_;
    for (const auto& [slot, position] : plan.constants) values_[slot].plain = true;
    for (const auto& [slot, number] : plan.number_values) values_[slot].plain = true;
    if (!plan.number_values.empty())
      grow(Memory::capacity_of(plan.number_values.size() * scalar_bytes));
  }

  Peak run() {
    block(plan_.main);
    for (const Slot slot : plan_.main.outputs) result(slot);
    peak_.bytes = peak();
    return std::move(peak_);
  }

 private:
  /// The memory of a slot's value. Views count as users of their root. The root's bytes are freed
  /// when it has no user.
  struct Value {
    Slot root = 0;
    std::uint64_t buffer = 0;  ///< bytes of its buffer
    std::uint64_t held = 0;    ///< those, and the bytes of older buffers that views may still hold
    std::uint32_t users = 0;
    bool plain = false;          ///< known to be in C order
    bool may_be_shared = false;  ///< an argument whose buffer another argument may have too
    bool watched = false;        ///< a view of it has been made since it was last written
    /// For a shared argument: the views of all such arguments when it was last written.
    std::uint64_t views_before = 0;
    bool twin = false;  ///< may have the memory of another value, but counts with bytes of its own
    std::optional<Slot> target;           ///< of a mutable view: the value that a write changes
    std::optional<std::size_t> argument;  ///< its position
  };

  /// Bytes of the dead scalars whose memory the run keeps.
  std::uint64_t spare_scalars() const {
    std::size_t scalars = 0;
    for (Slot slot = 0; slot < plan_.types.size() && scalars < spare_scalars_max; ++slot)
      scalars += plan_.types[slot].shape.empty() ? 1 : 0;
    return scalars * Memory::capacity_of(1);
  }

  /// The peak until now, on top of the arguments.
  std::uint64_t peak() const { return saturating_add(peak_.bytes, spare_) - donated_; }

  Value& root_of(Slot slot) { return values_[values_[slot].root]; }

  void grow(std::uint64_t bytes) {
    now_ = saturating_add(now_, bytes);
    peak_.bytes = std::max(peak_.bytes, now_);
  }

  void touch(std::uint64_t bytes) {
    peak_.bytes = std::max(peak_.bytes, saturating_add(now_, bytes));
  }

  void hold(Slot slot, std::uint64_t bytes, bool plain = true) {
    Value value;
    value.root = slot;
    value.buffer = bytes;
    value.held = bytes;
    value.users = 1;
    value.plain = plain;
    values_[slot] = value;
    grow(bytes);
  }

  void share(Slot slot, Slot with, bool plain) {
    Value value;
    value.root = values_[with].root;
    value.plain = plain;
    values_[slot] = value;
    ++root_of(slot).users;
  }

  void drop(Slot slot) {
    Value& root = root_of(slot);
    if (root.users == 0 || --root.users > 0) return;
    now_ -= root.held;
    root.held = 0;
  }

  /// True if the value surely has so many bytes of its own, in C order.
  bool is_sure(Slot slot, std::uint64_t bytes) const {
    const Value& value = values_[slot];
    return value.root == slot && value.plain && value.held == bytes && bytes > 0;
  }

  /// Makes `out` a value of that size in the operand's memory, if the executor may do so: only
  /// `users` that end with the step see that memory. The operand may be a part of a larger buffer,
  /// which is then kept as a whole, or its layout may be unknown. Then the executor may instead
  /// make the result beside the operand. Returns the bytes that this takes until the step is over.
  std::optional<std::uint64_t> take(Slot operand, std::uint32_t users, Slot out,
                                    std::uint64_t bytes) {
    const Value& root = root_of(operand);
    if (root.users != users || root.held < bytes || bytes == 0) return std::nullopt;
    const std::uint64_t beside = is_sure(operand, bytes) ? 0 : bytes;
    share(out, operand, true);
    root_of(out).twin = false;
    return beside;
  }

  /// The same if the operand ends with the step; otherwise `out` is a value of its own.
  std::uint64_t take_or_hold(Slot operand, bool ends, std::uint32_t users, Slot out) {
    const std::uint64_t bytes = bytes_of(plan_.types[out]);
    const auto beside = ends ? take(operand, users, out, bytes) : std::nullopt;
    if (!beside) hold(out, bytes);
    return beside.value_or(0);
  }

  /// The two may be the same value. The memory of either can be taken only when the other has
  /// ended.
  void twins(Slot a, Slot b) { root_of(a).twin = root_of(b).twin = true; }

  /// From now on a view sees the value's buffer.
  void watch(Slot slot) {
    root_of(slot).watched = true;
    // It may be a view of every other argument that may be shared.
    if (root_of(slot).may_be_shared) ++views_of_shared_;
  }

  bool is_watched(const Value& value) const {
    return value.watched || (value.may_be_shared && value.views_before != views_of_shared_);
  }

  /// A write in place. It copies the buffer if another value sees it.
  void write(Slot slot) {
    while (values_[slot].target) slot = *values_[slot].target;
    Value& root = root_of(slot);
    const bool copies = is_watched(root) || values_[slot].root != slot;
    root.watched = false;
    root.views_before = views_of_shared_;
    if (root.argument) {
      if (copies) ++peak_.argument_copies[*root.argument];
      if (values_[slot].root != slot) grow(bytes_of(plan_.types[slot]));
      return;
    }
    if (!copies && root.held > 0) return;
    root.buffer = std::max(root.buffer, bytes_of(plan_.types[slot]));
    root.held = saturating_add(root.held, root.buffer);
    grow(root.buffer);
  }

  void block(const StepBlock& block) {
    for (const Step& step : block.steps) {
      steps_.step();
      this->step(step);
      if (by_step_ != nullptr) (*by_step_)[&step] = peak();
      for (const Slot slot : step.dead) drop(slot);
    }
  }

  void step(const Step& step) {
    if (++visited_ > visited_max) {
      // Loops in loops in loops: there is no bound in reasonable time.
      peak_.bytes = ~std::uint64_t{0};
      return;
    }
    const std::uint64_t beside = results(step);
    std::visit(Overloaded{
                   [&](const LoopStep& kind) { loop(step, kind); },
                   [&](const BranchStep& kind) { branch(step, kind); },
                   [&](const FoldStep& kind) {
                     if (!kind.lifted) return fold_elements(*kind.region);
                     touch(scratch(step, kind));
                   },
                   [&](const auto& kind) { touch(saturating_add(beside, scratch(step, kind))); },
               },
               step.kind);
  }

  /// The results of a step, by their sources. Returns the bytes that may lie beside them until the
  /// step is over. A step with regions makes the values that these hand over itself.
  std::uint64_t results(const Step& step) {
    std::uint64_t beside = 0;
    OperandSet taken;
    bool twin_taken = false;
    for (const Output& output : step.out) {
      const Slot out = output.slot;
      const auto add = Overloaded{
          [&](const source::Fresh&) {
            hold(out, bytes_of(plan_.types[out]));
            return std::uint64_t{0};
          },
          [&](const source::Donated& from) { return donated(step, from, out, taken, twin_taken); },
          [&](const source::Copied& from) { return copied(step, from, out); },
          [&](const source::Written&) {
            write(out);
            return std::uint64_t{0};
          },
          [&](const source::Repeated&) {
            hold(out, 0, false);
            return std::uint64_t{0};
          },
          [&](const source::HandedOver&) { return std::uint64_t{0}; },
          [&](const auto& window) {
            view(window, step.in[0], out);
            return std::uint64_t{0};
          },
      };
      beside = saturating_add(beside, std::visit(add, output.source));
    }
    return beside;
  }

  std::uint64_t donated(const Step& step, const source::Donated& from, Slot out, OperandSet& taken,
                        bool& twin_taken) {
    const std::uint64_t bytes = bytes_of(plan_.types[out]);
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      if (!from.donors.has(i) || taken.has(i)) continue;
      const bool twin = root_of(step.in[i]).twin;
      const auto beside = take(step.in[i], 1, out, bytes);
      if (!beside) continue;
      taken.add(i);
      // Two twins may have the same memory, which only one result can take over. So a second result
      // counts with bytes of its own.
      const bool second = twin && std::exchange(twin_taken, true);
      return second ? bytes : *beside;
    }
    hold(out, bytes);
    return 0;
  }

  std::uint64_t copied(const Step& step, const source::Copied& from, Slot out) {
    const Slot operand = step.in[from.operand];
    const OperandSet ending = ending_views(step);
    std::uint32_t users = 1;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Slot in = step.in[i];
      const bool view = in != operand && values_[in].root == values_[operand].root;
      users += view && !values_[in].target && ending.has(i) ? 1U : 0U;
    }
    return take_or_hold(operand, from.ends, users, out);
  }

  void view(const source::Viewed&, Slot in, Slot out) {
    share(out, in, false);
    watch(in);
  }

  void view(const source::Reshaped&, Slot in, Slot out) {
    if (values_[in].plain) {
      share(out, in, true);
      return watch(in);
    }
    // It becomes a copy if the layout demands it; otherwise it keeps the root's memory.
    hold(out, std::max(bytes_of(plan_.types[out]), root_of(in).buffer), false);
    twins(in, out);
  }

  void view(const source::Aliased&, Slot in, Slot out) {
    if (!values_[in].plain && !root_of(in).argument) write(in);
    share(out, in, false);
    values_[out].target = in;
  }

  /// The region of a fold is carried out with views of an element and of the accumulator.
  void fold_elements(const StepBlock& region) {
    for (const Slot slot : region.params) hold(slot, bytes_of(plan_.types[slot]));
    block(region);
    const Slot output = region.outputs[0];
    // The next accumulator stays beside the one before.
    touch(root_of(output).buffer);
    if (made_in(region, output)) drop(output);
    for (const Slot slot : region.params) release(slot);
  }

  // The temporaries of a step, which end with it.

  std::uint64_t scratch(const Step& step, const PassStep& kind) {
    const bool writes = std::any_of(step.out.begin(), step.out.end(),
                                    [](const Output& output) { return !output.made(); });
    const std::uint64_t copies = writes ? ops::overlap_scratch(*kind.pass, copied_inputs(step)) : 0;
    return kind.pass->reductions.empty() ? copies : copies + ops::reductions_scratch(*kind.pass);
  }

  std::uint64_t scratch(const Step& step, const PutPassStep& kind) {
    const Slot target = step.in[kind.target()];
    std::uint64_t copies = 0;
    for (std::size_t i = 0; i < kind.target(); ++i) {
      if (may_overlap(step.in[i], target))
        copies = saturating_add(copies, bytes_of(plan_.types[step.in[i]]));
    }
    return ops::overlap_scratch(*kind.pass, copies);
  }

  std::uint64_t scratch(const Step& step, const ComputeStep& kind) {
    if (step.row->scratch == nullptr) return 0;
    ScratchOperands in;
    for (const Slot slot : step.in) in.push_back({&plan_.types[slot], values_[slot].plain, false});
    return row_scratch(step, in, *kind.attrs, kind.compute);
  }

  std::uint64_t scratch(const Step& step, const UpdateStep& kind) {
    if (step.row->scratch == nullptr) return 0;
    const bool copy = step.out[0].made();
    ScratchOperands in;
    in.push_back({&plan_.types[step.in[0]], values_[step.in[0]].plain || copy, false});
    for (std::size_t i = 1; i < step.in.size(); ++i) {
      in.push_back({&plan_.types[step.in[i]], values_[step.in[i]].plain,
                    may_overlap(step.in[i], step.in[0])});
    }
    return row_scratch(step, in, *kind.attrs, kind.compute);
  }

  std::uint64_t scratch(const Step& step, const FoldStep& kind) const {
    if (step.row->name == "map") return 0;
    const auto windows =
        ops::fold_windows(*step.row, plan_.types[step.in[0]].shape, ops::AttrView(*kind.attrs));
    return windows ? ops::fold_scratch(kind.lifted->lifted, *windows, threads_) : 0;
  }

  std::uint64_t scratch(const Step&, const ChainStep& kind) const {
    return chain_scratch(kind, plan_, threads_);
  }

  static std::uint64_t scratch(const Step&, const KernelStep& kind) {
    return Memory::capacity_of(kind.memory);
  }
  static std::uint64_t scratch(const Step&, const ViewStep&) { return 0; }
  static std::uint64_t scratch(const Step&, const ConstantStep&) { return 0; }

  using ScratchOperands = boost::container::small_vector<ops::ScratchOperand, 4>;

  std::uint64_t row_scratch(const Step& step, const ScratchOperands& in, const Attrs& attrs,
                            DType compute) const {
    boost::container::small_vector<TensorType, 2> out;
    for (const Output& output : step.out) out.push_back(plan_.types[output.slot]);
    return step.row->scratch({std::span(in.data(), in.size()), std::span(out.data(), out.size()),
                              ops::AttrView(attrs), threads_, compute});
  }

  /// True if two values may lie in the same buffer.
  bool may_overlap(Slot a, Slot b) {
    if (values_[a].root == values_[b].root) return true;
    return root_of(a).may_be_shared && root_of(b).may_be_shared;
  }

  /// Bytes of copies of the inputs that may overlap the pass's target in another layout.
  std::uint64_t copied_inputs(const Step& step) {
    std::uint64_t bytes = 0;
    for (const Slot in : step.in) {
      const auto is_in = [in](const Output& output) { return output.slot == in; };
      const auto overlaps = [&](const Output& output) { return may_overlap(in, output.slot); };
      if (std::any_of(step.out.begin(), step.out.end(), is_in)) continue;
      if (std::any_of(step.out.begin(), step.out.end(), overlaps))
        bytes = saturating_add(bytes, bytes_of(plan_.types[in]));
    }
    return bytes;
  }

  /// The known properties of a value that leaves a region, or that a loop carries.
  struct Carried {
    std::uint64_t bytes;
    bool plain;
    bool twin;

    friend bool operator==(const Carried&, const Carried&) = default;
  };

  /// For each of the slots, whether another one of them has the same root, or a value elsewhere may
  /// be the same.
  std::vector<bool> find_twins(const Slots& slots) {
    std::unordered_map<Slot, std::uint32_t> users;
    for (const Slot slot : slots) ++users[values_[slot].root];
    std::vector<bool> twins;
    for (const Slot slot : slots)
      twins.push_back(root_of(slot).twin || users[values_[slot].root] > 1);
    return twins;
  }

  void loop(const Step& step, const LoopStep& kind) {
    // The carried values are the loop's own from the first turn on, and the results of a turn come
    // beside them. A carried value may be a view of a larger buffer, and it need not be in C order.
    // Both are known after a turn. The turn is followed again until it gives nothing new.
    const StepBlock& body = *kind.body;
    std::vector<Carried> carried;
    std::vector<bool> kept(body.params.size(), false);
    const std::vector<bool> twins = find_twins(step.in);
    for (std::size_t i = 0; i < body.params.size(); ++i) {
      carried.push_back(
          {std::max(bytes_of(plan_.types[body.params[i]]), root_of(step.in[i]).buffer),
           values_[step.in[i]].plain, twins[i]});
    }
    for (std::size_t i = 0; i < body.params.size(); ++i) {
      const Slot in = step.in[i];
      const bool given = kind.ending.has(i) && values_[in].users == 1 &&
                         is_sure(in, bytes_of(plan_.types[body.params[i]]));
      if (given) {
        release(in);
        continue;
      }
      watch(in);
      kept[i] = root_of(in).twin = true;
    }
    while (turn(kind, carried)) {
    }
    for (std::size_t i = 0; i < step.out.size(); ++i) {
      // Without a turn, the result is the initial value.
      carried[i].twin = carried[i].twin || kept[i];
      hold(step.out[i].slot, carried[i]);
    }
  }

  void hold(Slot slot, const Carried& carried) {
    hold(slot, carried.bytes, carried.plain);
    values_[slot].twin = carried.twin;
  }

  /// Adds the properties of a region's outputs to those that are known, and ends the values that
  /// the region made. True if this gives anything new.
  bool take_in(std::vector<Carried>& known, const StepBlock& region) {
    const Owned owned(region);
    // A value from outside lives on there.
    for (const Slot output : region.outputs) {
      if (!owned.made(output) && !owned.parameter(output)) root_of(output).twin = true;
    }
    const std::vector<bool> twins = find_twins(region.outputs);
    bool more = false;
    for (std::size_t i = 0; i < region.outputs.size(); ++i) {
      const Slot output = region.outputs[i];
      const Carried before = known[i];
      known[i] = {std::max(before.bytes, root_of(output).buffer),
                  before.plain && values_[output].plain, before.twin || twins[i]};
      more = more || known[i] != before;
      watch(output);
    }
    for (const Slot output : region.outputs) {
      if (owned.made(output)) drop(output);
    }
    return more;
  }

  /// The slots that a region makes, and its parameters.
  class Owned {
   public:
    explicit Owned(const StepBlock& region) {
      for (const Step& step : region.steps) {
        for (const Output& output : step.out) {
          if (output.made()) made_.insert(output.slot);
        }
      }
      parameters_.insert(region.params.begin(), region.params.end());
    }
    bool made(Slot slot) const { return made_.contains(slot); }
    bool parameter(Slot slot) const { return parameters_.contains(slot); }

   private:
    std::unordered_set<Slot> made_, parameters_;
  };

  /// One turn with carried values of those properties. True if its outputs add new ones.
  bool turn(const LoopStep& loop, std::vector<Carried>& carried) {
    const StepBlock& condition = *loop.condition;
    const StepBlock& body = *loop.body;
    for (std::size_t i = 0; i < body.params.size(); ++i) hold(body.params[i], carried[i]);
    block(condition);
    for (const Slot slot : condition.outputs) {
      if (made_in(condition, slot)) drop(slot);
    }
    block(body);
    const bool more = take_in(carried, body);
    for (const Slot slot : body.params) release(slot);
    return more;
  }

  void release(Slot slot) {
    now_ -= values_[slot].held;
    values_[slot].held = 0;
    values_[slot].users = 0;
  }

  void branch(const Step& step, const BranchStep& kind) {
    std::vector<Carried> results;
    for (const Output& output : step.out)
      results.push_back({bytes_of(plan_.types[output.slot]), true, false});
    for (const StepBlock* region : {kind.on_true.get(), kind.on_false.get()}) {
      block(*region);
      take_in(results, *region);
    }
    for (std::size_t i = 0; i < step.out.size(); ++i) hold(step.out[i].slot, results[i]);
  }

  /// A result that is a view of a much larger buffer becomes a copy while all values are still
  /// there.
  void result(Slot slot) {
    const std::uint64_t buffer = root_of(slot).buffer;
    const auto needed = static_cast<std::uint64_t>(byte_count(plan_.types[slot]));
    if (buffer == 0 || (buffer > 2 * needed && buffer > 4096)) grow(bytes_of(plan_.types[slot]));
  }

  const Plan& plan_;
  const int threads_;
  /// Steps that the meter follows. It follows each loop at least twice, each loop in it four times,
  /// and so on.
  static constexpr std::uint32_t visited_max = 1U << 20;

  PlanningSteps& steps_;
  StepPeaks* const by_step_;
  const std::uint64_t spare_;
  std::uint32_t visited_ = 0;
  std::uint64_t views_of_shared_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t donated_ = 0;  ///< in use before the run
  Peak peak_;
  std::vector<Value> values_;
};

}  // namespace

Peak find_peak(const Plan& plan, const std::vector<ArgumentLayout>& layouts, int threads,
               PlanningSteps& steps, StepPeaks* by_step) {
  return PeakMeter(plan, layouts, threads, steps, by_step).run();
}

}  // namespace outrigger::engine
