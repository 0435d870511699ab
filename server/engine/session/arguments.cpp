#include "engine/session/arguments.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>

#include "engine/executor/writable.hpp"
#include "tensor/file_pages.hpp"

namespace outrigger::engine {
namespace {

using SortedHandles = boost::container::small_vector<std::uint64_t, 8>;

SortedHandles sorted(const std::vector<std::uint64_t>& handles) {
  SortedHandles all(handles.begin(), handles.end());
  std::sort(all.begin(), all.end());
  return all;
}

bool contains(const SortedHandles& handles, std::uint64_t handle) {
  return std::binary_search(handles.begin(), handles.end(), handle);
}

/// True if the handle is in the list exactly once.
bool contains_once(const SortedHandles& handles, std::uint64_t handle) {
  const auto [first, last] = std::equal_range(handles.begin(), handles.end(), handle);
  return last - first == 1;
}

}  // namespace

Result<Arguments> Arguments::find(Store& store, const wire::Run& request) {
  Arguments arguments(request);
  arguments.stored_.reserve(request.args.size());
  auto number = request.numbers.begin();
  for (std::size_t i = 0; i < request.args.size(); ++i) {
    if (number != request.numbers.end() && number->first == i) {
      arguments.stored_.push_back(nullptr);
      ++number;
      continue;
    }
    OUTRIGGER_TRY(Stored * stored, store.find(request.args[i]));
    arguments.stored_.push_back(stored);
  }
  return arguments;
}

bool Arguments::fit(const Plan& plan) const {
  if (plan.argument_count() != size() || !fits_numbers(plan, request_->numbers)) return false;
  for (std::size_t i = 0; i < size(); ++i) {
    if (stored_[i] != nullptr && !stored_[i]->has_type(plan.argument(i))) return false;
  }
  return true;
}

CallTypes Arguments::types() const {
  const auto at = [this](std::size_t i) {
    if (stored_[i] != nullptr) return stored_[i]->type();
    const auto& numbers = request_->numbers;
    const auto number = std::lower_bound(
        numbers.begin(), numbers.end(), i,
        [](const NumberArgument& given, std::size_t position) { return given.first < position; });
    return TensorType{infer_dtype(number->second), {}};
  };
  return {ArgumentTypes(size(), at), request_->numbers};
}

Result<void> Arguments::find_donated() {
  if (request_->donated.empty()) return {};
  const SortedHandles args = sorted(request_->args);
  const SortedHandles donated = sorted(request_->donated);
  for (const std::uint64_t handle : request_->donated) {
    if (contains(args, handle)) continue;
    return fail(ErrorCode::bad_request,
                "tensor " + std::to_string(handle) + " is donated, but is none of the arguments");
  }
  if (request_->atomic) return {};
  taken_over_.assign(size(), false);
  for (std::size_t i = 0; i < size(); ++i) {
    const std::uint64_t handle = request_->args[i];
    taken_over_[i] = stored_[i] != nullptr && contains(donated, handle) &&
                     contains_once(args, handle) &&
                     !has_file_pages(stored_[i]->storage()->buffer->data());
  }
  return {};
}

std::vector<ArgumentLayout> Arguments::layouts() const {
  boost::container::small_vector<const Buffer*, 8> buffers;
  for (const Stored* stored : stored_) {
    if (stored != nullptr) buffers.push_back(stored->storage()->buffer.get());
  }
  std::sort(buffers.begin(), buffers.end());
  std::vector<ArgumentLayout> layouts;
  layouts.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) {
    if (stored_[i] == nullptr) {
      layouts.push_back({true, true, 0});
      continue;
    }
    const Buffer* buffer = stored_[i]->storage()->buffer.get();
    const auto [first, last] = std::equal_range(buffers.begin(), buffers.end(), buffer);
    const Tensor tensor = stored_[i]->tensor();
    // `tensor` holds the storage, too.
    const bool alone = tensor.storage->references.load() == 2 && buffer->unique();
    const bool donated = may_take_over(i) && alone;
    layouts.push_back({tensor.contiguous(), last - first == 1,
                       donated ? Memory::capacity_of(buffer->bytes()) : 0});
  }
  return layouts;
}

std::uint64_t Arguments::bytes_of_copies(const Plan& plan, const Peak& peak) const {
  std::uint64_t needed = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if (!plan.written[i]) continue;
    const Tensor tensor = stored_[i]->tensor();
    const bool repeats = repeats_elements(tensor);
    const std::size_t bytes = repeats ? static_cast<std::size_t>(byte_count(tensor.type))
                                      : tensor.storage->buffer->bytes();
    const bool shared = request_->atomic || (!repeats && !tensor.storage->buffer->unique());
    std::uint64_t copies = peak.argument_copies[i] + (repeats ? 1U : 0U) + (shared ? 1U : 0U);
    for (; copies > 0; --copies) needed = saturating_add(needed, Memory::capacity_of(bytes));
  }
  return needed;
}

std::vector<std::uint64_t> Arguments::handles_of(const std::vector<bool>& marked) const {
  std::vector<std::uint64_t> handles;
  std::unordered_set<std::uint64_t> known;
  for (std::size_t i = 0; i < size(); ++i) {
    if (i < marked.size() && marked[i] && known.insert(request_->args[i]).second)
      handles.push_back(request_->args[i]);
  }
  return handles;
}

bool Arguments::copies_more_than(std::uint64_t bytes, const Plan& plan) const {
  for (std::size_t i = 0; i < stored_.size(); ++i) {
    if (!plan.written[i] || stored_[i] == nullptr) continue;
    const Buffer& buffer = *stored_[i]->storage()->buffer;
    if ((request_->atomic || !buffer.unique()) && buffer.bytes() > bytes) return true;
  }
  return false;
}

bool Arguments::has_live_tensor() const {
  return std::any_of(stored_.begin(), stored_.end(), [](const Stored* stored) {
    return stored != nullptr && stored->storage()->published;
  });
}

}  // namespace outrigger::engine
