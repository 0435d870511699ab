#include "engine/executor/profile.hpp"

#include <algorithm>
#include <functional>

#include "base/limits.hpp"

namespace outrigger::engine {

std::uint64_t bytes_moved(const Step& step, const Plan& plan, std::span<const Tensor> frame) {
  if (step.kind == Step::Kind::view || step.kind == Step::Kind::constant ||
      step.kind == Step::Kind::loop || step.kind == Step::Kind::branch)
    return 0;
  const bool update = step.kind == Step::Kind::update;
  const bool put = step.kind == Step::Kind::put_pass;
  std::uint64_t bytes = 0;
  for (std::size_t i = update ? 1 : 0; i < (put ? step.pass->inputs : step.in.size()); ++i) {
    const Tensor& tensor = frame[step.in[i]];
    // A broadcast operand is read again and again, but from the cache.
    bytes += std::min<std::uint64_t>(byte_count(tensor.type), tensor.storage->buffer->bytes());
  }
  if (update) return 2 * bytes;
  if (put) return bytes + byte_count({plan.types[step.out[0]].dtype, step.pass->space});
  for (const Slot slot : step.out) bytes += byte_count(plan.types[slot]);
  return bytes;
}

void Profile::collect(const StepBlock& block, std::vector<wire::StepProfile>& out) const {
  for (const Step& step : block.steps) {
    if (const auto found = costs_.find(&step); found != costs_.end()) {
      const Cost& cost = found->second;
      const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(cost.time).count();
      out.push_back(
          {step.path, step.ops, cost.calls, static_cast<std::uint64_t>(time), cost.bytes});
    }
    for (const StepBlock& region : step.regions) collect(region, out);
  }
}

std::vector<wire::StepProfile> Profile::steps(const Plan& plan) const {
  std::vector<wire::StepProfile> steps;
  collect(plan.main, steps);
  // A pass that was open while others went by runs after them.
  std::ranges::stable_sort(steps, std::ranges::lexicographical_compare, &wire::StepProfile::index);
  constexpr std::size_t most = Limits::profiled_steps_max;
  if (steps.size() <= most) return steps;
  std::vector<std::uint64_t> times;
  times.reserve(steps.size());
  for (const wire::StepProfile& step : steps) times.push_back(step.ns);
  std::nth_element(times.begin(), times.begin() + most - 1, times.end(), std::greater<>());
  const std::uint64_t least = times[most - 1];
  std::erase_if(steps, [least](const wire::StepProfile& step) { return step.ns < least; });
  steps.resize(most);
  return steps;
}

}  // namespace outrigger::engine
