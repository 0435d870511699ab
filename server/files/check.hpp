#pragma once

#include <functional>

#include "base/error.hpp"

namespace outrigger::files {

/// A function that long reads and writes call between chunks. Its error (cancelled,
/// deadline_exceeded) ends the operation. It may be null.
using Check = std::function<Result<void>()>;

inline Result<void> ask(const Check& check) { return check ? check() : Result<void>{}; }

}  // namespace outrigger::files
