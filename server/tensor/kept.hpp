#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <typeindex>
#include <utility>

#include <boost/intrusive/list.hpp>

namespace outrigger {

/// Data that is kept only to save work later: prepared programs, plans, machine code, plans of
/// Fourier transforms. All of it shares one budget in bytes. The least recently used item is
/// evicted first. Programs, which only the client can send again, are evicted after all items that
/// the daemon can make again. Thread-safe.
///
/// Charges count the bytes. A Charge lives as long as the data that it counts, also if that data
/// has been evicted and is still in use. An Item is a unit that may be evicted.
class Kept {
 public:
  /// `memory_limit` in bytes, 0 for none: the budget is a share of it (Limits::kept_share).
  explicit Kept(std::uint64_t memory_limit);
  ~Kept();
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  class Charge {
   public:
    Charge() = default;
    Charge(Kept& kept, std::uint64_t bytes) : kept_(&kept), bytes_(bytes) {
      kept.bytes_.fetch_add(bytes, std::memory_order_relaxed);
    }
    Charge(Charge&& other) noexcept
        : kept_(std::exchange(other.kept_, nullptr)), bytes_(other.bytes_) {}
    Charge& operator=(Charge&& other) noexcept {
      std::swap(kept_, other.kept_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Charge() {
      if (kept_ != nullptr) kept_->bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
    }

   private:
    Kept* kept_ = nullptr;
    std::uint64_t bytes_ = 0;
  };

  /// A unit that may be evicted. Its owner removes it before the item's life ends.
  class Item : public boost::intrusive::list_base_hook<> {
   public:
    enum class From : std::uint8_t { daemon, client };
    explicit Item(From from = From::daemon) : from_(from) {}
    Item(const Item&) = delete;
    Item& operator=(const Item&) = delete;

   protected:
    ~Item() = default;

   private:
    friend class Kept;
    /// The owner drops the data. The item is in no list any more.
    virtual void evict() noexcept = 0;
    From from_;
  };

  /// Marks the item as the most recently used one. Adds the item to the list if it is in none.
  void use(Item& item);
  void remove(Item& item);
  /// Evicts items until `bytes` more fit. Returns false, and evicts nothing, if they can never fit.
  bool make_room(std::uint64_t bytes);

  /// True if the budget is at least `bytes`.
  bool could_hold(std::uint64_t bytes) const { return bytes <= limit_; }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t limit() const { return limit_; }

  /// The object of type Shelf in which a part of the program keeps its data; made at the first
  /// call. The caller must hold the lock.
  template <typename Shelf>
  Shelf& shelf() {
    std::shared_ptr<void>& found = shelves_[std::type_index(typeid(Shelf))];
    if (!found) found = std::make_shared<Shelf>();
    return *static_cast<Shelf*>(found.get());
  }
  std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(mutex_); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> bytes_{0};
  /// The mutex is recursive, because an eviction may remove other items.
  std::recursive_mutex mutex_;
  /// The most recently used item is the first one.
  struct Items {
    boost::intrusive::list<Item> all;
    /// A read of `first` comes before the lock: in most cases the same item is used again.
    std::atomic<const Item*> first{nullptr};

    void push_front(Item& item);
    void erase(Item& item);
  };
  Items& items_like(const Item& item) {
    return item.from_ == Item::From::daemon ? from_daemon_ : from_client_;
  }
  Items from_daemon_;
  Items from_client_;
  std::map<std::type_index, std::shared_ptr<void>> shelves_;
};

}  // namespace outrigger
