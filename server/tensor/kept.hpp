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

/// What is kept only to save work later: prepared programs, plans, machine code, plans of Fourier
/// transforms. All of it shares one budget in bytes; what was used longest ago goes first, but what
/// only the client can give again (programs) after all that is made anew without its help.
/// Thread-safe.
///
/// Bytes are counted by Charges, which live as long as what they count, even if that has been
/// evicted and is still in use. Items say what may be evicted.
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

  /// Something that may be evicted. Its owner removes it before it ends.
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
    /// The owner gives up what it kept. The item is in no list any more.
    virtual void evict() noexcept = 0;
    From from_;
  };

  /// Items in use come last when something is evicted. Puts the item into the list if need be.
  void use(Item& item);
  void remove(Item& item);
  /// Evicts items until `bytes` more fit. False, and nothing is evicted, if they never would.
  bool make_room(std::uint64_t bytes);

  /// Whether so many bytes could be kept at all.
  bool could_hold(std::uint64_t bytes) const { return bytes <= limit_; }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  std::uint64_t limit() const { return limit_; }

  /// What a part of the program keeps here, one object of each type; made when first asked for.
  /// Only to be used while the lock is held.
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
  /// Recursive: to evict something may remove other items.
  std::recursive_mutex mutex_;
  /// Most recently used first.
  struct Items {
    boost::intrusive::list<Item> all;
    /// Where to look before taking the lock: mostly the same item is used again.
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
