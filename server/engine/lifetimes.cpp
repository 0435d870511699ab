#include <algorithm>
#include <limits>

#include "engine/plan.hpp"

namespace outrigger::engine {
namespace {

constexpr std::uint64_t unbounded = std::numeric_limits<std::uint64_t>::max();

std::uint64_t bytes_of(const TensorType& type) {
  return Memory::capacity_of(static_cast<std::size_t>(byte_count(type)));
}

/// All slots that a step uses, its nested regions' captures included.
void collect_uses(const Step& step, std::vector<Slot>& uses) {
  uses.insert(uses.end(), step.in.begin(), step.in.end());
  if (step.in_place) uses.insert(uses.end(), step.out.begin(), step.out.end());
  for (const StepBlock& region : step.regions) {
    for (const Step& inner : region.steps) collect_uses(inner, uses);
    uses.insert(uses.end(), region.outputs.begin(), region.outputs.end());
  }
}

/// Marks where each slot that a block owns is used for the last time.
class LastUses {
 public:
  explicit LastUses(std::size_t slots) : owned_(slots, false), last_(slots, 0) {}

  /// `owns_params`: the values in the block's parameters end with it.
  void block(StepBlock& block, bool owns_params) {
    std::vector<Slot> mine;
    const auto own = [&](Slot slot) {
      owned_[slot] = true;
      mine.push_back(slot);
    };
    if (owns_params) std::for_each(block.params.begin(), block.params.end(), own);
    for (const Step& step : block.steps) {
      std::for_each(step.out.begin(),
                    step.out.begin() + static_cast<std::ptrdiff_t>(fresh_outputs(step)), own);
    }
    const auto end = static_cast<std::uint32_t>(block.steps.size());
    for (const Slot slot : mine) last_[slot] = 0;
    for (std::uint32_t i = 0; i < end; ++i) {
      uses_.clear();
      collect_uses(block.steps[i], uses_);
      uses_.insert(uses_.end(), block.steps[i].out.begin(), block.steps[i].out.end());
      for (const Slot slot : uses_) last_[slot] = i;
    }
    for (const Slot slot : block.outputs) last_[slot] = end;
    for (const Slot slot : mine) {
      if (last_[slot] < end) kill(block.steps[last_[slot]], slot);
    }
    for (const Slot slot : mine) owned_[slot] = false;
    for (Step& step : block.steps) {
      for (std::size_t r = 0; r < step.regions.size(); ++r) {
        // The condition of a loop leaves the carried values to the body.
        this->block(step.regions[r],
                    step.kind == Step::Kind::fold || (step.kind == Step::Kind::loop && r == 1));
      }
    }
  }

 private:
  static void kill(Step& step, Slot slot) {
    step.dead.push_back(slot);
    // An operand that is named twice cannot be taken over; nor one that a region uses too.
    const auto named = std::count(step.in.begin(), step.in.end(), slot);
    if (named != 1 || !step.regions.empty()) {
      if (step.kind != Step::Kind::loop || named != 1 || captured(step, slot)) return;
    }
    const auto position = std::find(step.in.begin(), step.in.end(), slot) - step.in.begin();
    if (position < 64) step.dies |= std::uint64_t{1} << position;
  }

  static bool captured(const Step& step, Slot slot) {
    std::vector<Slot> uses;
    for (const StepBlock& region : step.regions) {
      for (const Step& inner : region.steps) collect_uses(inner, uses);
      uses.insert(uses.end(), region.outputs.begin(), region.outputs.end());
    }
    return std::find(uses.begin(), uses.end(), slot) != uses.end();
  }

  std::vector<bool> owned_;
  std::vector<std::uint32_t> last_;
  std::vector<Slot> uses_;
};

/// Follows the bytes that a run holds, as an upper bound: work in place counts only where the plan
/// alone shows that it will happen.
class PeakMeter {
 public:
  explicit PeakMeter(const Plan& plan)
      : plan_(plan), held_(plan.types.size(), 0), root_(plan.types.size()) {
    for (Slot slot = 0; slot < root_.size(); ++slot) root_[slot] = slot;
    users_.assign(root_.size(), 0);
  }

  std::uint64_t peak() const { return peak_; }

  void block(const StepBlock& block) {
    for (const Step& step : block.steps) {
      this->step(step);
      for (const Slot slot : step.dead) drop(slot);
    }
  }

  void result(Slot slot) {
    // A result that is a view of something much larger is copied.
    if (held_[root_[slot]] == 0) grow(bytes_of(plan_.types[slot]));
  }

 private:
  void grow(std::uint64_t bytes) {
    now_ += bytes;
    peak_ = std::max(peak_, now_);
  }

  void hold(Slot slot, std::uint64_t bytes) {
    root_[slot] = slot;
    held_[slot] = bytes;
    users_[slot] = 1;
    grow(bytes);
  }

  void share(Slot slot, Slot with) {
    root_[slot] = root_[with];
    ++users_[root_[slot]];
  }

  void drop(Slot slot) {
    const Slot root = root_[slot];
    if (users_[root] == 0 || --users_[root] > 0) return;
    now_ -= held_[root];
    held_[root] = 0;
  }

  /// Whether the step may take over the operand's memory for a result of that size.
  bool donates(const Step& step, std::size_t position, std::uint64_t bytes) const {
    const Slot slot = step.in[position];
    return position < 64 && (step.dies >> position & 1) != 0 && root_[slot] == slot &&
           users_[slot] == 1 && held_[slot] == bytes && bytes > 0;
  }

  void step(const Step& step) {
    switch (step.kind) {
      case Step::Kind::view:
        share(step.out[0], step.in[0]);
        return;
      case Step::Kind::constant:
        return;
      case Step::Kind::pass:
        pass(step);
        return;
      case Step::Kind::update:
        if (step.in_place) return;
        take_or_hold(step, 0, step.out[0]);
        return;
      case Step::Kind::compute:
        if (!step.in_place) hold(step.out[0], bytes_of(step.types[0]));
        return;
      case Step::Kind::fold:
        fold(step);
        return;
      case Step::Kind::loop:
        loop(step);
        return;
      case Step::Kind::branch:
        branch(step);
        return;
    }
  }

  void take_or_hold(const Step& step, std::size_t position, Slot out) {
    const std::uint64_t bytes = bytes_of(plan_.types[out]);
    if (donates(step, position, bytes)) {
      share(out, step.in[position]);
    } else {
      hold(out, bytes);
    }
  }

  void pass(const Step& step) {
    std::uint64_t taken = 0;
    for (std::size_t o = 0; o < step.fresh_outputs; ++o) {
      const std::uint64_t bytes = bytes_of(step.types[o]);
      std::size_t donor = 0;
      while (donor < step.in.size() && ((taken >> donor & 1) != 0 || !donates(step, donor, bytes) ||
                                        plan_.types[step.in[donor]].shape != step.types[o].shape)) {
        ++donor;
      }
      if (donor < step.in.size()) {
        taken |= std::uint64_t{1} << donor;
        share(step.out[o], step.in[donor]);
      } else {
        hold(step.out[o], bytes);
      }
    }
  }

  void loop(const Step& step) {
    // The carried values are the loop's own from the first turn on; each turn's results come beside
    // them.
    const StepBlock& body = step.regions[1];
    for (std::size_t i = 0; i < body.params.size(); ++i) {
      const std::uint64_t bytes = bytes_of(plan_.types[body.params[i]]);
      if (donates(step, i, bytes)) release(step.in[i]);
      hold(body.params[i], bytes);
    }
    block(step.regions[0]);
    for (const Slot slot : step.regions[0].outputs) drop(slot);
    block(body);
    for (std::size_t i = 0; i < body.outputs.size(); ++i) result(body.outputs[i]);
    for (const Slot slot : body.outputs) drop(slot);
    for (const Slot slot : body.params) release(slot);
    for (const Slot slot : step.out) hold(slot, bytes_of(plan_.types[slot]));
  }

  void release(Slot slot) {
    now_ -= held_[slot];
    held_[slot] = 0;
    users_[slot] = 0;
  }

  void fold(const Step& step) {
    hold(step.out[0], bytes_of(step.types[0]));
    if (step.lifted) return;
    const StepBlock& region = step.regions[0];
    // An element, the accumulator and the next one: scalars.
    for (const Slot slot : region.params) hold(slot, bytes_of(plan_.types[slot]));
    block(region);
    result(region.outputs[0]);
    drop(region.outputs[0]);
    for (const Slot slot : region.params) release(slot);
  }

  void branch(const Step& step) {
    for (const StepBlock& region : step.regions) {
      block(region);
      for (const Slot slot : region.outputs) drop(slot);
    }
    for (const Slot slot : step.out) hold(slot, bytes_of(plan_.types[slot]));
  }

  const Plan& plan_;
  std::uint64_t now_ = 0;
  std::uint64_t peak_ = 0;
  std::vector<std::uint64_t> held_;
  std::vector<Slot> root_;
  std::vector<std::uint32_t> users_;
};

std::uint64_t work_of(const StepBlock& block, const Plan& plan) {
  std::uint64_t work = 0;
  for (const Step& step : block.steps) {
    if (step.kind == Step::Kind::loop) return unbounded;
    // Once for each element: nobody counts what that is.
    if (step.kind == Step::Kind::fold && !step.lifted) return unbounded;
    std::uint64_t elements = 1;
    for (const TensorType& type : step.types)
      elements += static_cast<std::uint64_t>(element_count(type.shape));
    for (const Slot slot : step.in)
      elements += static_cast<std::uint64_t>(element_count(plan.types[slot].shape));
    if (step.kind == Step::Kind::view) elements = 1;
    elements = std::min(elements, std::uint64_t{1} << 28);  // more is a lot anyway
    // A product of matrices does more than one operation for each element.
    // So do windows, which may be larger than what they lie on.
    if (step.row->family == "dot" || step.row->family == "window") elements *= elements;
    if (step.row->name == "window_reduce") return unbounded;
    work += elements * (1 + step.pass.micro_ops.size());
    for (const StepBlock& region : step.regions) {
      const std::uint64_t inner = work_of(region, plan);
      if (inner == unbounded) return unbounded;
      work += inner;
    }
  }
  return work;
}

}  // namespace

void find_lifetimes(Plan& plan) {
  LastUses(plan.types.size()).block(plan.main, false);
  PeakMeter meter(plan);
  meter.block(plan.main);
  for (const Slot slot : plan.main.outputs) meter.result(slot);
  plan.peak_bytes = meter.peak();
  plan.work = work_of(plan.main, plan);
}

}  // namespace outrigger::engine
