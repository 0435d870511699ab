#include "engine/session/turns.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace outrigger::engine {
namespace {

/// A nanosecond of a party whose group has the priority 1. 2^64 of them are some decades.
constexpr Turns::Virtual unit = 16;

}  // namespace

void Turns::add(const PartyPtr& party) {
  assert(!party->waits_ && "a party waits twice");
  Group& group = *party->group_;
  const bool first = group.waiting_.empty();
  const Virtual had = std::max(party->had_, group.floor_);
  party->place_ = group.waiting_.emplace(had, party);
  try {
    if (first) place(group);
  } catch (...) {
    group.waiting_.erase(party->place_);
    throw;
  }
  party->had_ = had;
  party->waits_ = true;
}

void Turns::place(Group& group) {
  const Virtual had = std::max(group.had_, floor_);
  group.place_ = groups_.emplace(had, &group);
  group.had_ = had;
}

Turns::PartyPtr Turns::take_first(Group& group) {
  const auto first = group.waiting_.begin();
  PartyPtr party = std::move(first->second);
  group.waiting_.erase(first);
  party->waits_ = false;
  group.floor_ = std::max(group.floor_, party->had_);
  floor_ = std::max(floor_, group.had_);
  if (group.waiting_.empty()) groups_.erase(group.place_);
  return party;
}

Turns::PartyPtr Turns::take() {
  return groups_.empty() ? nullptr : take_first(*groups_.begin()->second);
}

Turns::PartyPtr Turns::take_before(const Party& served) {
  if (groups_.empty()) return nullptr;
  Group& group = *groups_.begin()->second;
  const bool earlier = &group == served.group_ ? group.waiting_.begin()->first < served.had_
                                               : group.had_ < served.group_->had_;
  return earlier ? take_first(group) : nullptr;
}

void Turns::use(Party& party, std::chrono::nanoseconds time) {
  Group& group = *party.group_;
  const Virtual had = static_cast<Virtual>(std::max<std::int64_t>(time.count(), 0)) * unit;
  party.had_ += had;
  group.had_ += had / group.priority_;
  if (party.waits_) {
    auto node = group.waiting_.extract(party.place_);
    node.key() = party.had_;
    party.place_ = group.waiting_.insert(std::move(node));
  }
  if (group.waiting_.empty()) return;
  auto node = groups_.extract(group.place_);
  node.key() = group.had_;
  group.place_ = groups_.insert(std::move(node));
}

void Turns::clear() {
  for (const auto& [had, group] : groups_) group->waiting_.clear();
  groups_.clear();
}

}  // namespace outrigger::engine
