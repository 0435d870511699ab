#pragma once

#include <cstdint>

#include "engine/planner/plan.hpp"
#include "engine/session/programs.hpp"
#include "engine/session/requests.hpp"

// Requests that the I/O thread may carry out: some 20 µs at most, planning included. And those that
// the engine's thread may carry out in the middle of another session's program: a millisecond.

namespace outrigger::engine {

/// How large a small request may be: the planner's work of its program, the bytes of its data.
struct Bounds {
  std::uint64_t work = 4096;
  std::uint64_t bytes = std::uint64_t{256} << 10;
  /// There is another time for it: it waits, and does not fail, if it lacks memory now.
  bool may_wait = false;
};
inline constexpr Bounds at_once{};
inline constexpr Bounds as_guest{std::uint64_t{1} << 17, std::uint64_t{2} << 20, true};

/// True if a request may be small, as far as its numbers of handles, instructions and bytes tell.
/// `bytes` are those of its frame and of its reply; `programs` are those of its session.
bool may_be_small(const RequestBody& body, std::uint64_t bytes, const Programs& programs,
                  const Bounds& bounds);
/// True if the planner needs little time for a program: an instruction takes half a microsecond.
bool is_planned_at_once(const Extent& extent);
inline bool is_small(const Plan& plan, const Bounds& bounds) { return plan.work <= bounds.work; }

}  // namespace outrigger::engine
