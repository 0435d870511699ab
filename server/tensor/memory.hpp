#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <boost/smart_ptr/intrusive_ptr.hpp>

#include "base/error.hpp"
#include "tensor/kept.hpp"

namespace outrigger {

class Memory;

/// Bytes with a reference count, aligned to 64 bytes, and counted against the budget of a Memory.
/// The contents are not initialised. The Memory must outlive the buffer.
class Buffer {
 public:
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  /// The number of bytes that was requested.
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
/// them, and go to a pool when they are freed, because page faults cost more than most arithmetic.
/// `used` is the bytes of tensors, temporaries and charges. used + pooled never exceeds the limit,
/// except for charges that may exceed it.
class Memory {
 public:
  /// `limit` in bytes; 0 means no limit.
  explicit Memory(std::uint64_t limit = 0) : limit_(limit), kept_(limit) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// The bytes that a buffer of that size counts for: sizes are rounded up.
  static std::size_t capacity_of(std::size_t bytes);

  /// Errors: out_of_memory, if the bytes exceed the limit or the system refuses them.
  Result<BufferPtr> allocate(std::size_t bytes);

  /// Counts bytes that are not in a buffer. Returns false if they do not fit the limit, which they
  /// may exceed by `beyond`.
  bool charge(std::uint64_t bytes, std::uint64_t beyond = 0);
  void discharge(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  /// The data that is kept to save work later. It has its own budget.
  Kept& kept() { return kept_; }
  const Kept& kept() const { return kept_; }

  /// True if `bytes` more would fit the limit.
  bool fits(std::uint64_t bytes) const;
  /// The text of an out_of_memory error for `bytes` more.
  std::string describe_excess(std::uint64_t bytes) const;

  /// Gives pooled memory back to the system.
  void trim();
  /// trim(), unless another thread uses the pool at this moment. Returns the number of bytes.
  std::uint64_t try_trim();

  std::uint64_t limit() const { return limit_; }
  std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  std::uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }
  /// The maximum of `used` since reset_watermark().
  std::uint64_t watermark() const { return watermark_.load(std::memory_order_relaxed); }
  void reset_watermark() { watermark_.store(used(), std::memory_order_relaxed); }
  std::uint64_t pooled() const { return pooled_.load(std::memory_order_relaxed); }

 private:
  friend class Buffer;
  std::byte* map_large(std::size_t capacity);
  void recycle(std::byte* data, std::size_t capacity);
  bool reserve(std::uint64_t bytes, std::uint64_t beyond = 0);
  std::uint64_t trim_locked();
  bool put_into_pool(std::byte* data, std::size_t capacity) noexcept;
  void make_room();
  void note_peak();

  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<std::uint64_t> watermark_{0};
  std::atomic<std::uint64_t> pooled_{0};
  std::mutex mutex_;
  std::multimap<std::size_t, std::byte*> pool_;
  Kept kept_;
};

/// Bytes that are counted against the budget during the life of this object.
class MemoryCharge {
 public:
  MemoryCharge() = default;
  MemoryCharge(MemoryCharge&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
  MemoryCharge& operator=(MemoryCharge&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryCharge() {
    if (memory_ != nullptr) memory_->discharge(bytes_);
  }
  /// The bytes stay counted when this object's life ends. Another owner discharges them.
  void keep() { memory_ = nullptr; }
  /// Errors: out_of_memory.
  static Result<MemoryCharge> make(Memory& memory, std::uint64_t bytes);
  /// A charge that may exceed the limit by `beyond`; nothing if the bytes exceed that, too.
  static std::optional<MemoryCharge> make(Memory& memory, std::uint64_t bytes,
                                          std::uint64_t beyond);

 private:
  MemoryCharge(Memory& memory, std::uint64_t bytes) : memory_(&memory), bytes_(bytes) {}
  Memory* memory_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// A text for the user, e.g. "1.5 GiB".
std::string format_bytes(std::uint64_t bytes);

}  // namespace outrigger
