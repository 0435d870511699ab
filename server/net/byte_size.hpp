#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace outrigger::net {

/// "2GiB", "512MB", "1.5 GiB", "1000" (bytes) or "80%" (of `whole`) as bytes. Units: B, KiB, MiB,
/// GiB, TiB, and KB, MB, GB, TB for powers of 1000; upper or lower case. bad_request otherwise.
Result<std::uint64_t> parse_byte_size(std::string_view text, std::uint64_t whole);

/// The memory that this process may use: the machine's, or less if a control group above it, for
/// instance that of its container, has a limit. `root` is where /proc and /sys are.
std::uint64_t available_memory_bytes(const std::string& root = "/");

}  // namespace outrigger::net
