#include "files/array_file.hpp"

#include <string_view>
#include <utility>

#include "files/file.hpp"
#include "files/npy.hpp"
#include "files/npz.hpp"

namespace outrigger::files {
namespace {

/// A zip archive begins with its first member. An empty archive begins with the end of its
/// directory.
bool is_zip(std::string_view start) {
  return start.starts_with("PK\x03\x04") || start.starts_with("PK\x05\x06");
}

}  // namespace

Result<Tensor> load_array(Memory& memory, const std::string& path,
                          const std::optional<std::string>& member, const Check& check) {
  OUTRIGGER_TRY(File file, File::open(path));
  OUTRIGGER_TRY(const std::string start, file.first_bytes());
  if (is_zip(start)) return read_npz(memory, std::move(file), member, check);
  if (!start.starts_with(npy_magic)) {
    return bad_file(file.name(), "is neither a .npy nor a .npz file: " + describe_start(start));
  }
  if (member) {
    return bad_file(file.name(), "is a single .npy array, it has no member " + in_quotes(*member));
  }
  return read_npy(memory, file, check);
}

}  // namespace outrigger::files
