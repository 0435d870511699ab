#include "files/raw.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "files/file.hpp"
#include "tensor/file_pages.hpp"
#include "tensor/packing.hpp"

namespace outrigger::files {
namespace {

/// The bytes that are read in one step: a whole number of packed elements.
constexpr std::size_t chunk_bytes = std::size_t{1} << 22;

tl::unexpected<Error> cut_short(const std::string& name) {
  return fail(ErrorCode::io_error, name + " became shorter while it was in use");
}

Result<void> read_chunk(const File& file, std::uint64_t offset, std::byte* to, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes;) {
    OUTRIGGER_TRY(const std::size_t count, file.read_at(offset + done, to + done, bytes - done));
    if (count == 0) return cut_short(file.name());
    done += count;
  }
  return {};
}

Result<Tensor> read_packed(Memory& memory, const File& file, const TensorType& type,
                           std::uint64_t offset, const Check& check) {
  OUTRIGGER_TRY(Tensor tensor, allocate_tensor(memory, type));
  const auto bytes = static_cast<std::size_t>(packed_byte_count(type));
  const std::size_t bits = bits_of(type.dtype);
  std::vector<std::uint8_t> packed(bits < 8 ? std::min(bytes, chunk_bytes) : 0);
  for (std::size_t done = 0; done < bytes; done += chunk_bytes) {
    OUTRIGGER_CHECK(ask(check));
    const std::size_t chunk = std::min(chunk_bytes, bytes - done);
    if (bits >= 8) {
      OUTRIGGER_CHECK(read_chunk(file, offset + done, tensor.data() + done, chunk));
      continue;
    }
    OUTRIGGER_CHECK(
        read_chunk(file, offset + done, reinterpret_cast<std::byte*>(packed.data()), chunk));
    const auto first = static_cast<std::int64_t>(done * 8 / bits);
    const std::int64_t n =
        std::min(static_cast<std::int64_t>(chunk * 8 / bits), tensor.size() - first);
    unpack(type.dtype, packed.data(), n, tensor.as<std::uint8_t>() + first);
  }
  return tensor;
}

}  // namespace

Result<Tensor> load_raw(Memory& memory, const std::string& path, const TensorType& type,
                        std::uint64_t offset, const Check& check) {
  OUTRIGGER_TRY(const File file, File::open(path));
  const auto bytes = static_cast<std::uint64_t>(packed_byte_count(type));
  if (offset > file.size() || bytes > file.size() - offset) {
    return bad_file(file.name(), "has " + std::to_string(file.size()) + " bytes, but " +
                                     to_string(type) + " from byte " + std::to_string(offset) +
                                     " on takes " + std::to_string(bytes));
  }
  const std::uint64_t before = offset % page_bytes();
  const std::size_t width = size_of(type.dtype);
  if (bytes < own_pages_bytes || bits_of(type.dtype) < 8 || before % width != 0) {
    return read_packed(memory, file, type, offset, check);
  }
  const auto mapped = static_cast<std::size_t>(before + bytes);
  OUTRIGGER_TRY(Tensor tensor,
                allocate_tensor(memory, {DType::u8, {static_cast<std::int64_t>(mapped)}}));
  OUTRIGGER_CHECK(
      map_file_pages(tensor.data(), mapped, file.descriptor(), offset - before, file.name()));
  tensor.type = type;
  tensor.strides = contiguous_strides(type.shape);
  tensor.offset = static_cast<std::int64_t>(before / width);
  return tensor;
}

Result<void> check_intact(const Tensor& tensor) {
  return check_file_pages(tensor.storage->buffer->data());
}

}  // namespace outrigger::files
