#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <variant>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "engine/session/tenant.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::engine {

/// A tensor as the store holds it, in no more memory than its rank needs.
class Stored {
 public:
  Stored() = default;
  /// With room for a tensor of that rank.
  explicit Stored(std::size_t rank);
  Stored(const Stored&) = delete;
  Stored& operator=(const Stored&) = delete;
  Stored(Stored&&) noexcept = default;
  Stored& operator=(Stored&&) noexcept = default;
  ~Stored() = default;

  /// A tensor of the rank that it was made for.
  void set(Tensor tensor) noexcept;
  Tensor tensor() const {
    Tensor tensor;
    copy_to(tensor);
    return tensor;
  }
  void copy_to(Tensor& tensor) const;
  TensorType type() const;
  /// The bytes of the elements, packed as the protocol packs them.
  std::uint64_t bytes() const;
  bool has_type(const TensorType& type) const;
  std::size_t rank() const { return rank_; }
  const StoragePtr& storage() const { return storage_; }

  /// The approximate bytes of a tensor of that rank beside its elements: entry, storage, header of
  /// the buffer.
  static std::uint64_t held_bytes(std::size_t rank);

 private:
  std::span<const std::int64_t> shape() const { return {dims_.get(), rank_}; }

  DType dtype_ = DType::f32;
  std::uint8_t rank_ = 0;
  std::int64_t offset_ = 0;
  StoragePtr storage_;
  std::unique_ptr<std::int64_t[]> dims_;  ///< the shape, then the strides
};

/// The tensors of one session, by handle. A handle whose creation failed keeps the error, so that a
/// client that does not wait for replies also learns the cause. The bytes of tensors beside their
/// elements, and those of errors, count against the memory limit.
class Store {
 public:
  /// `counted`: the tensors of the token, if it has one.
  Store(Memory& memory, const Limits& limits, Counted* counted = nullptr)
      : memory_(memory), limits_(limits), counted_(counted) {}
  ~Store() { clear(); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Valid until the handle is released. Errors: bad_handle; failed_operand with the first cause.
  Result<Stored*> find(std::uint64_t handle);

  /// True if a new tensor may take the handle, beside `more` others. Errors: handle_in_use,
  /// limit_exceeded, bad_handle for 0 and ≥ 2^63.
  Result<void> check_new(std::uint64_t handle, std::size_t more = 0) const;

  /// The error of the handle's creation; null if it did not fail.
  const Error* failure(std::uint64_t handle) const;
  /// True if the handle is that of a tensor.
  bool contains(std::uint64_t handle) const;

 private:
  /// The bytes of the error count as long as it lives.
  using FailurePtr = std::shared_ptr<const Error>;
  using Entry = std::variant<Stored, FailurePtr>;
  using Entries = std::unordered_map<std::uint64_t, Entry>;

 public:
  /// Room for new tensors, taken before they are made, so that to put them cannot fail. Its end
  /// frees the places that were not committed. Until then, or until the commit, the handles must
  /// not be looked for.
  class Places {
   public:
    explicit Places(Store& store) : store_(store) {}
    Places(const Places&) = delete;
    Places& operator=(const Places&) = delete;
    ~Places() {
      for (const auto& [handle, stored] : taken_) store_.release(handle);
    }

   private:
    friend class Store;
    Store& store_;
    boost::container::small_vector<std::pair<std::uint64_t, Stored*>, 2> taken_;
  };
  /// Places for tensors of these types under handles that check_new has passed. Errors:
  /// out_of_memory.
  Result<void> make_places(std::span<const std::uint64_t> handles,
                           std::span<const TensorType> types, Places& places);
  /// Puts a tensor into the place of that position.
  static void put(Places& places, std::size_t position, Tensor tensor) noexcept {
    places.taken_[position].second->set(std::move(tensor));
  }
  /// Keeps the tensors of the places. All of them have been put.
  void commit(Places& places) noexcept;

  /// Puts one tensor under a handle that check_new has passed. Errors: out_of_memory.
  Result<void> put(std::uint64_t handle, Tensor tensor);

  /// Keeps the error as the reason why there are no tensors under the handles, which share it.
  /// Leaves out the handles that are in use, and those for which there is no room.
  void put_failures(std::span<const std::uint64_t> handles, const Error& error,
                    std::size_t more = 0);

  bool release(std::uint64_t handle) noexcept;
  void clear() noexcept;
  std::size_t size() const { return entries_.size(); }
  /// The bytes of the elements of its tensors. Elements of several handles count for each.
  std::uint64_t bytes() const { return bytes_; }

 private:
  void discharge(const Entry& entry) noexcept;
  FailurePtr make_failure(const Error& error);

  Memory& memory_;
  const Limits& limits_;
  Counted* const counted_;
  Entries entries_;
  std::uint64_t bytes_ = 0;
};

}  // namespace outrigger::engine
