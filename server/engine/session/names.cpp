#include "engine/session/names.hpp"

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

#include "base/last_memory.hpp"
#include "wire/reply.hpp"

namespace outrigger::engine {
namespace {

/// The nodes of the maps for one name, beside its tensor and its text.
constexpr std::uint64_t item_bytes = 256;

/// Events of one subscription, before others have their turn.
constexpr std::size_t events_of_a_turn = 1000;

std::uint64_t held_bytes(const std::string& name, const Names::Item& item) {
  return item_bytes + name.capacity() + item.token.capacity() +
         Stored::held_bytes(item.tensor.rank());
}

/// The end of a lifetime. A very long one ends after some hundred years: no clock overflows.
Names::Clock::time_point end_after(std::uint64_t ttl_ms) {
  constexpr std::uint64_t most = 1ULL << 42;
  return Names::Clock::now() + std::chrono::milliseconds(std::min(ttl_ms, most));
}

}  // namespace

Result<void> Names::check_version(std::string_view name, std::optional<std::uint64_t> expected) {
  expire();
  if (!expected) return {};
  const auto found = items_.find(name);
  const std::uint64_t version = found == items_.end() ? 0 : found->second.version;
  if (version == *expected) return {};
  const std::string shown = "\"" + std::string(name) + "\"";
  if (version == 0) {
    return fail(ErrorCode::version_conflict, "no tensor is published as " + shown + ", version " +
                                                 std::to_string(*expected) + " was expected");
  }
  return fail(ErrorCode::version_conflict,
              shown + " has version " + std::to_string(version) + ", " +
                  (*expected == 0 ? std::string("no such name was expected")
                                  : "version " + std::to_string(*expected) + " was expected"));
}

Result<void> Names::check_room(std::string_view name) const {
  if (items_.size() < Limits::names_max || items_.contains(name)) return {};
  return fail(ErrorCode::limit_exceeded,
              "there are " + std::to_string(items_.size()) + " names, the most that there may be");
}

Result<std::uint64_t> Names::publish(Publication publication, Tensor tensor) {
  OUTRIGGER_CHECK(check_version(publication.name, publication.expect));
  OUTRIGGER_CHECK(check_room(publication.name));
  Item item;
  item.version = last_change_ + 1;
  item.token = std::move(publication.token);
  if (publication.ttl_ms) item.end = end_after(*publication.ttl_ms);
  OUTRIGGER_CHECK(
      put(publication.memory, std::move(publication.name), std::move(item), std::move(tensor)));
  return last_change_;
}

Result<void> Names::restore(Memory& memory, Former former, Tensor tensor) {
  OUTRIGGER_CHECK(check_room(former.name));
  Item item;
  item.version = former.version;
  item.token = std::move(former.token);
  if (former.left) item.end = end_after(static_cast<std::uint64_t>(former.left->count()));
  return put(memory, std::move(former.name), std::move(item), std::move(tensor));
}

/// Replaces the item of that name, if there is one. After an error nothing has changed.
Result<void> Names::put(Memory& memory, std::string text, Item item, Tensor tensor) {
  // All that can fail for want of memory comes first.
  const std::uint64_t version = item.version;
  item.tensor = Stored(tensor.shape().size());
  OUTRIGGER_TRY(item.charge, MemoryCharge::make(memory, held_bytes(text, item)));
  Items fresh;
  const auto made = fresh.emplace(std::move(text), std::move(item)).first;
  const std::string* name = &made->first;
  std::map<std::uint64_t, Change> change;
  change.emplace(version, Change{name, version, false});
  Ends end;
  if (made->second.end) end.emplace(*made->second.end, name);

  tensor.storage->published = true;
  made->second.tensor.set(std::move(tensor));
  if (const auto old = items_.find(*name); old != items_.end()) erase(old);
  // A subscriber that has not heard of the removal hears of the publication.
  forget_removal(*name);
  items_.merge(fresh);
  changes_.merge(change);
  ends_.merge(end);
  last_change_ = std::max(last_change_, version);
  changed_ = true;
  return {};
}

/// Forgets a name and its publication.
void Names::erase(Items::iterator item) {
  written_.erase(item->second.tensor.storage().get());
  changes_.erase(item->second.version);
  forget_end(*item);
  items_.erase(item);
}

void Names::note_write(const Storage* storage) {
  written_.insert(storage);
  ++writes_;
}

Result<const Names::Item*> Names::find(std::string_view name,
                                       std::optional<std::uint64_t> version) {
  expire();
  const auto found = items_.find(name);
  if (found == items_.end()) {
    return fail(ErrorCode::unknown_name, "no tensor is published as \"" + std::string(name) + "\"");
  }
  OUTRIGGER_CHECK(check_version(name, version));
  return &found->second;
}

Result<bool> Names::unpublish(std::string_view name, std::optional<std::uint64_t> version) {
  OUTRIGGER_CHECK(check_version(name, version));
  const auto found = items_.find(name);
  if (found == items_.end()) return false;
  remove(found);
  return true;
}

/// Takes a name away, and remembers that for the subscribers.
void Names::remove(Items::iterator item) {
  if (removals_.size() >= Limits::removals_kept) {
    // Only a subscriber without room does not hear of the oldest removal.
    deliver();
    forget_removal(*changes_.at(*removals_.begin()).name);
  }
  const std::uint64_t place = last_change_ + 1;
  with_last_memory([&] {
    decltype(gone_) gone;
    const auto text = gone.emplace(item->first, place).first;
    decltype(changes_) change;
    change.emplace(place, Change{&text->first, item->second.version, true});
    removals_.insert(place);
    gone_.merge(gone);
    changes_.merge(change);
  });
  last_change_ = place;
  erase(item);
  changed_ = true;
}

void Names::forget_removal(std::string_view name) {
  const auto gone = gone_.find(name);
  if (gone == gone_.end()) return;
  changes_.erase(gone->second);
  removals_.erase(gone->second);
  gone_.erase(gone);
}

void Names::forget_end(const Items::value_type& item) {
  if (!item.second.end) return;
  const auto [first, last] = ends_.equal_range(*item.second.end);
  const auto own =
      std::find_if(first, last, [&](const auto& end) { return end.second == &item.first; });
  assert(own != last && "the end of a lifetime is not in the list");
  ends_.erase(own);
}

void Names::expire() {
  if (ends_.empty()) return;
  const auto now = Clock::now();
  while (!ends_.empty() && ends_.begin()->first <= now) remove(items_.find(*ends_.begin()->second));
}

std::optional<Names::Clock::time_point> Names::next_end() const {
  if (ends_.empty()) return std::nullopt;
  return ends_.begin()->first;
}

Names::Items::const_iterator Names::from(std::string_view prefix,
                                         std::optional<std::string_view> after) {
  expire();
  if (after && *after >= prefix) return items_.upper_bound(*after);
  return items_.lower_bound(prefix);
}

bool Names::Subscription::wants(std::string_view name) const {
  return prefix ? name.starts_with(pattern) : name == pattern;
}

Result<void> Names::subscribe(Subscriber& subscriber, std::uint64_t number, std::string pattern,
                              bool prefix) {
  std::size_t own = 0;
  for (const Subscription& other : subscriptions_) {
    if (other.subscriber != &subscriber) continue;
    ++own;
    if (other.number == number) {
      return fail(ErrorCode::bad_request, "subscribe: the session has a subscription " +
                                              std::to_string(number) + " already");
    }
  }
  if (own >= Limits::subscriptions_max) {
    return fail(ErrorCode::limit_exceeded, "the session has " + std::to_string(own) +
                                               " subscriptions, the most that it may have");
  }
  subscriptions_.push_back({&subscriber, number, std::move(pattern), prefix, last_change_});
  changed_ = true;
  return {};
}

bool Names::unsubscribe(const Subscriber& subscriber, std::uint64_t number) {
  return std::erase_if(subscriptions_, [&](const Subscription& subscription) {
           return subscription.subscriber == &subscriber && subscription.number == number;
         }) != 0;
}

void Names::unsubscribe_all(const Subscriber& subscriber) {
  std::erase_if(subscriptions_, [&](const Subscription& subscription) {
    return subscription.subscriber == &subscriber;
  });
}

void Names::deliver() {
  if (!changed_) return;
  changed_ = false;
  for (Subscription& subscription : subscriptions_) {
    if (!subscription.waits) tell(subscription);
  }
}

void Names::deliver_late(const Subscriber& subscriber) {
  for (Subscription& subscription : subscriptions_) {
    if (subscription.waits && subscription.subscriber == &subscriber) tell(subscription);
  }
}

void Names::tell(Subscription& subscription) {
  subscription.waits = false;
  std::size_t told = 0;
  for (auto next = changes_.upper_bound(subscription.heard); next != changes_.end(); ++next) {
    const auto& [place, change] = *next;
    // The first events are those of the names that there are, not of those that are gone.
    const bool early = change.removal && place <= subscription.begin;
    if (subscription.wants(*change.name) && !early) {
      subscription.waits = !subscription.subscriber->has_room() || told == events_of_a_turn;
      if (told == events_of_a_turn) subscription.subscriber->wait_for_turn();
      if (subscription.waits) return;
      try {
        subscription.subscriber->tell(
            wire::encode_event(change.removal ? "unpublished" : "published", subscription.number,
                               *change.name, change.version));
      } catch (const std::bad_alloc&) {
        // An event can wait: the next request tries again.
        changed_ = true;
        return;
      }
      ++told;
    }
    subscription.heard = place;
  }
  subscription.heard = last_change_;
}

void Names::clear() {
  subscriptions_.clear();
  changes_.clear();
  ends_.clear();
  gone_.clear();
  removals_.clear();
  items_.clear();
}

}  // namespace outrigger::engine
