#include "engine/programs.hpp"

#include <algorithm>
#include <string>

namespace outrigger::engine {

Result<void> Programs::prepare(std::uint64_t id, Program program) {
  if (auto checked = check_program(program); !checked) {
    // A refused program replaces nothing, and takes no other one's place.
    refusals_.emplace_front(id, checked.error());
    if (refusals_.size() > refusals_max) refusals_.pop_back();
    return checked;
  }
  forget(id);
  if (index_.size() >= limits_.programs_max) forget(by_use_.back().id);
  by_use_.push_front(Prepared{id, std::make_shared<const Program>(std::move(program)), {}});
  index_.emplace(id, by_use_.begin());
  return {};
}

void Programs::forget(std::uint64_t id) {
  refusals_.remove_if([&](const auto& refusal) { return refusal.first == id; });
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  by_use_.erase(found->second);
  index_.erase(found);
}

void Programs::clear() {
  index_.clear();
  by_use_.clear();
  refusals_.clear();
}

Result<std::shared_ptr<const Plan>> Programs::plan(std::uint64_t id,
                                                   std::span<const TensorType> arguments) {
  const auto found = index_.find(id);
  if (found == index_.end()) {
    for (const auto& [refused, error] : refusals_) {
      if (refused == id) return tl::make_unexpected(error);
    }
    return fail(ErrorCode::unknown_program,
                "there is no prepared program " + std::to_string(id) + ": prepare it (again)");
  }
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  auto& plans = found->second->plans;
  const auto fits = [&](const std::shared_ptr<const Plan>& plan) {
    return std::equal(arguments.begin(), arguments.end(), plan->arguments.begin(),
                      plan->arguments.end());
  };
  const auto known = std::find_if(plans.begin(), plans.end(), fits);
  if (known != plans.end()) {
    std::rotate(plans.begin(), known, known + 1);
    return plans.front();
  }
  OUTRIGGER_TRY(auto plan, make_plan(memory_, found->second->program, arguments, threads_));
  if (plans.size() >= limits_.plans_per_program_max) plans.pop_back();
  plans.insert(plans.begin(), plan);
  return plan;
}

}  // namespace outrigger::engine
