#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include <boost/smart_ptr/intrusive_ptr.hpp>

#include "base/error.hpp"

namespace outrigger {

class Memory;

/// Reference counted, 64-byte aligned bytes, counted against the budget of a Memory. Contents are
/// not initialised. The Memory must outlive it.
class Buffer {
 public:
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  /// Bytes that were asked for.
  std::size_t bytes() const { return bytes_; }
  std::uint32_t references() const { return references_.load(std::memory_order_acquire); }
  bool unique() const { return references() == 1; }

 private:
  friend class Memory;
  friend void intrusive_ptr_add_ref(Buffer* buffer) {
    buffer->references_.fetch_add(1, std::memory_order_relaxed);
  }
  friend void intrusive_ptr_release(Buffer* buffer) {
    if (buffer->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) release(buffer);
  }
  Buffer(Memory& memory, std::byte* data, std::size_t bytes, std::size_t capacity)
      : memory_(memory), data_(data), bytes_(bytes), capacity_(capacity) {}
  static void release(Buffer* buffer);

  Memory& memory_;
  std::byte* data_;
  std::size_t bytes_;
  std::size_t capacity_;
  std::atomic<std::uint32_t> references_{0};
};

using BufferPtr = boost::intrusive_ptr<Buffer>;

/// The daemon's budget and its pool of large buffers. Thread-safe.
///
/// Small buffers come from malloc. Large ones are mapped, with huge pages where the system has
/// them, and go to a pool when freed: page faults cost more than most arithmetic. `used` counts
/// what tensors and temporaries hold; used + pooled never exceeds the limit.
class Memory {
 public:
  /// `limit` in bytes, 0 for none.
  explicit Memory(std::uint64_t limit = 0) : limit_(limit) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// What a buffer of that size counts for: buffers are rounded up.
  static std::size_t capacity_of(std::size_t bytes);

  /// Errors: out_of_memory, over the limit or refused by the system.
  Result<BufferPtr> allocate(std::size_t bytes);

  /// Whether `bytes` more would fit the limit.
  bool fits(std::uint64_t bytes) const;
  /// The text of an out_of_memory error for `bytes` more.
  std::string describe_excess(std::uint64_t bytes) const;

  /// Gives pooled memory back to the system.
  void trim();

  std::uint64_t limit() const { return limit_; }
  std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  std::uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }
  /// The most that was used since reset_watermark().
  std::uint64_t watermark() const { return watermark_.load(std::memory_order_relaxed); }
  void reset_watermark() { watermark_.store(used(), std::memory_order_relaxed); }
  std::uint64_t pooled() const { return pooled_.load(std::memory_order_relaxed); }

 private:
  friend class Buffer;
  std::byte* map_large(std::size_t capacity);
  void recycle(std::byte* data, std::size_t capacity);
  bool reserve(std::size_t capacity);
  void make_room();
  void note_peak();

  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<std::uint64_t> watermark_{0};
  std::atomic<std::uint64_t> pooled_{0};
  std::mutex mutex_;
  std::multimap<std::size_t, std::byte*> pool_;
};

/// "1.5 GiB": for texts.
std::string format_bytes(std::uint64_t bytes);

}  // namespace outrigger
