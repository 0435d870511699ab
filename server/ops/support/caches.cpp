#include "ops/support/caches.hpp"

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace outrigger::ops {
namespace {

/// sysconf(_SC_LEVEL3_CACHE_SIZE) counts one cache for each processor of a virtual machine.
std::size_t cache_bytes(int level, std::size_t if_unknown) {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
  std::size_t kibibytes = 0;
  return file >> kibibytes && kibibytes > 0 ? kibibytes << 10 : if_unknown;
}

}  // namespace

std::size_t core_cache_bytes() {
  static const std::size_t bytes = cache_bytes(2, std::size_t{1} << 20);
  return bytes;
}

std::size_t last_cache_bytes() {
  // A virtual machine shares its processor's cache with others.
  static const std::size_t share = std::size_t{16} << 20;
  static const std::size_t bytes =
      std::min(cache_bytes(3, std::size_t{32} << 20),
               share * std::max(1U, std::thread::hardware_concurrency()));
  return bytes;
}

}  // namespace outrigger::ops
