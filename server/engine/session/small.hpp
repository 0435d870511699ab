#pragma once

#include <cstdint>

#include "engine/planner/plan.hpp"
#include "engine/session/programs.hpp"
#include "wire/request.hpp"

// Requests that the I/O thread may carry out: some 20 µs at most, planning included.

namespace outrigger::engine {

/// Programs that are forgotten there: to free an instruction takes some 50 ns.
inline constexpr std::uint64_t forgotten_at_once = 256;

/// Whether a run may be small, as far as the numbers of arguments, results and instructions tell.
bool may_be_small(const wire::Run& run);
/// The same of another request, which counts for so many bytes.
bool may_be_small(const decltype(wire::Request::body)& body, std::uint64_t bytes);
/// Whether planning is: an instruction takes about half a microsecond.
bool is_planned_at_once(const Extent& extent);
bool is_small(const Plan& plan);

}  // namespace outrigger::engine
