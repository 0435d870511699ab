#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "data/disk.hpp"
#include "data/manifest.hpp"
#include "tensor/memory.hpp"

namespace outrigger::data {

/// A name in a checkpoint that is to be written.
struct Item {
  /// Without a buffer, `entry.file` has the value already.
  Entry entry;
  BufferPtr buffer = {};
  std::span<const std::byte> elements = {};
};

/// A checkpoint that was written.
struct Saved {
  Manifest manifest;
  std::uint64_t bytes = 0;  ///< that were written
  /// Names that are not in it, each with its reason: the tensor has pages of a file that has become
  /// shorter.
  std::vector<std::string> left_out;
};

/// The folder of a server's published tensors: a file for each of them, and `manifest`, which names
/// the files of the last whole checkpoint. A file is written once, under a new name. The manifest
/// is replaced by rename(), so that at each moment it is that of a whole checkpoint. The folder
/// belongs to one process, which holds a lock on its file `lock`.
///
/// One thread at a time may use it.
class Folder {
 public:
  /// Makes the folder if there is none, locks it, reads the manifest, and removes files that a
  /// server that was killed has left. Errors: bad_file if another server has the folder, or the
  /// manifest is damaged; io_error. The text tells what to do.
  static Result<std::unique_ptr<Folder>> open(const std::string& path,
                                              std::unique_ptr<Disk> disk = nullptr);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  /// The last whole checkpoint.
  const Manifest& manifest() const { return manifest_; }
  const std::string& path() const { return path_; }

  /// The tensor of an entry of manifest(). Errors: those of read_tensor().
  Result<Tensor> load(Memory& memory, const Entry& entry) const;

  /// Writes the next checkpoint. An item whose file is written drops its buffer; then `on_written`
  /// is called with the buffer's bytes. After an error the last checkpoint is as it was. Errors:
  /// io_error.
  Result<Saved> save(std::vector<Item>& items, std::uint64_t last_change, std::int64_t taken_at_ms,
                     const std::function<void(std::size_t)>& on_written);

 private:
  Folder(std::string path, int lock, std::unique_ptr<Disk> disk);
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  Result<void> read_manifest();
  Result<std::uint64_t> write_manifest(const Manifest& manifest);
  Result<Saved> write(std::vector<Item>& items, Saved saved,
                      const std::function<void(std::size_t)>& on_written);
  Result<void> write_item(Item& item, Saved& saved);
  void remove_unreferenced();

  const std::string path_;
  const int lock_;
  std::unique_ptr<Disk> disk_;
  Manifest manifest_;
  std::uint64_t attempts_ = 0;  ///< the number of the last checkpoint that was begun
  /// The manifest was replaced, but a loss of power may bring the one before it back. Until the
  /// next whole checkpoint, the files of both stay.
  bool unsure_ = false;
};

}  // namespace outrigger::data
