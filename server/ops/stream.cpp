#include "ops/stream.hpp"

#include <fstream>

namespace outrigger::ops {

std::size_t stream_bytes_min() {
  static const std::size_t bytes = [] {
    // sysconf(_SC_LEVEL3_CACHE_SIZE) counts a cache for each of a virtual machine's processors.
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    std::size_t kibibytes = 0;
    constexpr std::size_t if_unknown = std::size_t{32} << 10;
    if (!(file >> kibibytes) || kibibytes == 0) kibibytes = if_unknown;
    return kibibytes << 10;
  }();
  return bytes;
}

}  // namespace outrigger::ops
