#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
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
  /// True if the bytes count in this memory itself, not only in a part of it.
  bool counts_in(const Memory& memory) const { return &memory_ == &memory; }
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
  explicit Memory(std::uint64_t limit = 0);
  /// A part of `whole` with a limit of its own, for example that of a token, which `owner` names
  /// for error texts. All that counts here counts in `whole` too, which has the pool and the kept
  /// data. `whole` must outlive the part.
  Memory(Memory& whole, std::uint64_t limit, std::string owner);
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
  void discharge(std::uint64_t bytes) {
    for (Memory* part = this; part != nullptr; part = part->whole_)
      part->used_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  /// The data that is kept to save work later. It has its own budget, one for all parts.
  Kept& kept() { return whole_ == nullptr ? *kept_ : whole_->kept(); }
  const Kept& kept() const { return whole_ == nullptr ? *kept_ : whole_->kept(); }

  /// True if `bytes` more would fit the limit, and those of all that this is a part of.
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
  void reset_watermark();
  std::uint64_t pooled() const {
    return whole_ == nullptr ? pooled_.load(std::memory_order_relaxed) : whole_->pooled();
  }

  /// While it lives, `bytes` count as used where others ask if their own fit: they are promised to
  /// the program that waits meanwhile.
  class Promise {
   public:
    Promise(Memory& memory, std::uint64_t bytes) : memory_(memory), bytes_(bytes) {
      memory_.promise(bytes_);
    }
    Promise(const Promise&) = delete;
    Promise& operator=(const Promise&) = delete;
    ~Promise() { memory_.promise(std::uint64_t{0} - bytes_); }

   private:
    Memory& memory_;
    const std::uint64_t bytes_;
  };

  /// The time in which others take and give back memory in the middle of a run. The watermark is
  /// then that of the run alone, shifted by foreign().
  class Absence {
   public:
    explicit Absence(Memory& memory);
    Absence(const Absence&) = delete;
    Absence& operator=(const Absence&) = delete;
    ~Absence();

   private:
    Memory& memory_;
    const std::uint64_t used_;
    const std::uint64_t watermark_;
    const std::uint64_t foreign_;
  };
  /// The bytes that others have taken in absences since reset_watermark(), less those that they
  /// gave back: modulo 2^64, as it may be negative. For the thread that runs programs.
  std::uint64_t foreign() const { return foreign_; }

 private:
  friend class Buffer;
  std::byte* map_large(std::size_t capacity);
  void recycle(std::byte* data, std::size_t capacity);
  bool reserve(std::uint64_t bytes, std::uint64_t beyond = 0);
  bool reserve_here(std::uint64_t bytes, std::uint64_t beyond);
  bool fits_here(std::uint64_t bytes) const;
  void promise(std::uint64_t bytes);
  std::uint64_t trim_locked();
  bool put_into_pool(std::byte* data, std::size_t capacity) noexcept;
  void make_room();
  void note_peak();

  Memory* const whole_ = nullptr;
  const std::string owner_;
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<std::uint64_t> watermark_{0};
  std::atomic<std::uint64_t> promised_{0};
  std::uint64_t foreign_ = 0;
  std::atomic<std::uint64_t> pooled_{0};
  std::mutex mutex_;
  std::multimap<std::size_t, std::byte*> pool_;
  const std::unique_ptr<Kept> kept_;  ///< null of a part
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
