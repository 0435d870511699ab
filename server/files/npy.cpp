#include "files/npy.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "files/c_order.hpp"
#include "files/npy_header.hpp"

namespace outrigger::files {
namespace {

/// The bytes that are read and swapped in one step: they stay in the cache.
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

/// A header and the offset of its data.
struct Preamble {
  NpyHeader header;
  std::uint64_t bytes;
};

tl::unexpected<Error> cut_short(const Source& source) {
  return bad_file(source.name(), "is cut short within the .npy header");
}

/// Reads the version and the header's length. Returns the length.
Result<std::size_t> read_header_length(Source& source, std::uint64_t& position) {
  std::array<unsigned char, 8> start{};
  OUTRIGGER_TRY(const std::size_t count, read_fully(source, start.data(), start.size()));
  const std::string_view found(reinterpret_cast<const char*>(start.data()), count);
  if (!found.starts_with(npy_magic)) {
    return bad_file(source.name(), "is not a .npy file: " + describe_start(found));
  }
  if (count < start.size()) return cut_short(source);
  const unsigned major = start[6];
  if (major < 1 || major > 3 || start[7] != 0) {
    return bad_file(source.name(), "has the .npy format version " + std::to_string(major) + "." +
                                       std::to_string(start[7]) +
                                       "; supported are 1.0, 2.0 and 3.0");
  }
  std::array<unsigned char, 4> length{};
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  OUTRIGGER_TRY(const std::size_t got, read_fully(source, length.data(), length_bytes));
  if (got < length_bytes) return cut_short(source);
  position = start.size() + length_bytes;
  return length[0] | std::size_t{length[1]} << 8U | std::size_t{length[2]} << 16U |
         std::size_t{length[3]} << 24U;
}

Result<Preamble> read_preamble(Source& source) {
  std::uint64_t position = 0;
  OUTRIGGER_TRY(const std::size_t length, read_header_length(source, position));
  if (length > npy_header_bytes_max) {
    return bad_file(source.name(), "has a header of " + std::to_string(length) +
                                       " bytes; at most " + std::to_string(npy_header_bytes_max) +
                                       " are read");
  }
  std::string text(length, '\0');
  OUTRIGGER_TRY(const std::size_t count, read_fully(source, text.data(), length));
  if (count < length) return cut_short(source);
  auto header = parse_npy_header(text);
  if (!header) return bad_file(source.name(), header.error().text);
  return Preamble{*header, position + length};
}

Result<void> check_size(const Source& source, const Preamble& preamble) {
  const auto needed = static_cast<std::uint64_t>(byte_count(preamble.header.type));
  const std::uint64_t present = source.size() - std::min(source.size(), preamble.bytes);
  if (present == needed) return {};
  return bad_file(source.name(), "has " + std::to_string(present) + " bytes of data, but " +
                                     to_string(preamble.header.type) + " takes " +
                                     std::to_string(needed));
}

/// Reads all elements of `tensor`, and checks that the source ends after them.
Result<void> read_elements(Source& source, const Tensor& tensor, bool swapped, const Check& check) {
  const auto bytes = static_cast<std::size_t>(byte_count(tensor.type));
  for (std::size_t done = 0; done < bytes;) {
    OUTRIGGER_CHECK(ask(check));
    const std::span chunk(tensor.data() + done, std::min(chunk_bytes, bytes - done));
    OUTRIGGER_TRY(const std::size_t count, read_fully(source, chunk.data(), chunk.size()));
    if (count < chunk.size()) {
      return bad_file(source.name(), "ends after " + std::to_string(done + count) + " of " +
                                         std::to_string(bytes) + " bytes of data");
    }
    if (swapped) swap_bytes(chunk, tensor.dtype());
    done += chunk.size();
  }
  // A zip member compares its checksum at its end.
  std::byte more{};
  OUTRIGGER_TRY(const std::size_t count, source.read_some(&more, 1));
  if (count > 0) return bad_file(source.name(), "goes on after the array's last element");
  return {};
}

}  // namespace

Result<Tensor> read_npy(Memory& memory, Source& source, const Check& check) {
  OUTRIGGER_TRY(const Preamble preamble, read_preamble(source));
  OUTRIGGER_CHECK(check_size(source, preamble));
  OUTRIGGER_TRY(Tensor tensor, allocate_tensor(memory, preamble.header.type));
  OUTRIGGER_CHECK(read_elements(source, tensor, preamble.header.swapped, check));
  if (!preamble.header.fortran_order) return tensor;
  return c_order_from_fortran(memory, std::move(tensor));
}

Result<Tensor> load_npy(Memory& memory, const std::string& path) {
  OUTRIGGER_TRY(File file, File::open(path));
  return read_npy(memory, file);
}

}  // namespace outrigger::files
