#include "engine/executor/run_checks.hpp"

#ifndef NDEBUG

#include <algorithm>
#include <cassert>
#include <variant>
#include <vector>

#include "engine/executor/writable.hpp"

namespace outrigger::engine {
namespace {

std::uint64_t capacity_of(const Tensor& tensor) {
  return Memory::capacity_of(tensor.storage->buffer->bytes());
}

/// True if each element of the window is in its buffer.
bool in_buffer(const Tensor& tensor) {
  if (tensor.size() == 0) return true;
  std::int64_t first = tensor.offset;
  std::int64_t last = tensor.offset;
  for (std::size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    const std::int64_t reach = (tensor.shape()[axis] - 1) * tensor.strides[axis];
    (reach < 0 ? first : last) += reach;
  }
  const auto width = static_cast<std::int64_t>(size_of(tensor.dtype()));
  return first >= 0 &&
         (last + 1) * width <= static_cast<std::int64_t>(tensor.storage->buffer->bytes());
}

/// The ownership of a result after the step.
struct OwnershipCheck {
  const Step& step;
  std::span<const Tensor> frame;
  const Tensor& result;

  void operator()(const source::Fresh&) const { owned(); }
  void operator()(const source::Donated&) const { owned(); }
  void operator()(const source::Copied&) const { owned(); }
  void operator()(const source::Written&) const {
    assert(result.storage->buffer->unique() && "another value sees what a step wrote in place");
    assert(!repeats_elements(result) && "a step wrote two positions that are one element");
  }
  void operator()(const source::Viewed&) const { apart(); }
  void operator()(const source::Reshaped&) const { apart(); }
  void operator()(const source::Repeated&) const { apart(); }
  void operator()(const source::Aliased&) const {
    const Tensor& base = frame[step.in[0]];
    assert((ends_in(step, step.in[0]) || result.storage == base.storage) &&
           "a mutable view lost the storage of its operand");
  }
  /// A region may hand over a value that others see, too.
  void operator()(const source::HandedOver&) const {}

  void owned() const {
    assert(result.unique() && "another value sees the memory that a result took");
    assert(result.contiguous() && "a result of a kernel is not in C order");
  }
  /// A value that is a view has a storage of its own.
  void apart() const {
    assert(result.storage->unique() && "a value that is a view shares its storage");
  }
};

}  // namespace

RunChecks::RunChecks(const ops::Context& context, const Plan& plan, std::span<const Tensor> frame)
    : memory_(context.memory), plan_(plan), used_before_(memory_.used()) {
  context.memory.reset_watermark();
  assert(frame.size() == plan.types.size());
  PlanningSteps unwatched(nullptr);
  find_peak(plan, std::vector<ArgumentLayout>(plan.argument_count()), context.threads, unwatched,
            &peaks_);
  auto number = plan.numbers.begin();
  for (std::size_t i = 0; i < plan.argument_count(); ++i) {
    const Tensor& argument = frame[plan.main.params[i]];
    if (number != plan.numbers.end() && number->first == i) {
      assert(!argument.storage && "an argument is a tensor, but the plan is for a number");
      ++number;
      continue;
    }
    assert(argument.storage && argument.type == plan.argument(i) && in_buffer(argument) &&
           "an argument is not of the type that the plan is for");
    if (!plan.written[i]) continue;
    // Beside the planned copies: one for other handles or the undo log, one for repeated elements.
    const std::uint64_t bytes = std::max<std::uint64_t>(
        capacity_of(argument),
        Memory::capacity_of(static_cast<std::size_t>(byte_count(argument.type))));
    for (std::uint32_t copy = 0; copy < plan.peak.argument_copies[i] + 2; ++copy)
      copies_ = saturating_add(copies_, bytes);
  }
}

void RunChecks::after(const Step& step, std::span<const Tensor> frame) {
  for (const Slot slot : step.in)
    assert((ends_in(step, slot) || frame[slot].storage) && "a step lost an operand");
  for (const Output& output : step.out) {
    if (ends_in(step, output.slot)) continue;
    const Tensor& result = frame[output.slot];
    assert(result.storage && result.storage->buffer && "a step gave no result");
    assert(result.type == plan_.types[output.slot] && "a result has not the planned type");
    assert(in_buffer(result) && "a result lies outside of its buffer");
    std::visit(OwnershipCheck{step, frame, result}, output.source);
  }
  // The meter gives up, and its peak has no bound, before it comes to a step that is missing here.
  const auto planned = peaks_.find(&step);
  peak_ = std::max(peak_, planned == peaks_.end() ? ~std::uint64_t{0} : planned->second);
  const std::uint64_t most = saturating_add(used_before_, saturating_add(copies_, peak_));
  assert(memory_.watermark() - memory_.foreign() <= most &&
         "the run has taken more memory than the plan says");
}

void RunChecks::at_end(const Outcome& outcome, std::span<const StoragePtr> arguments) const {
  std::uint64_t kept = used_before_;
  for (const Tensor& result : outcome.results) kept = saturating_add(kept, capacity_of(result));
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (plan_.written[i] && arguments[i])
      kept = saturating_add(kept, Memory::capacity_of(arguments[i]->buffer->bytes()));
  }
  assert(memory_.used() - memory_.foreign() <= kept && "a run left memory behind");
}

}  // namespace outrigger::engine

#endif
