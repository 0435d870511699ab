#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"

namespace outrigger::files {

/// The name, within its folder, of a file that is being written. Whoever writes it holds a lock
/// (flock) on it.
std::string leftover_name(std::uint64_t random);

/// Removes the files of such names that nobody has locked: their processes are dead. What cannot
/// be looked at, locked or removed stays. Errors: those of `check`, which is asked between files.
Result<void> remove_leftovers(const std::string& folder, const Check& check);

/// As remove_leftovers(), the first time that this process asks for the folder.
Result<void> remove_leftovers_once(const std::string& folder, const Check& check);

}  // namespace outrigger::files
