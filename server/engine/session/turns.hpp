#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>

namespace outrigger::engine {

/// The order in which sessions get the engine. Next is the group (the sessions of a token) that has
/// had the least time for its priority, and in it the party (a session) that has had the least.
///
/// Each has a virtual time: the time that it has had, divided by the priority of its group. One
/// that comes back after it had nothing to do begins at the virtual time of the one that was served
/// last, and so brings no credit. This is start-time fair queueing (Goyal, Vin and Cheng, 1996) on
/// two levels; Linux shares its processors by the same rule.
///
/// The caller has a lock. The first of equals is the one that came first.
class Turns {
 public:
  using Virtual = std::uint64_t;
  class Party;
  using PartyPtr = std::shared_ptr<Party>;
  using Waiting = std::multimap<Virtual, PartyPtr>;

  /// Must outlive its parties, and the order that they are in.
  class Group {
   public:
    explicit Group(std::uint32_t priority) : priority_(priority) {}
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

   private:
    friend class Turns;
    const std::uint32_t priority_;
    Virtual had_ = 0;
    Virtual floor_ = 0;  ///< for parties that come
    Waiting waiting_;
    std::multimap<Virtual, Group*>::iterator place_;  ///< if any party waits
  };

  class Party {
   public:
    explicit Party(Group& group) : group_(&group) {}
    Party(const Party&) = delete;
    Party& operator=(const Party&) = delete;

   protected:
    ~Party() = default;

   private:
    friend class Turns;
    Group* const group_;
    Virtual had_ = 0;
    bool waits_ = false;
    Waiting::iterator place_;  ///< if it waits
  };

  bool empty() const { return groups_.empty(); }
  /// The party, which does not wait yet, waits for its turn.
  void add(const PartyPtr& party);
  /// The next one, which waits no more; null if none waits.
  PartyPtr take();
  /// The same, but null unless the next one has had less than the party that is being served.
  PartyPtr take_before(const Party& served);
  /// The party has had this time.
  void use(Party& party, std::chrono::nanoseconds time);
  void clear();

 private:
  PartyPtr take_first(Group& group);
  void place(Group& group);

  std::multimap<Virtual, Group*> groups_;
  Virtual floor_ = 0;
};

}  // namespace outrigger::engine
