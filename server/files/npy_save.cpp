#include <algorithm>
#include <cassert>
#include <span>

#include "files/new_file.hpp"
#include "files/npy.hpp"
#include "files/npy_header.hpp"

namespace outrigger::files {
namespace {

/// The bytes that are written between two calls of the check.
constexpr std::size_t chunk_bytes = std::size_t{1} << 24;

}  // namespace

Result<void> save_npy(const Tensor& tensor, const std::string& path, const Check& check) {
  assert(tensor.contiguous());
  OUTRIGGER_TRY(const std::string preamble, npy_preamble(tensor.type));
  OUTRIGGER_TRY(NewFile file, NewFile::create(path, check));
  OUTRIGGER_CHECK(file.write(0, std::as_bytes(std::span(preamble))));
  const std::span data(tensor.data(), static_cast<std::size_t>(byte_count(tensor.type)));
  for (std::size_t done = 0; done < data.size(); done += chunk_bytes) {
    OUTRIGGER_CHECK(ask(check));
    const auto chunk = data.subspan(done, std::min(chunk_bytes, data.size() - done));
    OUTRIGGER_CHECK(file.write(preamble.size() + done, chunk));
  }
  return file.commit();
}

}  // namespace outrigger::files
