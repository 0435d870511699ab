#include "data/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <new>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "data/tensor_file.hpp"
#include "files/file.hpp"
#include "tensor/file_pages.hpp"

namespace outrigger::data {
namespace {

constexpr std::string_view manifest_name = "manifest";
constexpr std::string_view new_manifest_name = "manifest.new";
constexpr std::string_view lock_name = "lock";
constexpr std::string_view suffix = ".tensor";

/// The version, and the checkpoint in which it was written: a live tensor is written again.
std::string tensor_file_name(std::uint64_t version, std::uint64_t checkpoint) {
  return std::to_string(version) + "-" + std::to_string(checkpoint) + std::string(suffix);
}

bool is_tensor_file_name(std::string_view name) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  const std::size_t dash = name.find('-');
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  return dash != std::string_view::npos && is_number(name.substr(0, dash)) &&
         is_number(name.substr(dash + 1));
}

/// The files of a folder that have names of ours. Errors: io_error.
Result<std::vector<std::string>> tensor_files(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), ::closedir);
  if (!entries) return files::io_failure("read", files::in_quotes(path), errno);
  std::vector<std::string> out;
  while (const dirent* entry = ::readdir(entries.get())) {
    if (is_tensor_file_name(entry->d_name)) out.emplace_back(entry->d_name);
  }
  return out;
}

/// The path without links of the folder, which is made if there is none.
Result<std::string> make_folder(Disk& disk, const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  const bool made = ::mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) return files::io_failure("make", files::in_quotes(path), errno);
  if (made) OUTRIGGER_CHECK(disk.sync_folder(path + "/.."));
  if (::realpath(path.c_str(), resolved.data()) == nullptr)
    return files::io_failure("open", files::in_quotes(path), errno);
  return std::string(resolved.data());
}

/// The descriptor that holds the lock, to the end of the process at the latest.
Result<int> lock_folder(const std::string& path) {
  const std::string name = path + "/" + std::string(lock_name);
  const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return files::io_failure("write", files::in_quotes(name), errno);
  int locked = 0;
  do {
    locked = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked == 0) return fd;
  const int error = errno;
  ::close(fd);
  if (error != EWOULDBLOCK) return files::io_failure("lock", files::in_quotes(name), error);
  return files::bad_file(files::in_quotes(path),
                         "is in use by another server: stop it, or give each server a folder of "
                         "its own");
}

Error with_advice(Error error) {
  if (error.code == ErrorCode::bad_file || error.code == ErrorCode::io_error) {
    error.text += ". Restore the folder from a copy, or move it away to start without its tensors";
  }
  return error;
}

}  // namespace

Folder::Folder(std::string path, int lock, std::unique_ptr<Disk> disk)
    : path_(std::move(path)), lock_(lock), disk_(std::move(disk)) {}

Folder::~Folder() { ::close(lock_); }

Result<std::unique_ptr<Folder>> Folder::open(const std::string& path, std::unique_ptr<Disk> disk) {
  if (!disk) disk = std::make_unique<Disk>();
  OUTRIGGER_TRY(const std::string resolved, make_folder(*disk, path));
  OUTRIGGER_TRY(const int lock, lock_folder(resolved));
  std::unique_ptr<Folder> folder(new Folder(resolved, lock, std::move(disk)));
  if (auto read = folder->read_manifest(); !read)
    return tl::make_unexpected(with_advice(std::move(read).error()));
  folder->attempts_ = folder->manifest_.checkpoint;
  folder->remove_unreferenced();
  return folder;
}

/// A folder without a manifest is a new one. It gets a manifest at once. So a folder with tensors
/// and no manifest is a damaged one, and no tensor is taken for a leftover of a first checkpoint.
Result<void> Folder::read_manifest() {
  const std::string path = file(std::string(manifest_name));
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    OUTRIGGER_TRY(const auto tensors, tensor_files(path_));
    if (!tensors.empty()) {
      return files::bad_file(files::in_quotes(path), "is missing, but there are tensors, such as " +
                                                         files::in_quotes(tensors.front()));
    }
    OUTRIGGER_CHECK(write_manifest(manifest_));
    return {};
  }
  OUTRIGGER_TRY(files::File manifest, files::File::open_own(path));
  std::string text(manifest.size(), '\0');
  OUTRIGGER_TRY(const std::size_t count, files::read_fully(manifest, text.data(), text.size()));
  text.resize(count);
  auto read = Manifest::parse(text);
  if (!read) return files::bad_file(manifest.name(), read.error().text);
  for (const Entry& entry : read->entries) {
    if (!is_tensor_file_name(entry.file.name))
      return files::bad_file(manifest.name(),
                             "names the file " + files::in_quotes(entry.file.name));
  }
  manifest_ = *std::move(read);
  return {};
}

Result<Tensor> Folder::load(Memory& memory, const Entry& entry) const {
  auto tensor = read_tensor(memory, file(entry.file.name), entry);
  if (tensor) return tensor;
  Error error = with_advice(std::move(tensor).error());
  error.text = "the tensor " + files::in_quotes(entry.name) + ": " + error.text;
  if (error.code == ErrorCode::out_of_memory) error.text += ". Give it a larger memory limit";
  return tl::make_unexpected(std::move(error));
}

/// The bytes of the manifest, which is durable when this returns.
Result<std::uint64_t> Folder::write_manifest(const Manifest& manifest) {
  const std::string temporary = file(std::string(new_manifest_name));
  const std::string text = manifest.text();
  {
    OUTRIGGER_TRY(const int fd, disk_->create(temporary));
    const OpenFile closed_at_end(*disk_, fd);
    OUTRIGGER_CHECK(disk_->append(fd, temporary, std::as_bytes(std::span(text))));
    OUTRIGGER_CHECK(disk_->sync(fd, temporary));
  }
  OUTRIGGER_CHECK(disk_->rename(temporary, file(std::string(manifest_name))));
  unsure_ = true;
  OUTRIGGER_CHECK(disk_->sync_folder(path_));
  unsure_ = false;
  return text.size();
}

Result<Saved> Folder::save(std::vector<Item>& items, std::uint64_t last_change,
                           std::int64_t taken_at_ms,
                           const std::function<void(std::size_t)>& on_written) {
  Saved saved;
  // A number is not used again, also after a failure: its files may be there still.
  saved.manifest.checkpoint = ++attempts_;
  saved.manifest.last_change = last_change;
  saved.manifest.taken_at_ms = taken_at_ms;
  auto result = write(items, std::move(saved), on_written);
  // Also after an error: a full disk needs the room of the files that were begun.
  if (!unsure_) remove_unreferenced();
  return result;
}

Result<Saved> Folder::write(std::vector<Item>& items, Saved saved,
                            const std::function<void(std::size_t)>& on_written) {
  bool new_files = false;
  for (Item& item : items) {
    if (item.buffer) {
      new_files = true;
      OUTRIGGER_CHECK(write_item(item, saved));
      const std::size_t bytes = item.buffer->bytes();
      item.buffer.reset();
      item.elements = {};
      on_written(bytes);
      if (item.entry.file.name.empty()) continue;
    }
    saved.manifest.entries.push_back(item.entry);
  }
  // The names of the new files are durable before a durable manifest has them.
  if (new_files) OUTRIGGER_CHECK(disk_->sync_folder(path_));
  Manifest next = saved.manifest;
  OUTRIGGER_TRY(const std::uint64_t bytes, write_manifest(next));
  // It must not fail now: files that manifest_ lacks are removed.
  std::swap(manifest_, next);
  saved.bytes += bytes;
  return saved;
}

/// Leaves the entry without a file if the tensor's own file is broken.
Result<void> Folder::write_item(Item& item, Saved& saved) {
  const std::string name = tensor_file_name(item.entry.version, saved.manifest.checkpoint);
  auto checksum = write_tensor(*disk_, file(name), item.entry, item.elements);
  if (const auto intact = check_file_pages(item.buffer->data()); !intact) {
    saved.left_out.push_back(files::in_quotes(item.entry.name) + ": " + intact.error().text);
    return {};
  }
  if (!checksum) return tl::make_unexpected(std::move(checksum).error());
  saved.bytes += item.elements.size();
  item.entry.file = {name, *std::move(checksum)};
  return {};
}

/// A file that cannot be removed now is removed after the next checkpoint, or at the next start.
void Folder::remove_unreferenced() {
  try {
    static_cast<void>(disk_->remove(file(std::string(new_manifest_name))));
    std::unordered_set<std::string_view> referenced;
    for (const Entry& entry : manifest_.entries) referenced.insert(entry.file.name);
    const auto present = tensor_files(path_);
    if (!present) return;
    for (const std::string& name : *present) {
      if (!referenced.contains(name)) static_cast<void>(disk_->remove(file(name)));
    }
  } catch (const std::bad_alloc&) {
    return;
  }
}

}  // namespace outrigger::data
