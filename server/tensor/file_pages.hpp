#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace outrigger {

/// Buffers from here on have pages of their own, which a file can be mapped over.
inline constexpr std::size_t own_pages_bytes = std::size_t{256} << 10;

std::size_t page_bytes();

/// Maps bytes [offset, offset + bytes) of a file, which must be there, over the pages at `pages`,
/// privately: what is written there goes to copies of the pages, never to the file. offset is a
/// multiple of page_bytes(), `pages` begins a mapping of at least so many bytes. `fd` is
/// duplicated; `name` is for texts. A page that another process cuts off the file would end this
/// one by SIGBUS: it becomes one of zeros instead, and check_file_pages() tells. Any thread.
/// Errors: io_error, limit_exceeded for too many at once.
Result<void> map_file_pages(std::byte* pages, std::size_t bytes, int fd, std::uint64_t offset,
                            std::string name);

/// Whether a file is mapped at `pages`.
bool has_file_pages(const std::byte* pages);

/// Errors: io_error, if a file was mapped at `pages` and has been cut short since.
Result<void> check_file_pages(const std::byte* pages);

/// Puts anonymous memory where a file was mapped at `pages`, if one was. False if the system
/// refuses: the pages must then not be used any more.
bool unmap_file_pages(std::byte* pages);

}  // namespace outrigger
