#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"

namespace outrigger::sandbox {

struct Paths {
  std::vector<std::string> read;   ///< files, or folders with all that is below them
  std::vector<std::string> write;  ///< folders; files in them are also made, renamed and removed
  std::string program;             ///< the only one that may be executed; empty: none
};

/// From now on, this thread and all threads and processes that it starts reach only the files of
/// `paths`, the libraries of the system, and a few files about the machine. They connect to no TCP
/// address (Linux 6.7). A path that does not exist is left out. It is called before there is
/// another thread. Returns for example "Landlock 4". Errors: internal, with the reason why this
/// kernel does not do it.
Result<std::string> restrict_files(const Paths& paths);

}  // namespace outrigger::sandbox
