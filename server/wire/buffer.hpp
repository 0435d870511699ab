#pragma once

#include <cstdint>
#include <vector>

namespace outrigger::wire {

/// The bytes of one frame, with its length (replies) or without (payloads of requests).
using Frame = std::vector<std::uint8_t>;

}  // namespace outrigger::wire
