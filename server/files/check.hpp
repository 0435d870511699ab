#pragma once

#include <functional>

#include "base/error.hpp"

namespace outrigger::files {

/// Asked between chunks of a long read or write: an error (cancelled, deadline_exceeded) ends it.
/// May be null.
using Check = std::function<Result<void>()>;

inline Result<void> ask(const Check& check) { return check ? check() : Result<void>{}; }

}  // namespace outrigger::files
