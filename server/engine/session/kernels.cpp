#include "engine/session/kernels.hpp"

#include <string>

#include "kernel/check.hpp"

namespace outrigger::engine {

Result<std::shared_ptr<const kernel::Machine>> Kernels::make(kernel::Unit unit) {
  auto checked = kernel::check(std::move(unit));
  if (!checked) {
    kernel::Refusal& refusal = checked.error();
    Error error = fail(ErrorCode::bad_kernel, std::move(refusal.text)).value();
    put_place(error, {std::move(refusal.file), refusal.line});
    return tl::make_unexpected(std::move(error));
  }
  kernel::Machine machine(*checked);
  Kept& kept = memory_.kept();
  machine.compile(*checked, compiler_, kept);
  const std::uint64_t bytes = machine.held_bytes();
  if (!kept.make_room(bytes)) {
    return fail(ErrorCode::limit_exceeded,
                "the kernel takes " + format_bytes(bytes) + ", but the daemon keeps only " +
                    format_bytes(kept.limit()) +
                    " of programs, plans and kernels: make it smaller, or raise the memory limit");
  }
  struct Held {
    kernel::Machine machine;
    Kept::Charge charge;
  };
  const auto held =
      std::make_shared<const Held>(Held{std::move(machine), Kept::Charge(kept, bytes)});
  return std::shared_ptr<const kernel::Machine>(held, &held->machine);
}

/// A refused kernel replaces no kernel, and takes no other one's place.
Result<void> Kernels::define(std::uint64_t id, kernel::Unit unit) {
  auto machine = make(std::move(unit));
  if (!machine) {
    refusals_.emplace_front(id, machine.error());
    if (refusals_.size() > refusals_max) refusals_.pop_back();
    return tl::make_unexpected(std::move(machine).error());
  }
  // The steps that can fail come before the first change.
  std::list<Defined> made;
  made.emplace_front(*this, id);
  made.front().machine = std::move(*machine);
  decltype(index_) place;
  place.emplace(id, made.begin());
  index_.reserve(index_.size() + 1);
  forget(id);
  if (index_.size() >= limits_.kernels_max) forget(by_use_.back().id);
  index_.merge(place);
  by_use_.splice(by_use_.begin(), made);
  memory_.kept().use(by_use_.front());
  return {};
}

void Kernels::forget(std::uint64_t id) {
  refusals_.remove_if([&](const auto& refusal) { return refusal.first == id; });
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  memory_.kept().remove(*found->second);
  const auto place = found->second;
  index_.erase(found);
  by_use_.erase(place);
}

void Kernels::clear() {
  while (!by_use_.empty()) forget(by_use_.back().id);
  refusals_.clear();
}

Result<std::shared_ptr<const kernel::Machine>> Kernels::use(std::uint64_t id) {
  if (const auto found = index_.find(id); found != index_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
    memory_.kept().use(*found->second);
    return found->second->machine;
  }
  for (const auto& [refused, error] : refusals_) {
    if (refused == id) return tl::make_unexpected(error);
  }
  return nullptr;
}

}  // namespace outrigger::engine
