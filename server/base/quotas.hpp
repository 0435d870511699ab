#pragma once

#include <cstdint>

namespace outrigger {

/// The most that the sessions of one token may have together, and their share of the engine's time.
/// 0 is no quota. protocol/SOCKETS.md describes each.
struct Quotas {
  static constexpr std::uint32_t usual_priority = 10;
  static constexpr std::uint32_t priority_max = 1000;
  static constexpr double seconds_max = 60;

  std::uint64_t bytes = 0;     ///< of tensors and temporaries
  std::uint64_t handles = 0;   ///< of tensors and unfinished uploads
  std::uint64_t programs = 0;  ///< prepared ones
  std::uint64_t sessions = 0;
  double seconds = 0;  ///< of the engine's time, in a minute
  std::uint32_t priority = usual_priority;
};

}  // namespace outrigger
