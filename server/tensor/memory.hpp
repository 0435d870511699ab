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
/// what tensors and temporaries hold, and charges; used + pooled never exceeds the limit, but for
/// charges that may go beyond it.
class Memory {
 public:
  /// `limit` in bytes, 0 for none.
  explicit Memory(std::uint64_t limit = 0) : limit_(limit), kept_(limit) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// What a buffer of that size counts for: buffers are rounded up.
  static std::size_t capacity_of(std::size_t bytes);

  /// Errors: out_of_memory, over the limit or refused by the system.
  Result<BufferPtr> allocate(std::size_t bytes);

  /// Counts bytes that lie elsewhere than in a buffer. False if they do not fit the limit, which
  /// they may exceed by `beyond`.
  bool charge(std::uint64_t bytes, std::uint64_t beyond = 0);
  void discharge(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  /// What is kept to save work later has a budget of its own.
  Kept& kept() { return kept_; }
  const Kept& kept() const { return kept_; }

  /// Whether `bytes` more would fit the limit.
  bool fits(std::uint64_t bytes) const;
  /// The text of an out_of_memory error for `bytes` more.
  std::string describe_excess(std::uint64_t bytes) const;

  /// Gives pooled memory back to the system.
  void trim();
  /// The same, unless the pool is in use just now. Returns how much that was.
  std::uint64_t try_trim();

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

/// Bytes counted against the budget as long as it lives.
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
  /// The bytes stay counted when this ends: somebody else discharges them.
  void keep() { memory_ = nullptr; }
  /// Errors: out_of_memory.
  static Result<MemoryCharge> make(Memory& memory, std::uint64_t bytes);
  /// What may exceed the limit by `beyond`; nothing if that is not enough either.
  static std::optional<MemoryCharge> make(Memory& memory, std::uint64_t bytes,
                                          std::uint64_t beyond);

 private:
  MemoryCharge(Memory& memory, std::uint64_t bytes) : memory_(&memory), bytes_(bytes) {}
  Memory* memory_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// "1.5 GiB": for texts.
std::string format_bytes(std::uint64_t bytes);

}  // namespace outrigger
