#pragma once

#include <cstddef>

#include "ops/support/export.hpp"

namespace outrigger::ops {

/// Bytes of a core's own last cache, the second level, and of the last level of all; usual sizes
/// where the system does not tell.
OUTRIGGER_EXPORT std::size_t core_cache_bytes();
OUTRIGGER_EXPORT std::size_t last_cache_bytes();

}  // namespace outrigger::ops
