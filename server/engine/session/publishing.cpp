#include <string>
#include <utility>
#include <vector>

#include "base/last_memory.hpp"
#include "engine/executor/writable.hpp"
#include "engine/session/workspace.hpp"
#include "tensor/file_pages.hpp"
#include "tensor/packing.hpp"

// The requests of a session about published tensors (protocol/NAMES.md).

namespace outrigger::engine {
namespace {

constexpr std::int64_t small_copy_bytes = 16 << 10;

/// The lifetime that is left, in milliseconds.
std::optional<std::uint64_t> time_left(const Names::Item& item) {
  if (!item.end) return std::nullopt;
  const auto left = *item.end - Names::Clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
  return ms < 0 ? 0 : static_cast<std::uint64_t>(ms);
}

wire::ListedName listed(const std::string& name, const Names::Item& item) {
  const TensorType type = item.tensor.type();
  wire::ListedName out;
  out.name = name;
  out.version = item.version;
  out.dtype = name_of(type.dtype);
  out.shape = {type.shape.begin(), type.shape.end()};
  out.bytes = static_cast<std::uint64_t>(packed_byte_count(type));
  out.ttl_ms = time_left(item);
  out.token = item.token;
  return out;
}

}  // namespace

/// True for a request about names that could have to tell many subscribers.
bool Workspace::may_take_long(const RequestBody& body) const {
  constexpr std::size_t few_subscriptions = 256;
  const bool about_names =
      std::visit([]<typename Request>(const Request&) { return ChangesNames<Request>; }, body);
  return about_names && (around_.names.due() || around_.names.subscriptions() > few_subscriptions);
}

/// An empty frame, with `only_small`, if the elements have to be copied.
Workspace::Reply Workspace::publish(std::uint64_t id, const wire::Publish& request,
                                    ops::Context& context, bool only_small) {
  OUTRIGGER_TRY(const Stored* stored, store_.find(request.handle));
  OUTRIGGER_CHECK(around_.names.check_version(request.name, request.expect));
  const Tensor source = stored->tensor();
  // A published tensor counts for its publisher, and this one counts for its maker.
  const bool foreign = !source.storage->buffer->counts_in(memory_);
  const bool copied = foreign || !source.contiguous() || has_too_large_buffer(source);
  if (only_small && copied && byte_count(source.type) > small_copy_bytes) return wire::Frame{};
  Tensor tensor;
  if (source.contiguous() && !foreign) {
    OUTRIGGER_TRY(tensor, as_value(context, source));
  } else {
    OUTRIGGER_TRY(tensor, compact_copy(context, source));
  }
  // If a part of a mapped file is gone, the copy has zeros in its place.
  OUTRIGGER_CHECK(check_file_pages(source.storage->buffer->data()));
  OUTRIGGER_TRY(const std::uint64_t version,
                around_.names.publish(
                    {request.name, request.expect, request.ttl_ms, around_.tenant.name(), memory_},
                    std::move(tensor)));
  return with_last_memory([&] { return wire::encode_version(id, version); });
}

Workspace::Reply Workspace::open(std::uint64_t id, const wire::Open& request,
                                 ops::Context& context) {
  OUTRIGGER_CHECK(check_new(request.handle, 1));
  OUTRIGGER_TRY(const Names::Item* item, around_.names.find(request.name, request.version));
  const Tensor published = item->tensor.tensor();
  OUTRIGGER_CHECK(check_file_pages(published.storage->buffer->data()));
  Tensor tensor = published;
  if (!request.live) {
    OUTRIGGER_TRY(tensor, as_value(context, published));
  }
  return keep(id, request.handle, std::move(tensor), item->version);
}

Workspace::Reply Workspace::list(std::uint64_t id, const wire::ListNames& request) {
  std::optional<std::string_view> after;
  if (request.after) after = *request.after;
  std::vector<wire::ListedName> names;
  auto next = around_.names.from(request.prefix, after);
  const auto wanted = [&] {
    return next != around_.names.end() && next->first.starts_with(request.prefix);
  };
  for (; wanted() && names.size() < request.limit; ++next)
    names.push_back(listed(next->first, next->second));
  return wire::encode_names(id, names, wanted());
}

Workspace::Reply Workspace::unpublish(std::uint64_t id, const wire::Unpublish& request) {
  OUTRIGGER_TRY(const bool found, around_.names.unpublish(request.name, request.expect));
  return with_last_memory([&] { return wire::encode_found(id, found); });
}

Workspace::Reply Workspace::subscribe(std::uint64_t id, const wire::Subscribe& request) {
  OUTRIGGER_CHECK(around_.names.subscribe(around_.subscriber, request.subscription, request.pattern,
                                          request.prefix));
  return with_last_memory([&] { return wire::encode_ok(id); });
}

Workspace::Reply Workspace::unsubscribe(std::uint64_t id, const wire::Unsubscribe& request) {
  const bool found = around_.names.unsubscribe(around_.subscriber, request.subscription);
  return with_last_memory([&] { return wire::encode_found(id, found); });
}

/// The next checkpoint is to have the published tensors that the program writes.
void Workspace::note_writes(const Arguments& arguments, const Plan& plan) const {
  if (around_.checkpoints == nullptr) return;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!plan.written[i] || arguments[i] == nullptr) continue;
    const StoragePtr& storage = arguments[i]->storage();
    if (storage->published) around_.names.note_write(storage.get());
  }
}

/// Refuses a program that writes into a published tensor without the right to it.
Result<void> Workspace::check_writes(const wire::Run& request, const Arguments& arguments,
                                     const Plan& plan) const {
  if (around_.rights.has(Right::publish)) return {};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!plan.written[i] || arguments[i] == nullptr || !arguments[i]->storage()->published)
      continue;
    return fail(ErrorCode::forbidden, "the program writes into the published tensor " +
                                          std::to_string(request.args[i]) +
                                          " in place, and the token " + around_.tenant.name() +
                                          " has not the right publish");
  }
  return {};
}

}  // namespace outrigger::engine
