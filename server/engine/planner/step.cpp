#include "engine/planner/step.hpp"

#include <algorithm>

namespace outrigger::engine {

bool has_regions(const Step& step) {
  bool any = false;
  for_each_region(step, [&](const StepBlock&) { any = true; });
  return any;
}

bool has_effects(const Step& step) {
  return std::any_of(step.out.begin(), step.out.end(), [](const Output& output) {
    return output.is<source::Written>() || output.is<source::Aliased>();
  });
}

bool ends_in(const Step& step, Slot slot) {
  return std::find(step.dead.begin(), step.dead.end(), slot) != step.dead.end();
}

OperandSet ending_views(const Step& step) {
  if (const auto* pass = step.as<PassStep>()) return pass->ending;
  if (const auto* put = step.as<PutPassStep>()) return put->ending;
  return {};
}

void collect_uses(const Step& step, Slots& uses) {
  uses.insert(uses.end(), step.in.begin(), step.in.end());
  for (const Output& output : step.out) {
    if (!output.made()) uses.push_back(output.slot);
  }
  for_each_region(step, [&](const StepBlock& region) {
    for (const Step& inner : region.steps) collect_uses(inner, uses);
    uses.insert(uses.end(), region.outputs.begin(), region.outputs.end());
  });
}

bool made_in(const StepBlock& block, Slot slot) {
  return std::any_of(block.steps.begin(), block.steps.end(), [slot](const Step& step) {
    return std::any_of(step.out.begin(), step.out.end(), [slot](const Output& output) {
      return output.slot == slot && output.made();
    });
  });
}

}  // namespace outrigger::engine
