#include "data/tensor_file.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "data/checksum.hpp"
#include "files/file.hpp"

namespace outrigger::data {
namespace {

/// Read and written at a time, so that the checksum finds the bytes in the processor's cache.
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

std::string header_of(const Entry& entry) {
  return "outrigger tensor 1\nversion " + std::to_string(entry.version) + "\ndtype " +
         std::string(name_of(entry.type.dtype)) + "\nshape " + shape_text(entry.type.shape) +
         "\nbytes " + std::to_string(byte_count(entry.type)) + "\n\n";
}

std::string trailer_of(const std::string& checksum) { return "\nxxh3 " + checksum + "\n"; }

/// True if the next bytes of the file are this text.
Result<bool> continues_with(files::File& file, std::string_view text) {
  std::string found(text.size(), '\0');
  OUTRIGGER_TRY(const std::size_t count, files::read_fully(file, found.data(), found.size()));
  return count == text.size() && found == text;
}

tl::unexpected<Error> damaged(const files::File& file, std::string_view what) {
  return files::bad_file(file.name(), "is damaged: " + std::string(what));
}

}  // namespace

Result<std::string> write_tensor(Disk& disk, const std::string& path, const Entry& entry,
                                 std::span<const std::byte> elements) {
  OUTRIGGER_TRY(const int fd, disk.create(path));
  const OpenFile closed_at_end(disk, fd);
  Checksum checksum;
  const std::string header = header_of(entry);
  checksum.add(header);
  OUTRIGGER_CHECK(disk.append(fd, path, std::as_bytes(std::span(header))));
  while (!elements.empty()) {
    const auto chunk = elements.first(std::min(elements.size(), chunk_bytes));
    checksum.add(chunk);
    OUTRIGGER_CHECK(disk.append(fd, path, chunk));
    elements = elements.subspan(chunk.size());
  }
  const std::string trailer = trailer_of(checksum.text());
  OUTRIGGER_CHECK(disk.append(fd, path, std::as_bytes(std::span(trailer))));
  OUTRIGGER_CHECK(disk.sync(fd, path));
  return checksum.text();
}

Result<Tensor> read_tensor(Memory& memory, const std::string& path, const Entry& entry) {
  OUTRIGGER_TRY(files::File file, files::File::open_own(path));
  const std::string header = header_of(entry);
  const std::string trailer = trailer_of(entry.file.checksum);
  const auto bytes = static_cast<std::uint64_t>(byte_count(entry.type));
  if (file.size() != header.size() + bytes + trailer.size()) {
    return damaged(file, "it has " + std::to_string(file.size()) + " bytes, and " +
                             std::to_string(header.size() + bytes + trailer.size()) +
                             " were written");
  }
  OUTRIGGER_TRY(const bool right_header, continues_with(file, header));
  if (!right_header) return damaged(file, "its header is not that of the tensor");
  OUTRIGGER_TRY(Tensor tensor, allocate_tensor(memory, entry.type));
  Checksum checksum;
  checksum.add(header);
  std::byte* to = tensor.data();
  for (std::uint64_t left = bytes; left > 0;) {
    const auto chunk = static_cast<std::size_t>(std::min<std::uint64_t>(left, chunk_bytes));
    OUTRIGGER_TRY(const std::size_t count, files::read_fully(file, to, chunk));
    if (count != chunk) return damaged(file, "it became shorter while it was read");
    checksum.add(std::span<const std::byte>(to, chunk));
    to += chunk;
    left -= chunk;
  }
  if (checksum.text() != entry.file.checksum)
    return damaged(file, "its elements have another checksum than the manifest says");
  OUTRIGGER_TRY(const bool right_trailer, continues_with(file, trailer));
  if (!right_trailer) return damaged(file, "its last line is not the checksum");
  return tensor;
}

}  // namespace outrigger::data
