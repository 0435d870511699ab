#include "tensor/kept.hpp"

#include <algorithm>

#include "base/limits.hpp"

namespace outrigger {
namespace {

std::uint64_t budget(std::uint64_t memory_limit) {
  if (memory_limit == 0) return Limits::kept_bytes_max;
  return std::clamp(memory_limit / Limits::kept_share, Limits::kept_bytes_min,
                    Limits::kept_bytes_max);
}

}  // namespace

Kept::Kept(std::uint64_t memory_limit) : limit_(budget(memory_limit)) {}

Kept::~Kept() {
  from_daemon_.all.clear();
  from_client_.all.clear();
}

void Kept::Items::push_front(Item& item) {
  all.push_front(item);
  first.store(&item, std::memory_order_relaxed);
}

void Kept::Items::erase(Item& item) {
  all.erase(all.iterator_to(item));
  first.store(all.empty() ? nullptr : &all.front(), std::memory_order_relaxed);
}

void Kept::use(Item& item) {
  Items& items = items_like(item);
  if (items.first.load(std::memory_order_relaxed) == &item) return;
  const auto held = lock();
  if (item.is_linked()) items.erase(item);
  items.push_front(item);
}

void Kept::remove(Item& item) {
  const auto held = lock();
  if (item.is_linked()) items_like(item).erase(item);
}

bool Kept::make_room(std::uint64_t bytes) {
  if (!could_hold(bytes)) return false;
  const auto held = lock();
  for (Items* items : {&from_daemon_, &from_client_}) {
    while (this->bytes() > limit_ - bytes && !items->all.empty()) {
      Item& last = items->all.back();
      items->erase(last);
      last.evict();
    }
  }
  return this->bytes() <= limit_ - bytes;
}

}  // namespace outrigger
