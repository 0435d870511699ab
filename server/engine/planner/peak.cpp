#include "engine/planner/peak.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "engine/planner/chain.hpp"
#include "ops/pass/reduction.hpp"

namespace outrigger::engine {
namespace {

std::uint64_t bytes_of(const TensorType& type) {
  return Memory::capacity_of(static_cast<std::size_t>(byte_count(type)));
}

bool contains(const Slots& slots, Slot slot) {
  return std::find(slots.begin(), slots.end(), slot) != slots.end();
}

class PeakMeter {
 public:
  PeakMeter(const Plan& plan, const std::vector<ArgumentLayout>& layouts, int threads,
            PlanningSteps& steps)
      : plan_(plan), threads_(threads), steps_(steps), values_(plan.types.size()) {
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
    peak_.bytes = saturating_add(peak_.bytes, spare_scalars()) - donated_;
    return std::move(peak_);
  }

 private:
  /// What a slot holds. Views count as users of their root, whose bytes go when nobody uses it.
  struct Value {
    Slot root = 0;
    std::uint64_t buffer = 0;  ///< bytes of its buffer
    std::uint64_t held = 0;    ///< those, and of older ones that views may still hold
    std::uint32_t users = 0;
    bool plain = false;          ///< known to be in C order
    bool may_be_shared = false;  ///< an argument whose buffer another argument may have too
    bool watched = false;        ///< a view of it has been made since it was last written
    /// For a shared argument: the views of all such arguments that exist by then.
    std::uint64_t views_before = 0;
    bool twin = false;  ///< may lie in the memory of another, although bytes of its own are counted
    std::optional<Slot> target;           ///< of a mutable view: what a write to it changes
    std::optional<std::size_t> argument;  ///< its position
  };

  /// Dead scalars whose memory the run keeps.
  std::uint64_t spare_scalars() const {
    std::size_t scalars = 0;
    for (Slot slot = 0; slot < plan_.types.size() && scalars < spare_scalars_max; ++slot)
      scalars += plan_.types[slot].shape.empty() ? 1 : 0;
    return scalars * Memory::capacity_of(1);
  }

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

  /// Whether the step takes over the operand's memory for a result of that size.
  bool donates(const Step& step, std::size_t position, std::uint64_t bytes) const {
    return dies(step, position) && is_sure(step.in[position], bytes) &&
           values_[step.in[position]].users == 1;
  }

  bool is_sure(Slot slot, std::uint64_t bytes) const {
    const Value& value = values_[slot];
    return value.root == slot && value.plain && value.held == bytes && bytes > 0;
  }

  /// Makes `out` a value of that size in the operand's memory, if it may come to lie there: nobody
  /// but `users` that end with the step sees that memory. The operand may be a part of something
  /// larger, all of which is then kept, or its layout unknown: a result beside it would take the
  /// bytes that are returned, until the step is over.
  std::optional<std::uint64_t> take(Slot operand, std::uint32_t users, Slot out,
                                    std::uint64_t bytes) {
    const Value& root = root_of(operand);
    if (root.users != users || root.held < bytes || bytes == 0) return std::nullopt;
    const std::uint64_t beside = is_sure(operand, bytes) ? 0 : bytes;
    share(out, operand, true);
    root_of(out).twin = false;
    return beside;
  }

  /// The same where the operand ends with the step, otherwise a value of its own. Nothing lies
  /// beside that.
  std::uint64_t take_or_hold(Slot operand, bool ends, std::uint32_t users, Slot out) {
    const std::uint64_t bytes = bytes_of(plan_.types[out]);
    const auto beside = ends ? take(operand, users, out, bytes) : std::nullopt;
    if (!beside) hold(out, bytes);
    return beside.value_or(0);
  }

  /// The two may be one and the same value. Once one of them has ended, the other's memory can be
  /// taken; until then neither's can.
  void twins(Slot a, Slot b) { root_of(a).twin = root_of(b).twin = true; }

  /// Somebody else sees the value's buffer from now on.
  void watch(Slot slot) {
    root_of(slot).watched = true;
    // It may be a view of every other argument that may be shared.
    if (root_of(slot).may_be_shared) ++views_of_shared_;
  }

  bool is_watched(const Value& value) const {
    return value.watched || (value.may_be_shared && value.views_before != views_of_shared_);
  }

  /// A write in place copies what others still see.
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
      for (const Slot slot : step.dead) drop(slot);
    }
  }

  void step(const Step& step) {
    if (++visited_ > visited_max) {
      // Loops in loops in loops: no bound in reasonable time.
      peak_.bytes = ~std::uint64_t{0};
      return;
    }
    switch (step.kind) {
      case Step::Kind::pass:
        return pass(step);
      case Step::Kind::put_pass:
        return put_pass(step);
      case Step::Kind::view:
        return view(step);
      case Step::Kind::constant:
        return hold(step.out[0], 0, false);
      case Step::Kind::update:
        return update(step);
      case Step::Kind::compute:
        for (const Slot slot : step.out) hold(slot, bytes_of(plan_.types[slot]));
        return touch(scratch(step));
      case Step::Kind::fold:
        return fold(step);
      case Step::Kind::loop:
        return loop(step);
      case Step::Kind::branch:
        return branch(step);
      case Step::Kind::chain:
        for (const Slot slot : step.out) hold(slot, bytes_of(plan_.types[slot]));
        return touch(chain_scratch(step, plan_, threads_));
    }
  }

  void fold(const Step& step) {
    const TensorType& from = plan_.types[step.in[0]];
    hold(step.out[0], bytes_of(plan_.types[step.out[0]]));
    if (!step.lifted) return fold_elements(step);
    if (step.row->name == "map") return;
    const auto windows = ops::fold_windows(*step.row, from.shape, attrs_of(step));
    if (windows) touch(ops::fold_scratch(*step.lifted, *windows, threads_));
  }

  /// The region is carried out with views of an element and of the accumulator.
  void fold_elements(const Step& step) {
    const StepBlock& region = step.regions[0];
    for (const Slot slot : region.params) hold(slot, bytes_of(plan_.types[slot]));
    block(region);
    const Slot output = region.outputs[0];
    // The next accumulator stays beside the one before.
    touch(root_of(output).buffer);
    if (made_in(region, output)) drop(output);
    for (const Slot slot : region.params) release(slot);
  }

  void update(const Step& step) {
    std::uint64_t beside = 0;
    if (step.in_place) {
      write(step.in[0]);
    } else {
      beside = take_or_hold(step.in[0], dies(step, 0), 1, step.out[0]);
    }
    touch(saturating_add(beside, scratch(step)));
  }

  /// The op's temporaries, which end with it.
  std::uint64_t scratch(const Step& step) {
    if (step.row->scratch == nullptr) return 0;
    const bool update = step.kind == Step::Kind::update;
    boost::container::small_vector<ops::ScratchOperand, 4> in;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const bool target = update && i == 0;
      in.push_back({&plan_.types[step.in[i]],
                    values_[step.in[i]].plain || (target && !step.in_place),
                    update && !target && may_overlap(step.in[i], step.in[0])});
    }
    boost::container::small_vector<TensorType, 2> out;
    for (const Slot slot : step.out) out.push_back(plan_.types[slot]);
    return step.row->scratch({std::span(in.data(), in.size()), std::span(out.data(), out.size()),
                              attrs_of(step), threads_, step.compute});
  }

  void view(const Step& step) {
    const Slot in = step.in[0];
    const Slot out = step.out[0];
    if (step.in_place) {
      if (!values_[in].plain && !root_of(in).argument) write(in);
      share(out, in, false);
      values_[out].target = in;
      return;
    }
    if (step.row->keeps_order && !values_[in].plain) {
      // It becomes a copy where the layout demands it, and keeps the root's memory where not.
      hold(out, std::max(bytes_of(plan_.types[out]), root_of(in).buffer), false);
      return twins(in, out);
    }
    share(out, in, step.row->keeps_order && values_[in].plain);
    watch(in);
  }

  void pass(const Step& step) {
    std::uint64_t taken = 0;
    std::uint64_t beside = 0;
    bool twin_taken = false;
    for (std::size_t o = 0; o < step.fresh_outputs; ++o) {
      const std::uint64_t bytes = bytes_of(plan_.types[step.out[o]]);
      const auto takes = [&](std::size_t donor) {
        // A scalar is made anew: that is cheaper than to look for memory.
        if (step.pass->space.empty() || (taken >> donor & 1) != 0 || !dies(step, donor) ||
            !may_donate(step, donor, plan_.types[step.in[donor]], o, plan_.types[step.out[o]]))
          return false;
        const bool twin = root_of(step.in[donor]).twin;
        const auto more = take(step.in[donor], 1, step.out[o], bytes);
        if (!more) return false;
        // Twins that end together cannot be taken: one more value than is counted.
        beside = saturating_add(beside, twin && twin_taken ? bytes : *more);
        twin_taken = twin_taken || twin;
        return true;
      };
      std::size_t donor = 0;
      while (donor < step.in.size() && !takes(donor)) ++donor;
      if (donor < step.in.size()) {
        taken |= std::uint64_t{1} << donor;
      } else {
        hold(step.out[o], bytes);
      }
    }
    for (std::size_t o = step.fresh_outputs; o < step.out.size(); ++o) write(step.out[o]);
    std::uint64_t temporary = 0;
    if (step.in_place) temporary = ops::overlap_scratch(*step.pass, copied_inputs(step));
    if (!step.pass->reductions.empty()) temporary += ops::reductions_scratch(*step.pass);
    touch(saturating_add(beside, temporary));
  }

  void put_pass(const Step& step) {
    const Slot target = put_target(step);
    std::uint64_t copies = 0;
    std::uint32_t users = 1;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Slot in = step.in[i];
      if (i < step.pass->inputs && may_overlap(in, target))
        copies = saturating_add(copies, bytes_of(plan_.types[in]));
      // Views that end with the step do not keep it from taking the target's memory.
      const bool view = in != target && values_[in].root == values_[target].root;
      users += view && !values_[in].target && dies(step, i) ? 1U : 0U;
    }
    std::uint64_t beside = 0;
    if (step.in_place) {
      write(target);
    } else {
      beside = take_or_hold(target, ends_in(step, target), users, step.out[0]);
    }
    touch(saturating_add(beside, ops::overlap_scratch(*step.pass, copies)));
  }

  /// Whether two values may lie in the same buffer.
  bool may_overlap(Slot a, Slot b) {
    if (values_[a].root == values_[b].root) return true;
    return root_of(a).may_be_shared && root_of(b).may_be_shared;
  }

  /// Bytes of copies of the inputs that may overlap the pass's target in another layout.
  std::uint64_t copied_inputs(const Step& step) {
    std::uint64_t bytes = 0;
    for (const Slot in : step.in) {
      if (contains(step.out, in)) continue;
      const bool overlaps = std::any_of(step.out.begin(), step.out.end(),
                                        [&](Slot out) { return may_overlap(in, out); });
      if (overlaps) bytes = saturating_add(bytes, bytes_of(plan_.types[in]));
    }
    return bytes;
  }

  /// What is known of a value that leaves a region, and of one that a loop carries.
  struct Carried {
    std::uint64_t bytes;
    bool plain;
    bool twin;

    friend bool operator==(const Carried&, const Carried&) = default;
  };

  /// For each of the slots, whether another one of them has the same root, or one elsewhere may be
  /// it.
  std::vector<bool> find_twins(const Slots& slots) {
    std::unordered_map<Slot, std::uint32_t> users;
    for (const Slot slot : slots) ++users[values_[slot].root];
    std::vector<bool> twins;
    for (const Slot slot : slots)
      twins.push_back(root_of(slot).twin || users[values_[slot].root] > 1);
    return twins;
  }

  void loop(const Step& step) {
    // The carried values are the loop's own from the first turn on; each turn's results come beside
    // them. A carried value may be a view of something larger, and need not be in C order: both are
    // known after a turn, and the turn is followed again until nothing new is found.
    const StepBlock& body = step.regions[1];
    std::vector<Carried> carried;
    std::vector<bool> kept(body.params.size(), false);
    const std::vector<bool> twins = find_twins(step.in);
    for (std::size_t i = 0; i < body.params.size(); ++i) {
      carried.push_back(
          {std::max(bytes_of(plan_.types[body.params[i]]), root_of(step.in[i]).buffer),
           values_[step.in[i]].plain, twins[i]});
    }
    for (std::size_t i = 0; i < body.params.size(); ++i) {
      if (donates(step, i, bytes_of(plan_.types[body.params[i]]))) {
        release(step.in[i]);
        continue;
      }
      watch(step.in[i]);
      kept[i] = root_of(step.in[i]).twin = true;
    }
    while (turn(step, carried)) {
    }
    for (std::size_t i = 0; i < step.out.size(); ++i) {
      // Without a turn, the result is what went in.
      carried[i].twin = carried[i].twin || kept[i];
      hold(step.out[i], carried[i]);
    }
  }

  void hold(Slot slot, const Carried& carried) {
    hold(slot, carried.bytes, carried.plain);
    values_[slot].twin = carried.twin;
  }

  /// Adds what is known of a region's outputs, and ends the values that it made. True if that was
  /// anything new.
  bool take_in(std::vector<Carried>& known, const StepBlock& region) {
    const Owned owned(region);
    // What comes from outside lives on there.
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
        const auto fresh = static_cast<std::ptrdiff_t>(fresh_outputs(step));
        made_.insert(step.out.begin(), step.out.begin() + fresh);
      }
      parameters_.insert(region.params.begin(), region.params.end());
    }
    bool made(Slot slot) const { return made_.contains(slot); }
    bool parameter(Slot slot) const { return parameters_.contains(slot); }

   private:
    std::unordered_set<Slot> made_, parameters_;
  };

  /// One turn with the carried values as assumed. True if its outputs were more than that.
  bool turn(const Step& step, std::vector<Carried>& carried) {
    const StepBlock& condition = step.regions[0];
    const StepBlock& body = step.regions[1];
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

  void branch(const Step& step) {
    std::vector<Carried> results;
    for (const Slot slot : step.out) results.push_back({bytes_of(plan_.types[slot]), true, false});
    for (const StepBlock& region : step.regions) {
      block(region);
      take_in(results, region);
    }
    for (std::size_t i = 0; i < step.out.size(); ++i) hold(step.out[i], results[i]);
  }

  /// A result that is a view of something much larger becomes a copy while all is still there.
  void result(Slot slot) {
    const std::uint64_t buffer = root_of(slot).buffer;
    const auto needed = static_cast<std::uint64_t>(byte_count(plan_.types[slot]));
    if (buffer == 0 || (buffer > 2 * needed && buffer > 4096)) grow(bytes_of(plan_.types[slot]));
  }

  const Plan& plan_;
  const int threads_;
  /// Each loop is followed at least twice, each loop in it four times, and so on.
  static constexpr std::uint32_t visited_max = 1U << 20;

  PlanningSteps& steps_;
  std::uint32_t visited_ = 0;
  std::uint64_t views_of_shared_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t donated_ = 0;  ///< in use before the run
  Peak peak_;
  std::vector<Value> values_;
};

}  // namespace

Peak find_peak(const Plan& plan, const std::vector<ArgumentLayout>& layouts, int threads,
               PlanningSteps& steps) {
  return PeakMeter(plan, layouts, threads, steps).run();
}

}  // namespace outrigger::engine
