#include "engine/session/store.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

namespace outrigger::engine {
namespace {

/// A node of the map, and its bucket, with the bytes that malloc adds.
constexpr std::uint64_t entry_bytes = 80;
/// A Storage, and the header of a small buffer.
constexpr std::uint64_t storage_bytes = 32 + sizeof(Buffer) + 64 + 16;

}  // namespace

Stored::Stored(std::size_t rank)
    : rank_(static_cast<std::uint8_t>(rank)),
      dims_(rank == 0 ? nullptr : new std::int64_t[2 * rank]) {}

void Stored::set(Tensor tensor) noexcept {
  assert(tensor.shape().size() == rank_);
  dtype_ = tensor.dtype();
  offset_ = tensor.offset;
  storage_ = std::move(tensor.storage);
  std::copy(tensor.shape().begin(), tensor.shape().end(), dims_.get());
  std::copy(tensor.strides.begin(), tensor.strides.end(), dims_.get() + rank_);
}

std::uint64_t Stored::bytes() const {
  std::uint64_t count = 1;
  for (const std::int64_t dim : shape()) count *= static_cast<std::uint64_t>(dim);
  return (count * static_cast<std::uint64_t>(bits_of(dtype_)) + 7) / 8;
}

TensorType Stored::type() const { return {dtype_, Dims(shape().begin(), shape().end())}; }

void Stored::copy_to(Tensor& tensor) const {
  const std::int64_t* strides = dims_.get() + rank_;
  tensor.type.dtype = dtype_;
  tensor.type.shape.assign(shape().begin(), shape().end());
  tensor.strides.assign(strides, strides + rank_);
  tensor.offset = offset_;
  tensor.storage = storage_;
}

bool Stored::has_type(const TensorType& type) const {
  return type.dtype == dtype_ &&
         std::equal(type.shape.begin(), type.shape.end(), shape().begin(), shape().end());
}

std::uint64_t Stored::held_bytes(std::size_t rank) {
  return entry_bytes + storage_bytes + (rank == 0 ? 0 : 16 + 2 * rank * sizeof(std::int64_t));
}

Result<Stored*> Store::find(std::uint64_t handle) {
  const auto found = entries_.find(handle);
  if (found == entries_.end()) {
    return fail(ErrorCode::bad_handle,
                "handle " + std::to_string(handle) + " is no tensor of this session");
  }
  if (const auto* failure = std::get_if<FailurePtr>(&found->second)) {
    auto failed = fail(ErrorCode::failed_operand, "tensor " + std::to_string(handle) +
                                                      " could not be made: " + (*failure)->text);
    failed.value().detail = std::make_shared<const ErrorDetail>(ErrorDetail{.cause = *failure});
    return failed;
  }
  return &std::get<Stored>(found->second);
}

bool Store::contains(std::uint64_t handle) const {
  const auto found = entries_.find(handle);
  return found != entries_.end() && std::holds_alternative<Stored>(found->second);
}

const Error* Store::failure(std::uint64_t handle) const {
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return nullptr;
  const auto* failure = std::get_if<FailurePtr>(&found->second);
  return failure == nullptr ? nullptr : failure->get();
}

Result<void> Store::check_new(std::uint64_t handle, std::size_t more) const {
  if (handle == 0 || handle >= std::uint64_t{1} << 63) {
    return fail(ErrorCode::bad_handle,
                "a handle must be from 1 to 2^63 - 1, got " + std::to_string(handle));
  }
  if (const auto found = entries_.find(handle); found != entries_.end()) {
    const bool failed = std::holds_alternative<FailurePtr>(found->second);
    return fail(ErrorCode::handle_in_use,
                "handle " + std::to_string(handle) +
                    (failed ? " is that of a tensor that could not be made; release it first"
                            : " is already a tensor"));
  }
  if (entries_.size() + more >= limits_.handles_max) {
    return fail(ErrorCode::limit_exceeded, "the session has " + std::to_string(entries_.size()) +
                                               " tensors, the most that it may have");
  }
  return {};
}

Result<void> Store::make_places(std::span<const std::uint64_t> handles,
                                std::span<const TensorType> types, Places& places) {
  assert(handles.size() == types.size());
  places.taken_.reserve(handles.size());
  for (std::size_t i = 0; i < handles.size(); ++i) {
    const std::size_t rank = types[i].shape.size();
    OUTRIGGER_TRY(MemoryCharge charge, MemoryCharge::make(memory_, Stored::held_bytes(rank)));
    const auto place = entries_.emplace(handles[i], Stored(rank)).first;
    charge.keep();
    if (counted_ != nullptr) counted_->add();
    places.taken_.emplace_back(handles[i], &std::get<Stored>(place->second));
  }
  return {};
}

void Store::commit(Places& places) noexcept {
  for (const auto& [handle, stored] : places.taken_) {
    assert(stored->storage() && "a place is committed, but has no tensor");
    bytes_ += stored->bytes();
  }
  places.taken_.clear();
}

Result<void> Store::put(std::uint64_t handle, Tensor tensor) {
  Places places(*this);
  OUTRIGGER_CHECK(make_places(std::span(&handle, 1), std::span(&tensor.type, 1), places));
  put(places, 0, std::move(tensor));
  commit(places);
  return {};
}

Store::FailurePtr Store::make_failure(const Error& error) {
  // A failed operand has a cause: the first error of the chain is kept.
  if (error.cause() != nullptr) return error.detail->cause;
  struct Charged {
    Error error;
    MemoryCharge charge;
  };
  // The request's own reply has the handles that it had written.
  Error first = error;
  first.written = {};
  auto charge = MemoryCharge::make(memory_, outrigger::held_bytes(first) + entry_bytes,
                                   Limits::failures_bytes_beyond);
  if (!charge) return nullptr;
  const auto counted =
      std::make_shared<const Charged>(Charged{std::move(first), std::move(*charge)});
  return {counted, &counted->error};
}

void Store::put_failures(std::span<const std::uint64_t> handles, const Error& error,
                         std::size_t more) {
  FailurePtr failure;
  for (const std::uint64_t handle : handles) {
    if (!check_new(handle, more)) continue;
    if (!failure) failure = make_failure(error);
    if (!failure || !memory_.charge(entry_bytes, Limits::failures_bytes_beyond)) return;
    try {
      entries_.emplace(handle, failure);
    } catch (...) {
      memory_.discharge(entry_bytes);
      throw;
    }
  }
}

void Store::discharge(const Entry& entry) noexcept {
  const auto* stored = std::get_if<Stored>(&entry);
  if (stored != nullptr && counted_ != nullptr) counted_->remove();
  if (stored != nullptr && stored->storage()) bytes_ -= stored->bytes();
  memory_.discharge(stored == nullptr ? entry_bytes : Stored::held_bytes(stored->rank()));
}

bool Store::release(std::uint64_t handle) noexcept {
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return false;
  discharge(found->second);
  entries_.erase(found);
  return true;
}

void Store::clear() noexcept {
  for (const auto& [handle, entry] : entries_) discharge(entry);
  entries_.clear();
}

}  // namespace outrigger::engine
