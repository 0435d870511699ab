#include <zip.h>

#include <algorithm>
#include <cassert>
#include <initializer_list>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "files/file.hpp"
#include "files/new_file.hpp"
#include "files/npy_header.hpp"
#include "files/npz.hpp"

namespace outrigger::files {
namespace {

/// The limit for a member's name with its suffix in a zip directory.
constexpr std::size_t name_bytes_max = 65535;

/// Midnight of the first day that zip can store, as in NumPy: equal tensors give equal bytes.
constexpr zip_uint16_t first_day = 1U << 5U | 1U;

/// Our first error: libzip does not carry our errors.
struct Failure {
  std::optional<Error> error;

  zip_int64_t note(Error what) {
    if (!error) error = std::move(what);
    return -1;
  }
};

zip_int64_t is_known(std::initializer_list<zip_source_cmd_t> commands) {
  zip_int64_t bitmap = 0;
  for (const zip_source_cmd_t command : commands)
    bitmap |= ZIP_SOURCE_MAKE_COMMAND_BITMASK(command);
  return bitmap;
}

zip_int64_t tell_size(void* data, std::uint64_t size) {
  auto* status = static_cast<zip_stat_t*>(data);
  zip_stat_init(status);
  status->size = size;
  status->valid = ZIP_STAT_SIZE;
  return sizeof *status;
}

zip_int64_t tell_error(void* data, std::uint64_t bytes) {
  zip_error_t error;
  zip_error_init_with_code(&error, ZIP_ER_INTERNAL);
  const zip_int64_t told = zip_error_to_data(&error, data, bytes);
  zip_error_fini(&error);
  return told;
}

/// The archive as libzip writes it: into our file, and again over headers that were not complete.
struct Output {
  NewFile& file;
  Failure& failure;
  std::uint64_t position = 0;
  std::uint64_t size = 0;

  zip_int64_t write(const void* data, std::uint64_t bytes) {
    const std::span all(static_cast<const std::byte*>(data), bytes);
    if (auto done = file.write(position, all); !done) return failure.note(std::move(done).error());
    position += bytes;
    size = std::max(size, position);
    return static_cast<zip_int64_t>(bytes);
  }

  zip_int64_t seek(void* data, std::uint64_t bytes) {
    zip_error_t error;
    zip_error_init(&error);
    const zip_int64_t to = zip_source_seek_compute_offset(position, size, data, bytes, &error);
    zip_error_fini(&error);
    if (to < 0) return -1;
    position = static_cast<std::uint64_t>(to);
    return 0;
  }
};

zip_int64_t serve_output(void* user, void* data, zip_uint64_t bytes, zip_source_cmd_t command) {
  auto* output = static_cast<Output*>(user);
  switch (command) {
    case ZIP_SOURCE_WRITE:
      return output->write(data, bytes);
    case ZIP_SOURCE_SEEK_WRITE:
      return output->seek(data, bytes);
    case ZIP_SOURCE_TELL_WRITE:
      return static_cast<zip_int64_t>(output->position);
    case ZIP_SOURCE_STAT:
      return tell_size(data, 0);
    case ZIP_SOURCE_ERROR:
      return tell_error(data, bytes);
    case ZIP_SOURCE_BEGIN_WRITE:
    case ZIP_SOURCE_COMMIT_WRITE:  // we commit after libzip has succeeded
    case ZIP_SOURCE_ROLLBACK_WRITE:
    case ZIP_SOURCE_OPEN:
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
      return 0;
    case ZIP_SOURCE_SUPPORTS:
      // Without all of these, libzip opens the archive for reading only. A new archive is never
      // read.
      return ZIP_SOURCE_SUPPORTS_WRITABLE | is_known({ZIP_SOURCE_SUPPORTS});
    default:
      return -1;
  }
}

/// The bytes of a member as libzip reads them: the preamble, then the elements.
struct Member {
  std::string preamble;
  std::span<const std::byte> data;
  const Check& check;
  Failure& failure;
  std::uint64_t position = 0;

  std::uint64_t size() const { return preamble.size() + data.size(); }

  zip_int64_t read(void* out, std::uint64_t bytes) {
    if (auto asked = ask(check); !asked) return failure.note(std::move(asked).error());
    const bool first = position < preamble.size();
    const std::span part = first ? std::as_bytes(std::span(preamble)).subspan(position)
                                 : data.subspan(position - preamble.size());
    const std::size_t count = std::min<std::uint64_t>(bytes, part.size());
    std::copy_n(part.begin(), count, static_cast<std::byte*>(out));
    position += count;
    return static_cast<zip_int64_t>(count);
  }
};

zip_int64_t serve_member(void* user, void* data, zip_uint64_t bytes, zip_source_cmd_t command) {
  auto* member = static_cast<Member*>(user);
  switch (command) {
    case ZIP_SOURCE_OPEN:
      member->position = 0;
      return 0;
    case ZIP_SOURCE_READ:
      return member->read(data, bytes);
    case ZIP_SOURCE_STAT:
      return tell_size(data, member->size());
    case ZIP_SOURCE_ERROR:
      return tell_error(data, bytes);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
      return 0;
    case ZIP_SOURCE_SUPPORTS:
      return is_known({ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                       ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SUPPORTS});
    default:
      return -1;
  }
}

/// An archive that is being written. It is discarded unless finish() succeeds.
class Writer {
 public:
  explicit Writer(Output& output) : output_(output) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* source = zip_source_function_create(serve_output, &output, &error);
    if (source != nullptr) zip_ = zip_open_from_source(source, ZIP_TRUNCATE, &error);
    if (zip_ == nullptr) {
      note(&error);
      zip_source_free(source);
    }
    zip_error_fini(&error);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (zip_ != nullptr) zip_discard(zip_);
  }

  void add(const std::string& name, Member& member, bool compress) {
    if (output_.failure.error) return;
    zip_source_t* source = zip_source_function(zip_, serve_member, &member);
    const zip_int64_t index =
        source == nullptr ? -1 : zip_file_add(zip_, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    const auto at = static_cast<zip_uint64_t>(index);
    if (index < 0 ||
        zip_set_file_compression(zip_, at, compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(zip_, at, 0, first_day, 0) != 0) {
      note(zip_get_error(zip_));
      if (index < 0) zip_source_free(source);
    }
  }

  /// Writes the archive.
  void finish() {
    if (output_.failure.error) return;
    if (zip_close(zip_) == 0) {
      zip_ = nullptr;
    } else {
      note(zip_get_error(zip_));
    }
  }

 private:
  void note(zip_error_t* error) {
    std::string text = zip_error_strerror(error);
    output_.failure.note(
        Error{ErrorCode::io_error, "cannot write " + output_.file.name() + ": " + std::move(text)});
  }

  Output& output_;
  zip_t* zip_ = nullptr;
};

/// The names in the archive. Errors: bad_request.
Result<std::vector<std::string>> member_names(std::span<const NamedTensor> tensors) {
  std::vector<std::string> names;
  std::set<std::string_view> seen;
  if (tensors.empty()) return fail(ErrorCode::bad_request, "a .npz file needs at least one tensor");
  for (const NamedTensor& each : tensors) {
    if (each.name.empty() || each.name.size() + 4 > name_bytes_max || !is_text(each.name))
      return fail(ErrorCode::bad_request, in_quotes(each.name) + " cannot be a member's name");
    if (!seen.insert(each.name).second)
      return fail(ErrorCode::bad_request, "two members are named " + in_quotes(each.name));
    names.push_back(each.name + ".npy");
  }
  return names;
}

}  // namespace

Result<void> save_npz(std::span<const NamedTensor> tensors, const std::string& path, bool compress,
                      const Check& check) {
  OUTRIGGER_TRY(const std::vector<std::string> names, member_names(tensors));
  Failure failure;
  std::vector<Member> members;
  members.reserve(tensors.size());  // libzip keeps pointers to the members
  for (const NamedTensor& each : tensors) {
    assert(each.tensor.contiguous());
    OUTRIGGER_TRY(std::string preamble, npy_preamble(each.tensor.type));
    const auto bytes = static_cast<std::size_t>(byte_count(each.tensor.type));
    members.push_back(Member{std::move(preamble), {each.tensor.data(), bytes}, check, failure});
  }
  OUTRIGGER_TRY(NewFile file, NewFile::create(path, check));
  Output output{file, failure};
  {
    Writer writer(output);
    for (std::size_t i = 0; i < members.size(); ++i) writer.add(names[i], members[i], compress);
    writer.finish();
  }
  if (failure.error) return tl::make_unexpected(std::move(*failure.error));
  return file.commit();
}

}  // namespace outrigger::files
