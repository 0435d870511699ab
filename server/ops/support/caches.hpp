#pragma once

#include <cstddef>

#include "ops/support/export.hpp"

namespace outrigger::ops {

/// The bytes of a core's own last cache, which is the second level, and of the last level of all
/// cores. They are usual sizes if the system does not report them.
OUTRIGGER_EXPORT std::size_t core_cache_bytes();
OUTRIGGER_EXPORT std::size_t last_cache_bytes();

}  // namespace outrigger::ops
