// Bytes as the contents of a file → a tensor. For all inputs: there is no crash, an error is one of
// those that load_array() documents, and no memory stays in use. The first byte chooses the member
// of an npz.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "files/array_file.hpp"
#include "tensor/memory.hpp"

namespace {

using namespace outrigger;

constexpr std::uint64_t memory_limit = std::uint64_t{16} << 20;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "files_fuzz: %s\n", what);
  std::abort();
}

volatile std::byte sink{};

void check(const Tensor& tensor) {
  if (!tensor.contiguous()) fail("a loaded tensor is in C order");
  const auto bytes = static_cast<std::size_t>(byte_count(tensor.type));
  if (bytes > memory_limit) fail("a tensor beyond the limit");
  // AddressSanitizer finds memory that is shorter than the type requires.
  if (bytes > 0) sink = tensor.data()[bytes - 1];
}

void check(const Error& error) {
  if (error.code != ErrorCode::bad_file && error.code != ErrorCode::io_error &&
      error.code != ErrorCode::out_of_memory)
    fail("an error of another kind");
  if (error.text.empty() || error.text.size() > 4096) fail("an error's text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int fd = ::memfd_create("files_fuzz", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, data + 1, size - 1) != static_cast<ssize_t>(size - 1))
    fail("no memory for the file");
  std::optional<std::string> member;
  if (data[0] % 4 == 1) member = "a";
  if (data[0] % 4 == 2) member = "b.npy";
  Memory memory(memory_limit);
  {
    const auto tensor = files::load_array(memory, "/proc/self/fd/" + std::to_string(fd), member);
    if (tensor) {
      check(*tensor);
    } else {
      check(tensor.error());
    }
  }
  if (memory.used() != 0) fail("memory in use after the tensor's end");
  ::close(fd);
  return 0;
}
