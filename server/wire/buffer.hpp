#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace outrigger::wire {

/// Leaves elements that are given no value uninitialised: payloads of a MiB are overwritten at
/// once.
template <typename T>
struct UninitializedAllocator : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = UninitializedAllocator<U>;
  };
  using std::allocator<T>::allocator;

  template <typename U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <typename U, typename... Args>
  void construct(U* place, Args&&... args) {
    ::new (static_cast<void*>(place)) U(std::forward<Args>(args)...);
  }
};

/// The bytes of one frame, with its length (replies) or without (payloads of requests).
using Frame = std::vector<std::uint8_t, UninitializedAllocator<std::uint8_t>>;

}  // namespace outrigger::wire
