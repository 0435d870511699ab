#pragma once

#include <cstdint>

namespace outrigger::http {

/// The figures that the system has of this process; 0: it does not tell.
struct ProcessFigures {
  double cpu_seconds = 0;
  double start_seconds = 0;  ///< since 1970
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t descriptors_max = 0;
};

ProcessFigures process_figures();

}  // namespace outrigger::http
