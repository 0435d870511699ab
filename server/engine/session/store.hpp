#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::engine {

/// The tensors of one session, by handle. A handle whose creation failed keeps the error, so that a
/// client that does not wait for replies still learns the cause.
class Store {
 public:
  explicit Store(const Limits& limits) : limits_(limits) {}

  /// Errors: bad_handle; failed_operand with the first cause.
  Result<Tensor*> find(std::uint64_t handle);

  /// Whether a new tensor may take the handle, beside `more` others. Errors: handle_in_use,
  /// limit_exceeded, bad_handle for 0 and ≥ 2^63.
  Result<void> check_new(std::uint64_t handle, std::size_t more = 0) const;

  /// Why the handle's creation failed; null if it did not.
  const Error* failure(std::uint64_t handle) const;

  void put(std::uint64_t handle, Tensor tensor) {
    entries_.insert_or_assign(handle, std::move(tensor));
  }
  /// Remembers why there is no tensor. Does nothing if the handle is taken or there is no room.
  void put_failure(std::uint64_t handle, const Error& cause, std::size_t more = 0);

  bool release(std::uint64_t handle) { return entries_.erase(handle) > 0; }
  void clear() { entries_.clear(); }
  std::size_t size() const { return entries_.size(); }

 private:
  using Failure = std::shared_ptr<const Error>;
  const Limits& limits_;
  std::unordered_map<std::uint64_t, std::variant<Tensor, Failure>> entries_;
};

}  // namespace outrigger::engine
