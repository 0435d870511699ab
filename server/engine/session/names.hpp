#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "engine/session/store.hpp"
#include "tensor/memory.hpp"
#include "tensor/tensor.hpp"
#include "wire/buffer.hpp"

namespace outrigger::engine {

/// The tensors that all sessions can open by name, and the sessions that want to hear of them
/// (protocol/NAMES.md). One thread at a time uses it: the one that holds the engine's lock.
///
/// All changes have a place in one sequence, and each subscription has its place there. So a slow
/// subscriber costs no memory, and hears of the last change of each name.
class Names {
 public:
  using Clock = std::chrono::steady_clock;

  /// A published tensor.
  struct Item {
    Stored tensor;
    std::uint64_t version = 0;
    std::optional<Clock::time_point> end = {};
    std::string token = {};
    MemoryCharge charge = {};  ///< of the publisher's memory
  };
  using Items = std::map<std::string, Item, std::less<>>;

  /// A session that hears of names.
  class Subscriber {
   public:
    virtual ~Subscriber() = default;
    /// False if too many frames wait for the client. It then calls deliver_late() when it has room.
    virtual bool has_room() = 0;
    virtual void tell(wire::Frame frame) = 0;
    /// It is to call deliver_late() after the requests of others.
    virtual void wait_for_turn() = 0;
  };

  Names() = default;
  ~Names() { clear(); }
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  struct Publication {
    std::string name;
    std::optional<std::uint64_t> expect = {};  ///< 0: there must be no such name
    std::optional<std::uint64_t> ttl_ms = {};
    std::string token = {};
    Memory& memory;  ///< of the publisher
  };
  /// Errors: version_conflict if the name has not the expected version; 0: there is no such name.
  Result<void> check_version(std::string_view name, std::optional<std::uint64_t> expected);
  /// The new version. `tensor` is a value with a Storage of its own. Errors: version_conflict,
  /// limit_exceeded, out_of_memory; then nothing has changed.
  Result<std::uint64_t> publish(Publication publication, Tensor tensor);
  /// Errors: unknown_name, version_conflict.
  Result<const Item*> find(std::string_view name, std::optional<std::uint64_t> version);
  /// True if there was such a name. Errors: version_conflict.
  Result<bool> unpublish(std::string_view name, std::optional<std::uint64_t> version);

  /// The names in their order, to read on from a place.
  Items::const_iterator from(std::string_view prefix, std::optional<std::string_view> after);
  Items::const_iterator end() const { return items_.end(); }
  std::size_t size() const { return items_.size(); }

  /// A name as it was in an earlier life of the server. Its version is less than the next one.
  struct Former {
    std::string name;
    std::uint64_t version = 0;
    std::optional<std::chrono::milliseconds> left = {};  ///< of its lifetime
    std::string token = {};
  };
  /// The name counts in `memory`. Errors: limit_exceeded, out_of_memory.
  Result<void> restore(Memory& memory, Former former, Tensor tensor);
  /// The next change gets a larger place than this one.
  void go_on_from(std::uint64_t change) { last_change_ = std::max(last_change_, change); }
  const Items& items() const { return items_; }
  std::uint64_t last_change() const { return last_change_; }

  /// Remembers that a program is about to write into a published tensor.
  void note_write(const Storage* storage);
  std::uint64_t writes() const { return writes_; }
  /// True if note_write() was called for it since forget_writes().
  bool was_written(const Storage* storage) const { return written_.contains(storage); }
  void forget_writes() { written_.clear(); }

  void clear();
  /// Takes away the names whose lifetime has ended.
  void expire();
  std::optional<Clock::time_point> next_end() const;
  /// True if expire() has something to do.
  bool due() const { return !ends_.empty() && ends_.begin()->first <= Clock::now(); }

  /// Errors: bad_request, limit_exceeded.
  Result<void> subscribe(Subscriber& subscriber, std::uint64_t number, std::string pattern,
                         bool prefix);
  bool unsubscribe(const Subscriber& subscriber, std::uint64_t number);
  void unsubscribe_all(const Subscriber& subscriber);
  std::size_t subscriptions() const { return subscriptions_.size(); }
  /// Tells the subscribers what has changed. Those without room hear of it later.
  void deliver();
  /// Tells a subscriber that had no room, or waited for its turn, what it has not heard yet.
  void deliver_late(const Subscriber& subscriber);

 private:
  struct Subscription {
    Subscriber* subscriber = nullptr;
    std::uint64_t number = 0;
    std::string pattern;
    bool prefix = false;
    std::uint64_t begin = 0;  ///< the last change before it
    std::uint64_t heard = 0;  ///< all changes up to this one
    bool waits = false;       ///< for deliver_late()

    bool wants(std::string_view name) const;
  };
  /// The publication or the removal of a name; the text is that of the name's item or of `gone_`.
  struct Change {
    const std::string* name = nullptr;
    std::uint64_t version = 0;
    bool removal = false;
  };
  using Ends = std::multimap<Clock::time_point, const std::string*>;

  Result<void> check_room(std::string_view name) const;
  Result<void> put(Memory& memory, std::string text, Item item, Tensor tensor);
  void remove(Items::iterator item);
  void erase(Items::iterator item);
  void forget_end(const Items::value_type& item);
  void forget_removal(std::string_view name);
  void tell(Subscription& subscription);

  Items items_;
  Ends ends_;
  std::uint64_t last_change_ = 0;  ///< a publication's place is its version
  std::map<std::uint64_t, Change> changes_;
  std::map<std::string, std::uint64_t, std::less<>> gone_;  ///< the places of the last removals
  std::set<std::uint64_t> removals_;                        ///< the same places, in their order
  std::vector<Subscription> subscriptions_;
  bool changed_ = false;  ///< … since the last deliver()
  std::unordered_set<const Storage*> written_;
  std::uint64_t writes_ = 0;
};

}  // namespace outrigger::engine
