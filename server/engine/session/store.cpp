#include "engine/session/store.hpp"

#include <string>
#include <utility>

namespace outrigger::engine {

Result<Tensor*> Store::find(std::uint64_t handle) {
  const auto found = entries_.find(handle);
  if (found == entries_.end()) {
    return fail(ErrorCode::bad_handle,
                "handle " + std::to_string(handle) + " is no tensor of this session");
  }
  if (const auto* failure = std::get_if<Failure>(&found->second)) {
    // However long the chain of operands is, what went wrong first is told.
    const Failure& cause = (*failure)->cause ? (*failure)->cause : *failure;
    Error error{ErrorCode::failed_operand,
                "tensor " + std::to_string(handle) + " could not be made: " + cause->text};
    error.cause = cause;
    return tl::make_unexpected(std::move(error));
  }
  return &std::get<Tensor>(found->second);
}

const Error* Store::failure(std::uint64_t handle) const {
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return nullptr;
  const auto* failure = std::get_if<Failure>(&found->second);
  return failure == nullptr ? nullptr : failure->get();
}

Result<void> Store::check_new(std::uint64_t handle, std::size_t more) const {
  if (handle == 0 || handle >= std::uint64_t{1} << 63) {
    return fail(ErrorCode::bad_handle,
                "a handle must be from 1 to 2^63 - 1, got " + std::to_string(handle));
  }
  if (const auto found = entries_.find(handle); found != entries_.end()) {
    const bool failed = std::holds_alternative<Failure>(found->second);
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

void Store::put_failure(std::uint64_t handle, const Error& cause, std::size_t more) {
  if (!check_new(handle, more)) return;
  entries_.emplace(handle, std::make_shared<const Error>(cause));
}

}  // namespace outrigger::engine
