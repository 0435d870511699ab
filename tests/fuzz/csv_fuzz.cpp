// Bytes as a file of numbers → a tensor. For all inputs: there is no crash, an error is one of
// those that load_csv() documents, the numbers of lines and columns are those of a simple count,
// and no memory stays in use. The first byte chooses dtype, separator and header.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "files/csv.hpp"

namespace {

using namespace outrigger;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "csv_fuzz: %s\n", what);
  std::abort();
}

/// The number of lines that are not blank; a line with a separator is not blank.
std::int64_t rows_of(std::string_view text, char separator) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::int64_t rows = 0;
  bool blank = true;
  for (const char c : text) {
    if (c == '\n') {
      rows += blank ? 0 : 1;
      blank = true;
    } else {
      blank = blank && c != separator && (c == ' ' || c == '\t' || c == '\r');
    }
  }
  return rows + (blank ? 0 : 1);
}

Result<void> one_after_the_other(std::int64_t n, const std::function<void(std::int64_t)>& f) {
  for (std::int64_t i = 0; i < n; ++i) f(i);
  return {};
}

void check(const Tensor& tensor, std::string_view text, const files::CsvOptions& options) {
  const std::int64_t rows = rows_of(text, options.separator) - (options.header ? 1 : 0);
  // Names in quotes may contain line ends.
  const bool lines_join = options.header && text.find('"') != std::string_view::npos;
  if (lines_join ? tensor.shape()[0] > rows : tensor.shape()[0] != rows)
    fail("another number of lines");
  if (tensor.shape()[1] < 1) fail("no columns");
}

void check(const Error& error) {
  if (error.code != ErrorCode::bad_file && error.code != ErrorCode::io_error &&
      error.code != ErrorCode::bad_dtype && error.code != ErrorCode::out_of_memory)
    fail("an error of another kind");
  if (error.text.empty() || error.text.size() > 4096) fail("an error's text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int fd = ::memfd_create("csv_fuzz", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, data + 1, size - 1) != static_cast<ssize_t>(size - 1))
    fail("no memory for the file");
  files::CsvOptions options;
  options.dtype = all_dtypes.at(data[0] % dtype_count);
  options.header = data[0] >= 128;
  options.separator = ",;\t "[data[0] % 4];
  Memory memory(std::uint64_t{16} << 20);
  {
    const auto tensor = files::load_csv(memory, "/proc/self/fd/" + std::to_string(fd), options,
                                        one_after_the_other, nullptr);
    if (tensor) {
      check(*tensor, {reinterpret_cast<const char*>(data + 1), size - 1}, options);
    } else {
      check(tensor.error());
    }
  }
  if (memory.used() != 0) fail("memory in use after the tensor's end");
  ::close(fd);
  return 0;
}
