#pragma once

#include <cstdint>

#include "engine/planner/plan.hpp"
#include "engine/session/programs.hpp"
#include "engine/session/requests.hpp"

// Requests that the I/O thread may carry out: some 20 µs at most, planning included.

namespace outrigger::engine {

/// True if a request may be small, as far as its numbers of handles, instructions and bytes tell.
/// `bytes` are those of its frame and of its reply; `programs` are those of its session.
bool may_be_small(const RequestBody& body, std::uint64_t bytes, const Programs& programs);
/// True if the planner needs little time for a program: an instruction takes half a microsecond.
bool is_planned_at_once(const Extent& extent);
bool is_small(const Plan& plan);

}  // namespace outrigger::engine
