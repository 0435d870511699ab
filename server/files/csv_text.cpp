#include "files/csv_text.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "tensor/file_pages.hpp"

namespace outrigger::files {
namespace {

/// The bytes of pages that are given back in one step.
constexpr std::size_t released_bytes = std::size_t{1} << 20;
constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

}  // namespace

Result<Text> Text::map(const File& file) {
  const auto bytes = static_cast<std::size_t>(file.size());
  void* const pages =
      ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return io_failure("map", file.name(), errno);
  Text text(static_cast<std::byte*>(pages), bytes);
  OUTRIGGER_CHECK(map_file_pages(text.pages_, bytes, file.descriptor(), 0, file.name()));
  return text;
}

Text::~Text() {
  if (pages_ == nullptr) return;
  unmap_file_pages(pages_);
  ::munmap(pages_, bytes_);
}

Result<void> Text::check() const { return check_file_pages(pages_); }

bool Stop::ask() {
  if (raised()) return true;
  Result<void> asked = files::ask(check_);
  if (asked) return false;
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(asked).error();
  raised_.store(true, std::memory_order_relaxed);
  return true;
}

Result<void> Stop::result() const {
  const std::lock_guard lock(mutex_);
  if (error_) return tl::make_unexpected(*error_);
  return {};
}

bool Scan::step(const char* at) {
  passed_ = 0;
  if (at < read_) read_ = at;
  if (const auto read = static_cast<std::size_t>(at - read_); read >= released_bytes) {
    release({read_, read});
    read_ = at;
  }
  ended_ = ended_ || stop_.ask();
  return !ended_;
}

void Scan::release(std::string_view read) const {
  const std::size_t page = page_bytes();
  const auto address = reinterpret_cast<std::uintptr_t>(read.data());
  // A read of one page can bring back the pages before it in the same huge page.
  const auto before =
      std::min(static_cast<std::size_t>(read.data() - text_.data()), huge_page_bytes);
  const std::uintptr_t begin = (address - before) / page * page;
  const std::uintptr_t end = (address + read.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace outrigger::files
