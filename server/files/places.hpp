#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"

namespace outrigger::files {

/// From now on, the files that requests name lie in these folders (absolute paths) or below them:
/// File::open() and NewFile::create() refuse all others. Without folders they refuse every file. It
/// is called before there is another thread. Errors: bad_file, io_error.
Result<void> allow_only(const std::vector<std::string>& folders);

/// Takes the last allow_only() back. For tests.
void allow_all();

/// True after allow_only().
bool is_confined();

/// Opens a path as open(2) does. The kernel resolves it within its folder (openat2,
/// RESOLVE_BENEATH): neither `..`, nor symbolic links, nor a rename at the same time lead out.
/// Returns the descriptor. Errors: forbidden (the path is not in a folder that is allowed);
/// io_error `cannot <verb> <path>`.
Result<int> open_in_place(const std::string& path, int flags, const char* verb);

}  // namespace outrigger::files
