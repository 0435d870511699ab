#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace outrigger {

/// Buffers of this size or more have their own pages, over which a file can be mapped.
inline constexpr std::size_t own_pages_bytes = std::size_t{256} << 10;

std::size_t page_bytes();

/// Maps bytes [offset, offset + bytes) of a file over the pages at `pages`, privately: a write goes
/// to a copy of the page, never to the file. The file must have these bytes. `offset` is a multiple
/// of page_bytes(); `pages` is the beginning of a mapping of at least that many bytes. `fd` is
/// duplicated; `name` is for error texts. If another process cuts a page off the file, an access to
/// it would end this process by SIGBUS. Instead, the page becomes a page of zeros, and
/// check_file_pages() reports the cut. Any thread may call it. Errors: io_error, limit_exceeded if
/// too many files are mapped.
Result<void> map_file_pages(std::byte* pages, std::size_t bytes, int fd, std::uint64_t offset,
                            std::string name);

/// True if a file is mapped at `pages`.
bool has_file_pages(const std::byte* pages);

/// Errors: io_error, if a file was mapped at `pages` and has become shorter since then.
Result<void> check_file_pages(const std::byte* pages);

/// Replaces a file that is mapped at `pages` by anonymous memory; does nothing if there is none.
/// Returns false if the system refuses: the pages must then not be used any more.
bool unmap_file_pages(std::byte* pages);

}  // namespace outrigger
