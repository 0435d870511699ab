#pragma once

#include <cstdint>
#include <vector>

namespace outrigger::wire {

/// The bytes of one frame: a reply with its length, or the payload of a request without it.
using Frame = std::vector<std::uint8_t>;

}  // namespace outrigger::wire
