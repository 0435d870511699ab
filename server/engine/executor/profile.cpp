#include "engine/executor/profile.hpp"

#include <algorithm>
#include <functional>
#include <variant>

#include "base/limits.hpp"

namespace outrigger::engine {

std::uint64_t bytes_moved(const Step& step, const Plan& plan, std::span<const Tensor> frame) {
  const auto read = [&](std::size_t begin, std::size_t end) {
    std::uint64_t bytes = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const Tensor& tensor = frame[step.in[i]];
      // A broadcast operand is read many times, but from the cache.
      bytes += std::min<std::uint64_t>(byte_count(tensor.type), tensor.storage->buffer->bytes());
    }
    return bytes;
  };
  return std::visit(Overloaded{
                        [](const ViewStep&) { return std::uint64_t{0}; },
                        [](const ConstantStep&) { return std::uint64_t{0}; },
                        [](const LoopStep&) { return std::uint64_t{0}; },
                        [](const BranchStep&) { return std::uint64_t{0}; },
                        [&](const UpdateStep&) { return 2 * read(1, step.in.size()); },
                        [&](const PutPassStep& put) {
                          const DType dtype = plan.types[step.out[0].slot].dtype;
                          return read(0, put.target()) + byte_count({dtype, put.pass->space});
                        },
                        [&](const auto&) {
                          std::uint64_t bytes = read(0, step.in.size());
                          for (const Output& output : step.out)
                            bytes += byte_count(plan.types[output.slot]);
                          return bytes;
                        },
                    },
                    step.kind);
}

void Profile::collect(const StepBlock& block, std::vector<wire::StepProfile>& out) const {
  for (const Step& step : block.steps) {
    if (const auto found = costs_.find(&step); found != costs_.end()) {
      const Cost& cost = found->second;
      const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(cost.time).count();
      out.push_back(
          {step.path, step.ops, cost.calls, static_cast<std::uint64_t>(time), cost.bytes});
    }
    for_each_region(step, [&](const StepBlock& region) { collect(region, out); });
  }
}

std::vector<wire::StepProfile> Profile::steps(const Plan& plan) const {
  std::vector<wire::StepProfile> steps;
  collect(plan.main, steps);
  // A pass runs after steps that stand between its instructions.
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
