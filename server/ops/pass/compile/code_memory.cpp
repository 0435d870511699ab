#include "ops/pass/compile/code_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "ops/pass/compile/status.hpp"

namespace outrigger::ops {
namespace {

std::atomic<std::uint64_t> used{0};

std::size_t in_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

/// Returns null, and sets errno, if the system refuses.
void* map_code(std::size_t bytes, const std::function<void(std::span<std::uint8_t>)>& fill) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  fill({static_cast<std::uint8_t*>(data), bytes});
  if (::mprotect(data, bytes, PROT_READ | PROT_EXEC) == 0) return data;
  const int error = errno;
  ::munmap(data, bytes);
  errno = error;
  return nullptr;
}

}  // namespace

std::optional<CodePages> CodePages::make(std::span<const std::uint8_t> code, Kept& kept) {
  return make(code.size(), kept, [code](std::span<std::uint8_t> to) {
    std::copy(code.begin(), code.end(), to.begin());
  });
}

std::optional<CodePages> CodePages::make(std::size_t size, Kept& kept,
                                         const std::function<void(std::span<std::uint8_t>)>& fill) {
  const std::size_t bytes = in_pages(size);
  if (!kept.make_room(bytes)) return std::nullopt;
  void* data = map_code(bytes, fill);
  if (data == nullptr) return std::nullopt;
  used.fetch_add(bytes);
  return CodePages(data, bytes, kept);
}

CodePages::~CodePages() {
  if (data_ == nullptr) return;
  ::munmap(data_, bytes_);
  used.fetch_sub(bytes_);
}

std::uint64_t code_bytes() { return used.load(); }

std::string_view executable_memory_refused() {
  static const std::string reason = [] {
    constexpr std::uint8_t ret = 0xc3;
    const std::size_t bytes = in_pages(sizeof ret);
    void* data = map_code(bytes, [](std::span<std::uint8_t> to) { to[0] = ret; });
    if (data == nullptr) return std::string(std::strerror(errno));
    ::munmap(data, bytes);
    return std::string();
  }();
  return reason;
}

}  // namespace outrigger::ops
