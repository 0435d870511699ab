#include "tensor/memory.hpp"

#include <sys/mman.h>
#include <limits>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

#include "tensor/file_pages.hpp"

namespace outrigger {
namespace {

constexpr std::size_t alignment = 64;
/// The header before the bytes of a small buffer. An aligned allocation of malloc takes ten times
/// as long.
constexpr std::size_t header_bytes = sizeof(Buffer) + alignment;
static_assert(alignof(Buffer) <= alignof(std::max_align_t));

constexpr std::size_t large_bytes = own_pages_bytes;
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::byte* behind_header(void* header) {
  const auto end = reinterpret_cast<std::uintptr_t>(header) + sizeof(Buffer);
  return static_cast<std::byte*>(header) + sizeof(Buffer) + (round_up(end, alignment) - end);
}

}  // namespace

/// The size of a large buffer is rounded up by at most an eighth, so that buffers of similar sizes
/// can replace each other in the pool.
std::size_t Memory::capacity_of(std::size_t bytes) {
  if (bytes < large_bytes) return round_up(bytes, alignment);
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) return bytes;  // no machine has so many
  std::size_t step = std::size_t{4096};
  while (step * 16 < bytes) step *= 2;
  return round_up(bytes, step);
}

void Buffer::release(Buffer* buffer) {
  Memory& memory = buffer->memory_;
  const std::size_t capacity = buffer->capacity_;
  std::byte* data = buffer->data_;
  buffer->~Buffer();
  if (capacity < large_bytes) {
    memory.discharge(capacity);
    std::free(buffer);
  } else {
    memory.recycle(data, capacity);
    std::free(buffer);
  }
}

Memory::Memory(std::uint64_t limit) : limit_(limit), kept_(std::make_unique<Kept>(limit)) {}

Memory::Memory(Memory& whole, std::uint64_t limit, std::string owner)
    : whole_(&whole), owner_(std::move(owner)), limit_(limit) {}

Memory::~Memory() { trim(); }

bool Memory::fits_here(std::uint64_t bytes) const {
  const std::uint64_t taken = used() + promised_.load(std::memory_order_relaxed);
  return limit_ == 0 || (bytes <= limit_ && taken <= limit_ - bytes);
}

bool Memory::fits(std::uint64_t bytes) const {
  return fits_here(bytes) && (whole_ == nullptr || whole_->fits(bytes));
}

std::string Memory::describe_excess(std::uint64_t bytes) const {
  if (whole_ != nullptr && fits_here(bytes)) return whole_->describe_excess(bytes);
  const std::string what = format_bytes(bytes) + " more are needed, but " + format_bytes(used());
  if (whole_ == nullptr) return what + " of the limit of " + format_bytes(limit_) + " are in use";
  return what + " of " + format_bytes(limit_) + ", the quota `bytes` of the token " + owner_ +
         ", are in use: release tensors of any session of the token, or raise the quota";
}

bool Memory::reserve_here(std::uint64_t bytes, std::uint64_t beyond) {
  const std::uint64_t most = limit_ + beyond;
  const std::uint64_t promised = promised_.load(std::memory_order_relaxed);
  std::uint64_t before = used_.load(std::memory_order_relaxed);
  do {
    if (limit_ != 0 && (bytes > most || before + promised > most - bytes)) return false;
  } while (!used_.compare_exchange_weak(before, before + bytes, std::memory_order_relaxed));
  return true;
}

bool Memory::reserve(std::uint64_t bytes, std::uint64_t beyond) {
  if (!reserve_here(bytes, beyond)) return false;
  if (whole_ == nullptr || whole_->reserve(bytes, beyond)) return true;
  used_.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

void Memory::promise(std::uint64_t bytes) {
  for (Memory* part = this; part != nullptr; part = part->whole_)
    part->promised_.fetch_add(bytes, std::memory_order_relaxed);
}

void Memory::reset_watermark() {
  foreign_ = 0;
  watermark_.store(used(), std::memory_order_relaxed);
}

Memory::Absence::Absence(Memory& memory)
    : memory_(memory),
      used_(memory.used()),
      watermark_(memory.watermark()),
      foreign_(memory.foreign_) {}

Memory::Absence::~Absence() {
  const std::uint64_t taken = memory_.used() - used_;
  memory_.foreign_ = foreign_ + taken;
  memory_.watermark_.store(watermark_ + taken, std::memory_order_relaxed);
}

bool Memory::charge(std::uint64_t bytes, std::uint64_t beyond) {
  if (!reserve(bytes, beyond)) return false;
  make_room();
  note_peak();
  return true;
}

Result<MemoryCharge> MemoryCharge::make(Memory& memory, std::uint64_t bytes) {
  if (memory.charge(bytes)) return MemoryCharge(memory, bytes);
  return fail(ErrorCode::out_of_memory, memory.describe_excess(bytes));
}

std::optional<MemoryCharge> MemoryCharge::make(Memory& memory, std::uint64_t bytes,
                                               std::uint64_t beyond) {
  if (!memory.charge(bytes, beyond)) return std::nullopt;
  return MemoryCharge(memory, bytes);
}

void Memory::note_peak() {
  if (whole_ != nullptr) whole_->note_peak();
  const std::uint64_t now = used();
  for (auto* mark : {&peak_, &watermark_}) {
    std::uint64_t peak = mark->load(std::memory_order_relaxed);
    while (peak < now && !mark->compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
  }
}

Result<BufferPtr> Memory::allocate(std::size_t bytes) {
  const std::size_t capacity = capacity_of(bytes);
  if (!reserve(capacity)) return fail(ErrorCode::out_of_memory, describe_excess(capacity));
  const bool small = capacity < large_bytes;
  if (small) make_room();
  void* header = nullptr;
  std::byte* data = nullptr;
  const auto take = [&] {
    header = std::malloc(header_bytes + (small ? capacity : 0));
    data = header == nullptr ? nullptr : small ? behind_header(header) : map_large(capacity);
    if (data == nullptr) std::free(header);
  };
  take();
  // The memory that the system lacks may be in the pool for other sizes.
  if (data == nullptr && try_trim() > 0) take();
  if (data == nullptr) {
    discharge(capacity);
    return fail(ErrorCode::out_of_memory,
                "the system refused " + format_bytes(capacity) + " of memory");
  }
  note_peak();
  return BufferPtr(new (header) Buffer(*this, data, bytes, capacity));
}

std::byte* Memory::map_large(std::size_t capacity) {
  if (whole_ != nullptr) return whole_->map_large(capacity);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = pool_.find(capacity); found != pool_.end()) {
      std::byte* data = found->second;
      pool_.erase(found);
      pooled_.fetch_sub(capacity, std::memory_order_relaxed);
      return data;
    }
  }
  make_room();
  const bool huge = capacity >= 2 * huge_page;
  const std::size_t slack = huge ? huge_page : 0;
  void* mapped = ::mmap(nullptr, capacity + slack, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* start = static_cast<std::byte*>(mapped);
  if (!huge) return start;
  // The mapping is cut to a huge page boundary, so that the kernel can use huge pages for all of
  // it.
  const auto address = reinterpret_cast<std::size_t>(start);
  const std::size_t before = round_up(address, huge_page) - address;
  std::byte* aligned = start + before;
  if (before > 0) ::munmap(start, before);
  if (slack > before) ::munmap(aligned + capacity, slack - before);
  ::madvise(aligned, capacity, MADV_HUGEPAGE);
  return aligned;
}

/// Pooled memory must not prevent an allocation.
void Memory::make_room() {
  if (whole_ != nullptr) return whole_->make_room();
  if (limit_ != 0 && used() + pooled() > limit_) trim();
}

void Memory::recycle(std::byte* data, std::size_t capacity) {
  if (whole_ != nullptr) {
    used_.fetch_sub(capacity, std::memory_order_relaxed);
    return whole_->recycle(data, capacity);
  }
  const std::lock_guard lock(mutex_);
  used_.fetch_sub(capacity, std::memory_order_relaxed);
  if (!unmap_file_pages(data) || !put_into_pool(data, capacity)) ::munmap(data, capacity);
}

/// The destructor of a tensor calls this function, which must therefore not fail for lack of
/// memory.
bool Memory::put_into_pool(std::byte* data, std::size_t capacity) noexcept {
  try {
    pool_.emplace(capacity, data);
  } catch (const std::bad_alloc&) {
    return false;
  }
  pooled_.fetch_add(capacity, std::memory_order_relaxed);
  return true;
}

void Memory::trim() {
  if (whole_ != nullptr) return;
  const std::lock_guard lock(mutex_);
  trim_locked();
}

std::uint64_t Memory::try_trim() {
  if (whole_ != nullptr) return whole_->try_trim();
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock.owns_lock() ? trim_locked() : 0;
}

std::uint64_t Memory::trim_locked() {
  for (const auto& [capacity, data] : pool_) ::munmap(data, capacity);
  pool_.clear();
  return pooled_.exchange(0, std::memory_order_relaxed);
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, units.at(unit));
  return text.data();
}

}  // namespace outrigger
