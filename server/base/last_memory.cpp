#include "base/last_memory.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstddef>

namespace outrigger {
namespace {

/// The reserve has space for replies, and for the memory that malloc takes from the system in one
/// step.
constexpr std::size_t kept_bytes = std::size_t{4} << 20;

std::atomic<void*> kept{nullptr};
std::atomic<LastMemory::Trim> trim_more{nullptr};
thread_local int uses = 0;

/// Only the address range counts: the pages are never used.
void take() {
  if (trim_more.load() == nullptr || kept.load() != nullptr) return;
  void* mapped = ::mmap(nullptr, kept_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return;
  void* none = nullptr;
  if (!kept.compare_exchange_strong(none, mapped)) ::munmap(mapped, kept_bytes);
}

bool give_back() {
  void* mapped = kept.exchange(nullptr);
  if (mapped == nullptr) return false;
  ::munmap(mapped, kept_bytes);
  return true;
}

/// operator new calls this function, and tries again when it returns.
void on_no_memory() {
  if (const LastMemory::Trim trim = trim_more.load(); trim != nullptr && trim() > 0) return;
  if (uses > 0 && give_back()) return;
  throw std::bad_alloc();
}

}  // namespace

void LastMemory::install(Trim trim) {
  trim_more.store(trim);
  take();
  std::set_new_handler(on_no_memory);
}

LastMemory::Use::Use() { ++uses; }

LastMemory::Use::~Use() {
  if (--uses == 0) take();
}

}  // namespace outrigger
