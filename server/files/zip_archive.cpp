#include "files/zip_archive.hpp"

#include <zip.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace outrigger::files {
namespace {

/// The zip64 record of the directory and the locator that gives its offset: the parts that are
/// checked here.
constexpr std::size_t record_bytes = 56;
constexpr std::size_t record_directory_size = 40;
constexpr std::size_t locator_bytes = 20;
constexpr std::size_t locator_record_offset = 8;
constexpr std::string_view record_magic{"PK\x06\x06", 4};
constexpr std::string_view locator_magic{"PK\x06\x07", 4};

/// The end of an archive, where libzip searches for the locator: the longest comment, and the
/// records before it.
constexpr std::uint64_t tail_bytes = 65536 + 22 + locator_bytes;

/// A deflate stream unpacks to at most 1032 times its size.
constexpr std::uint64_t deflate_ratio_max = 1032;

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

Result<std::string> read_range(const File& file, std::uint64_t offset, std::size_t bytes) {
  std::string text(bytes, '\0');
  OUTRIGGER_TRY(const std::size_t count, file.read_at(offset, text.data(), text.size()));
  text.resize(count);
  return text;
}

tl::unexpected<Error> directory_too_large(const File& file) {
  return bad_file(file.name(), "has too many members: at most " +
                                   std::to_string(zip_directory_bytes_max >> 20U) +
                                   " MiB of zip directory are read");
}

/// libzip allocates memory for as many entries as a zip64 record declares, before it reads the
/// entries. A sparse file makes any declaration possible. Therefore all records that libzip could
/// find are checked.
Result<void> check_zip64_claims(const File& file) {
  const std::uint64_t start = file.size() - std::min(file.size(), tail_bytes);
  OUTRIGGER_TRY(const std::string tail, read_range(file, start, tail_bytes));
  for (std::size_t at = tail.find(locator_magic); at != std::string::npos;
       at = tail.find(locator_magic, at + 1)) {
    if (tail.size() - at < locator_bytes) break;
    const std::uint64_t offset =
        little_endian(std::string_view(tail).substr(at + locator_record_offset));
    if (offset >= file.size()) continue;
    OUTRIGGER_TRY(const std::string record, read_range(file, offset, record_bytes));
    if (record.size() < record_bytes || !record.starts_with(record_magic)) continue;
    if (little_endian(std::string_view(record).substr(record_directory_size)) >
        zip_directory_bytes_max) {
      return directory_too_large(file);
    }
  }
  return {};
}

/// The source that libzip reads: our file, with a limit on the bytes that are read while the
/// archive is opened.
struct Input {
  explicit Input(File opened) : file(std::move(opened)) { zip_error_init(&error); }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input() { zip_error_fini(&error); }

  zip_int64_t read(void* out, std::uint64_t bytes) {
    if (opening && bytes > opening_bytes_left) {
      zip_error_set(&error, ZIP_ER_READ, EFBIG);
      exhausted = true;
      return -1;
    }
    const auto count = file.read_at(position, out, bytes);
    if (!count) {
      zip_error_set(&error, ZIP_ER_READ, EIO);
      io_error = count.error();
      return -1;
    }
    if (opening) opening_bytes_left -= *count;
    position += *count;
    return static_cast<zip_int64_t>(*count);
  }

  zip_int64_t seek(void* data, std::uint64_t bytes) {
    const zip_int64_t to =
        zip_source_seek_compute_offset(position, file.size(), data, bytes, &error);
    if (to < 0) return -1;
    position = static_cast<std::uint64_t>(to);
    return 0;
  }

  zip_int64_t tell_size(void* data) const {
    auto* status = static_cast<zip_stat_t*>(data);
    zip_stat_init(status);
    status->size = file.size();
    status->valid = ZIP_STAT_SIZE;
    return sizeof *status;
  }

  File file;
  std::uint64_t position = 0;
  bool opening = true;
  std::uint64_t opening_bytes_left = zip_directory_bytes_max + 4 * tail_bytes;
  bool exhausted = false;
  std::optional<Error> io_error;
  zip_error_t error{};
};

zip_int64_t serve_input(void* user, void* data, zip_uint64_t bytes, zip_source_cmd_t command) {
  auto* input = static_cast<Input*>(user);
  switch (command) {
    case ZIP_SOURCE_OPEN:
      input->position = 0;
      return 0;
    case ZIP_SOURCE_READ:
      return input->read(data, bytes);
    case ZIP_SOURCE_SEEK:
      return input->seek(data, bytes);
    case ZIP_SOURCE_TELL:
      return static_cast<zip_int64_t>(input->position);
    case ZIP_SOURCE_STAT:
      return input->tell_size(data);
    case ZIP_SOURCE_ERROR:
      return zip_error_to_data(&input->error, data, bytes);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
      return 0;
    case ZIP_SOURCE_SUPPORTS:
      return zip_source_make_command_bitmap(
          ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
          ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    default:
      zip_error_set(&input->error, ZIP_ER_OPNOTSUPP, 0);
      return -1;
  }
}

/// The error of libzip, unless our file caused it.
tl::unexpected<Error> failure(const Input& input, const std::string& name, zip_error_t* error) {
  if (input.io_error) return tl::make_unexpected(*input.io_error);
  if (input.exhausted) return directory_too_large(input.file);
  return bad_file(name, "cannot be unpacked: " + std::string(zip_error_strerror(error)));
}

class Member final : public Source {
 public:
  Member(Input& input, zip_file_t* file, std::uint64_t size, std::string name)
      : input_(input), file_(file), size_(size), name_(std::move(name)) {}
  ~Member() override { zip_fclose(file_); }

  Result<std::size_t> read_some(void* out, std::size_t bytes) override {
    const zip_int64_t count = zip_fread(file_, out, bytes);
    if (count < 0) return failure(input_, name_, zip_file_get_error(file_));
    return static_cast<std::size_t>(count);
  }
  std::uint64_t size() const override { return size_; }
  const std::string& name() const override { return name_; }

 private:
  Input& input_;
  zip_file_t* file_;
  std::uint64_t size_;
  std::string name_;
};

/// Checks the declarations of the directory before memory is allocated for them.
Result<void> check_member(const zip_stat_t& status, std::uint64_t archive_bytes,
                          const std::string& name) {
  constexpr zip_uint64_t needed =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if ((status.valid & needed) != needed) return bad_file(name, "has no size");
  if (status.encryption_method != ZIP_EM_NONE) return bad_file(name, "is encrypted");
  const bool stored = status.comp_method == ZIP_CM_STORE;
  if (!stored && status.comp_method != ZIP_CM_DEFLATE) {
    return bad_file(name, "is packed by zip method " + std::to_string(status.comp_method) +
                              "; supported are stored (0) and deflated (8)");
  }
  const std::uint64_t ratio = stored ? 1 : deflate_ratio_max;
  if (status.comp_size > archive_bytes || status.size > status.comp_size * ratio) {
    return bad_file(name, "claims " + std::to_string(status.size) + " bytes, packed in " +
                              std::to_string(status.comp_size) + ", which cannot be");
  }
  return {};
}

}  // namespace

struct ZipArchive::State {
  explicit State(File file) : input(std::move(file)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (zip != nullptr) zip_discard(zip);
  }

  Input input;
  zip_t* zip = nullptr;
};

ZipArchive::ZipArchive(std::unique_ptr<State> state) : state_(std::move(state)) {}
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;
ZipArchive::~ZipArchive() = default;

const std::string& ZipArchive::name() const { return state_->input.file.name(); }

Result<ZipArchive> ZipArchive::open(File file) {
  OUTRIGGER_CHECK(check_zip64_claims(file));
  auto state = std::make_unique<State>(std::move(file));
  Input& input = state->input;
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_function_create(serve_input, &input, &error);
  if (source != nullptr) state->zip = zip_open_from_source(source, ZIP_RDONLY, &error);
  if (state->zip == nullptr) {
    auto failed = failure(input, input.file.name(), &error);
    zip_source_free(source);
    zip_error_fini(&error);
    return failed;
  }
  zip_error_fini(&error);
  input.opening = false;
  return ZipArchive(std::move(state));
}

std::uint64_t ZipArchive::entry_count() const {
  return static_cast<std::uint64_t>(std::max<zip_int64_t>(zip_get_num_entries(state_->zip, 0), 0));
}

std::optional<std::string> ZipArchive::member_name(std::uint64_t index) const {
  const char* name = zip_get_name(state_->zip, index, 0);
  if (name == nullptr || std::string_view(name).ends_with('/')) return std::nullopt;
  return name;
}

Result<std::unique_ptr<Source>> ZipArchive::open_member(std::uint64_t index,
                                                        std::string name) const {
  Input& input = state_->input;
  zip_stat_t status;
  zip_stat_init(&status);
  if (zip_stat_index(state_->zip, index, 0, &status) != 0) {
    return failure(input, name, zip_get_error(state_->zip));
  }
  OUTRIGGER_CHECK(check_member(status, input.file.size(), name));
  zip_file_t* file = zip_fopen_index(state_->zip, index, 0);
  if (file == nullptr) return failure(input, name, zip_get_error(state_->zip));
  return std::make_unique<Member>(input, file, status.size, std::move(name));
}

}  // namespace outrigger::files
