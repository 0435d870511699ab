#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"

namespace outrigger::files {

/// The name, within its folder, of a file that is being written. The process that writes the file
/// holds a lock (flock) on it.
std::string leftover_name(std::uint64_t random);

/// Removes the files with such names that no process has locked: their processes are dead. A file
/// that cannot be examined, locked or removed stays. Errors: those of `check`, which is called
/// between files.
Result<void> remove_leftovers(const std::string& folder, const Check& check);

/// remove_leftovers(), at the first call of this process for the folder only.
Result<void> remove_leftovers_once(const std::string& folder, const Check& check);

}  // namespace outrigger::files
