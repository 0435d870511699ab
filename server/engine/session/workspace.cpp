#include "engine/session/workspace.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <string>
#include <variant>

#include "base/last_memory.hpp"
#include "engine/executor/writable.hpp"
#include "engine/session/checkpoints.hpp"
#include "engine/session/loading.hpp"
#include "engine/session/small.hpp"
#include "files/npy.hpp"
#include "files/npz.hpp"
#include "files/raw.hpp"
#include "tensor/file_pages.hpp"
#include "tensor/packing.hpp"
#include "wire/program.hpp"

namespace outrigger::engine {
namespace {

wire::ResultType describe(std::uint64_t handle, const Tensor& tensor) {
  return {handle, name_of(tensor.dtype()), {tensor.shape().begin(), tensor.shape().end()}};
}

/// The reply of a request that has changed something. The client must get it, so it may take the
/// last memory.
wire::Frame encode_done(std::uint64_t id) {
  return with_last_memory([&] { return wire::encode_ok(id); });
}
wire::Frame encode_failed(std::uint64_t id, const Error& error) {
  return with_last_memory([&] { return wire::encode_error(id, error); });
}

/// Puts bytes of a tensor's data into the tensor, from `offset` on.
void put_data(std::span<const std::uint8_t> data, std::uint64_t offset, const Tensor& tensor) {
  if (data.empty()) return;
  const std::uint64_t bits = bits_of(tensor.dtype());
  if (bits >= 8) {
    std::memcpy(tensor.data() + offset, data.data(), data.size());
    return;
  }
  const auto first = static_cast<std::int64_t>(offset * 8 / bits);
  const auto n = std::min(static_cast<std::int64_t>(data.size() * 8 / bits), tensor.size() - first);
  unpack(tensor.dtype(), data.data(), n, tensor.as<std::uint8_t>() + first);
}

/// The reverse: `length` bytes of a tensor's data from `offset` on.
void get_data(const Tensor& tensor, std::uint64_t offset, std::uint64_t length, std::uint8_t* to) {
  const std::uint64_t bits = bits_of(tensor.dtype());
  if (length == 0) return;
  if (bits >= 8 && tensor.contiguous()) {
    std::memcpy(to, tensor.data() + offset, length);
    return;
  }
  const auto first = static_cast<std::int64_t>(offset * 8 / bits);
  const auto last =
      std::min(static_cast<std::int64_t>(((offset + length) * 8 + bits - 1) / bits), tensor.size());
  // The elements go through aligned memory: the request may begin and end within an element, and
  // the frame is not aligned.
  const std::uint64_t width = size_of(tensor.dtype());
  std::vector<Bits128> whole((static_cast<std::uint64_t>(last - first) * width + 15) / 16);
  ops::read_elements(tensor, first, last - first, whole.data());
  const auto* elements = reinterpret_cast<const std::uint8_t*>(whole.data());
  if (bits < 8) {
    pack(tensor.dtype(), elements, last - first, to);
  } else {
    std::memcpy(to, elements + (offset - static_cast<std::uint64_t>(first) * width), length);
  }
}

}  // namespace

std::optional<wire::Frame> Workspace::carry_out(Task& task, ops::Context& context, bool only_small,
                                                const Bounds& bounds) {
  if (only_small && !may_be_small(task.body, task.bytes, programs_, bounds)) return std::nullopt;
  bounds_ = bounds;
  changed_ = false;
  try {
    Reply reply = attempt(task, context, only_small);
    if (!reply) {
      if (bounds_.may_wait && !changed_ && reply.error().code == ErrorCode::out_of_memory)
        return std::nullopt;
      task.failure = reply.error().code;
      abandon(task, reply.error());
      check_after(task, false);
      return encode_failed(task.id, reply.error());
    }
    if (reply->empty()) return std::nullopt;
    check_after(task, true);
    return std::move(*reply);
  } catch (const std::bad_alloc&) {
    if (bounds_.may_wait && !changed_) return std::nullopt;
    const LastMemory::Use use;
    const Error error = no_memory();
    task.failure = error.code;
    abandon(task, error);
    check_after(task, false);
    return wire::encode_error(task.id, error);
  }
}

/// A request that succeeded has made its handles, or has more chunks to come; one that failed has
/// made none, and has no upload.
void Workspace::check_after([[maybe_unused]] const Task& task,
                            [[maybe_unused]] bool succeeded) const {
#ifndef NDEBUG
  const bool upload = std::holds_alternative<wire::Upload>(task.body);
  for (const std::uint64_t handle : new_handles(task.body)) {
    const bool uploading = uploads_.contains(handle);
    if (succeeded) {
      assert(store_.contains(handle) != uploading && "a request made no tensor under its handle");
      assert((upload || !uploading) && "a tensor is made under the handle of an upload");
    } else {
      assert(!(upload && uploading) && "an upload that failed goes on");
    }
  }
  assert(uploads_.size() <= limits_.uploads_max);
  assert(store_.size() <= limits_.handles_max);
  assert(programs_.size() <= limits_.programs_max);
  assert(kernels_.size() <= limits_.kernels_max);
#endif
}

/// An empty frame if nothing was done; then the task is as it was.
Workspace::Reply Workspace::attempt(Task& task, ops::Context& context, bool only_small) {
  if (task.encoded) {
    OUTRIGGER_CHECK(decode(task));
    if (only_small && !may_be_small(task.body, task.bytes, programs_, bounds_))
      return wire::Frame{};
  }
  if (task.interrupt.raised()) return tl::make_unexpected(task.interrupt.error());
  OUTRIGGER_CHECK(check_time(task));
  const std::uint64_t id = task.id;
  held_by_checkpoint_ = around_.checkpoints == nullptr ? 0 : around_.checkpoints->held_bytes();
  if (only_small && may_take_long(task.body)) return wire::Frame{};
  return std::visit(
      Overloaded{
          [&](wire::Run& request) { return run(task, request, context, only_small); },
          [&](wire::Prepare& request) { return prepare(id, request, context); },
          [&](const wire::Forget& request) -> Reply {
            programs_.forget(request.program_id);
            return encode_done(id);
          },
          [&](wire::DefineKernel& request) -> Reply {
            // It takes the unit, so the request cannot be tried again.
            changed_ = true;
            OUTRIGGER_CHECK(kernels_.define(request.kernel_id, std::move(request.unit)));
            return encode_done(id);
          },
          [&](const wire::ForgetKernel& request) -> Reply {
            kernels_.forget(request.kernel_id);
            return encode_done(id);
          },
          [&](const wire::Upload& request) { return upload(id, request); },
          [&](const wire::Download& request) { return download(id, request); },
          [&](const wire::Info& request) { return info(id, request); },
          [&](const wire::Release& request) { return release(id, request); },
          [&](const wire::Save& request) { return save(id, request, context); },
          [&](const wire::SaveNpz& request) { return save(id, request, context); },
          [&](const ReadsFile auto& request) { return load_file(id, request, context); },
          [&](const wire::Publish& request) { return publish(id, request, context, only_small); },
          [&](const wire::Open& request) { return open(id, request, context); },
          [&](const wire::ListNames& request) { return list(id, request); },
          [&](const wire::Unpublish& request) { return unpublish(id, request); },
          [&](const wire::Subscribe& request) { return subscribe(id, request); },
          [&](const wire::Unsubscribe& request) { return unsubscribe(id, request); },
          [](const OneOf<wire::Checkpoint> auto&) -> Reply {
            return fail(ErrorCode::internal, "the session itself answers this request");
          },
          [](const AnsweredAtOnce auto&) -> Reply {
            return fail(ErrorCode::internal, "a request of this kind does not belong here");
          },
      },
      task.body);
}

Result<void> Workspace::decode(Task& task) const {
  auto request = wire::Decoder(limits_).decode(*task.frame);
  // The frame was decoded before it waited: this is a mistake of ours.
  if (!request) return fail(ErrorCode::internal, request.error().error.text);
  task.body = std::move(request->body);
  task.encoded = false;
  return {};
}

/// A program that is not prepared for lack of time is not prepared later either: its calls give the
/// cause.
Result<void> Workspace::check_time(const Task& task) {
  const bool free =
      std::visit([]<typename Request>(const Request&) { return NeedsNoTime<Request>; }, task.body);
  if (free || !around_.tenant.time().limited()) return {};
  auto checked = around_.tenant.time().check(EngineTime::Clock::now());
  const auto* prepare = std::get_if<wire::Prepare>(&task.body);
  if (!checked && prepare != nullptr) programs_.refuse(prepare->program_id, checked.error());
  return checked;
}

/// The new handles of a request that failed have failed, too.
void Workspace::abandon(const Task& task, const Error& error) {
  // A failing chunk ends its upload.
  if (const auto* upload = std::get_if<wire::Upload>(&task.body)) uploads_.erase(upload->handle);
  store_.put_failures(new_handles(task.body), error, uploads_.size());
}

void Workspace::clear() {
  around_.names.unsubscribe_all(around_.subscriber);
  uploads_.clear();
  programs_.clear();
  kernels_.clear();
  store_.clear();
}

Workspace::Reply Workspace::run(Task& task, wire::Run& request, ops::Context& context,
                                bool only_small) {
  OUTRIGGER_TRY(Arguments arguments, Arguments::find(store_, request));
  OUTRIGGER_TRY(const std::shared_ptr<const Plan> plan,
                plan_for(request, arguments, context.interrupt, only_small));
  if (only_small && (plan == nullptr || !is_small(*plan, bounds_) ||
                     arguments.copies_more_than(bounds_.bytes, *plan)))
    return wire::Frame{};
  task.ops = plan->op_uses;
  return run_plan(task.id, request, context, arguments, *plan);
}

Workspace::Reply Workspace::prepare(std::uint64_t id, wire::Prepare& request,
                                    ops::Context& context) {
  if (request.handle) {
    auto program = read_program(*request.handle, context);
    if (!program) {
      programs_.refuse(request.program_id, program.error());
      return tl::make_unexpected(std::move(program).error());
    }
    request.program = *std::move(program);
  }
  OUTRIGGER_CHECK(programs_.prepare(request.program_id, request.program));
  return encode_done(id);
}

/// The program that is the data of a tensor.
Result<Program> Workspace::read_program(std::uint64_t handle, ops::Context& context) {
  // If the upload of the program's bytes failed, the client gets that error.
  if (const Error* cause = store_.failure(handle)) return tl::make_unexpected(*cause);
  OUTRIGGER_TRY(const Stored* stored, store_.find(handle));
  const Tensor tensor = stored->tensor();
  if (tensor.dtype() != DType::u8 || tensor.shape().size() != 1) {
    return fail(tensor.dtype() != DType::u8 ? ErrorCode::bad_dtype : ErrorCode::bad_shape,
                "prepare: a program is the bytes of a u8[n], got a " + to_string(tensor.type));
  }
  OUTRIGGER_TRY(const Tensor contiguous, ops::to_contiguous(context, tensor));
  const std::span bytes(contiguous.as<const std::uint8_t>(),
                        static_cast<std::size_t>(contiguous.size()));
  OUTRIGGER_TRY(const std::size_t count, wire::count_program_values(bytes, limits_));
  OUTRIGGER_TRY(const BufferPtr nodes, memory_.allocate(count * sizeof(wire::Node)));
  OUTRIGGER_TRY(
      Program program,
      wire::decode_program(bytes, {reinterpret_cast<wire::Node*>(nodes->data()), count}, limits_));
  OUTRIGGER_CHECK(files::check_intact(tensor));
  return program;
}

Workspace::Reply Workspace::info(std::uint64_t id, const wire::Info& request) {
  OUTRIGGER_TRY(const Stored* stored, store_.find(*request.handle));
  wire::TensorInfoReply reply;
  reply.shared = !stored->storage()->unique() || !stored->storage()->buffer->unique();
  const Tensor tensor = stored->tensor();
  reply.dtype = name_of(tensor.dtype());
  reply.shape.assign(tensor.shape().begin(), tensor.shape().end());
  reply.bytes = static_cast<std::uint64_t>(packed_byte_count(tensor.type));
  reply.contiguous = tensor.contiguous();
  return wire::encode_tensor_info(id, reply);
}

/// Puts a new tensor into the store, and gives the reply with its type, and with the version of a
/// name.
Workspace::Reply Workspace::keep(std::uint64_t id, std::uint64_t handle, Tensor tensor,
                                 std::optional<std::uint64_t> version) {
  Store::Places places(store_);
  OUTRIGGER_CHECK(store_.make_places(std::span(&handle, 1), std::span(&tensor.type, 1), places));
  const wire::ResultType result = describe(handle, tensor);
  wire::Frame reply = version ? wire::encode_opened(id, result, *version)
                              : wire::encode_results(id, std::span(&result, 1));
  Store::put(places, 0, std::move(tensor));
  store_.commit(places);
  return reply;
}

Result<void> Workspace::begin_upload(const wire::Upload& request) {
  uploads_.erase(request.handle);  // an upload that begins again replaces the one before
  OUTRIGGER_CHECK(check_new(request.handle, 1));
  OUTRIGGER_TRY(TensorType type, type_of(request.dtype, request.shape));
  if (uploads_.size() >= limits_.uploads_max) {
    return fail(ErrorCode::limit_exceeded,
                "there are already " + std::to_string(uploads_.size()) + " unfinished uploads");
  }
  OUTRIGGER_TRY(Tensor tensor, allocate_tensor(memory_, std::move(type)));
  uploads_.insert_or_assign(
      request.handle, PendingUpload{std::move(tensor), Counted::One(around_.tenant.handles()), 0});
  return {};
}

/// Takes one chunk; true if it is the last. The upload has grown when the request has succeeded.
Result<bool> Workspace::receive(const wire::Upload& request) {
  auto found = uploads_.find(request.handle);
  if (found == uploads_.end() || request.offset == 0) {
    if (request.offset != 0) {
      if (const Error* cause = store_.failure(request.handle)) return tl::make_unexpected(*cause);
      return fail(ErrorCode::bad_handle,
                  "the upload of tensor " + std::to_string(request.handle) + " has not begun");
    }
    OUTRIGGER_CHECK(begin_upload(request));
    found = uploads_.find(request.handle);
  }
  PendingUpload& upload = found->second;
  const TensorType& type = upload.tensor.type;
  const auto total = static_cast<std::uint64_t>(packed_byte_count(type));
  if (parse_dtype(request.dtype) != type.dtype ||
      !std::equal(request.shape.begin(), request.shape.end(), type.shape.begin(),
                  type.shape.end())) {
    return fail(ErrorCode::bad_request, "the upload began as " + to_string(type));
  }
  if (request.offset != upload.received || request.data.size() > total - upload.received) {
    return fail(ErrorCode::bad_index, std::to_string(request.data.size()) + " bytes at offset " +
                                          std::to_string(request.offset) + ", but " +
                                          std::to_string(upload.received) + " of " +
                                          std::to_string(total) + " have arrived");
  }
  put_data(request.data, upload.received, upload.tensor);
  return upload.received + request.data.size() == total;
}

Workspace::Reply Workspace::upload(std::uint64_t id, const wire::Upload& request) {
  OUTRIGGER_TRY(const bool complete, receive(request));
  const auto upload = uploads_.find(request.handle);
  if (!complete) {
    Reply reply = wire::encode_results(id, {});
    upload->second.received += request.data.size();
    return reply;
  }
  Reply reply = keep(id, request.handle, upload->second.tensor);
  if (reply) uploads_.erase(upload);
  return reply;
}

Workspace::Reply Workspace::download(std::uint64_t id, const wire::Download& request) {
  OUTRIGGER_TRY(const Stored* stored, store_.find(request.handle));
  const Tensor tensor = stored->tensor();
  const auto total = static_cast<std::uint64_t>(packed_byte_count(tensor.type));
  if (request.offset > total || request.length > total - request.offset) {
    return fail(ErrorCode::bad_index, std::to_string(request.length) + " bytes at offset " +
                                          std::to_string(request.offset) + " are outside of " +
                                          to_string(tensor.type) + ", " + std::to_string(total) +
                                          " bytes");
  }
  constexpr std::uint64_t reply_overhead = 1024;
  if (request.length > limits_.frame_bytes_max - reply_overhead) {
    return fail(ErrorCode::limit_exceeded,
                "a reply holds at most " +
                    std::to_string(limits_.frame_bytes_max - reply_overhead) +
                    " bytes, asked for " + std::to_string(request.length));
  }
  wire::DataFrame reply = wire::encode_data(id, request.length);
  get_data(tensor, request.offset, request.length, reply.frame.data() + reply.data_offset);
  OUTRIGGER_CHECK(files::check_intact(tensor));
  return std::move(reply.frame);
}

template <typename Request>
Workspace::Reply Workspace::load_file(std::uint64_t id, const Request& request,
                                      const ops::Context& context) {
  OUTRIGGER_CHECK(check_new(request.handle, 1));
  OUTRIGGER_TRY(Tensor tensor, load(memory_, context, request));
  return keep(id, request.handle, std::move(tensor));
}

Workspace::Reply Workspace::save(std::uint64_t id, const wire::Save& request,
                                 ops::Context& context) {
  OUTRIGGER_TRY(const Stored* stored, store_.find(request.handle));
  const Tensor tensor = stored->tensor();
  OUTRIGGER_TRY(const Tensor contiguous, ops::to_contiguous(context, tensor));
  OUTRIGGER_CHECK(files::save_npy(contiguous, request.path, check_of(context)));
  OUTRIGGER_CHECK(files::check_intact(tensor));
  return wire::encode_ok(id);
}

Workspace::Reply Workspace::save(std::uint64_t id, const wire::SaveNpz& request,
                                 ops::Context& context) {
  std::vector<files::NamedTensor> members;
  for (std::size_t i = 0; i < request.handles.size(); ++i) {
    OUTRIGGER_TRY(const Stored* stored, store_.find(request.handles[i]));
    OUTRIGGER_TRY(Tensor contiguous, ops::to_contiguous(context, stored->tensor()));
    members.push_back({request.names[i], std::move(contiguous)});
  }
  OUTRIGGER_CHECK(files::save_npz(members, request.path, request.compress, check_of(context)));
  for (const std::uint64_t handle : request.handles)
    OUTRIGGER_CHECK(files::check_intact((*store_.find(handle))->tensor()));
  return wire::encode_ok(id);
}

Workspace::Reply Workspace::release(std::uint64_t id, const wire::Release& request) {
  std::uint64_t released = 0;
  for (const std::uint64_t handle : request.handles) {
    released += store_.release(handle) ? 1 : 0;
    uploads_.erase(handle);
  }
  return with_last_memory([&] { return wire::encode_released(id, released); });
}

/// The plan for a run; null with `only_small`, if planning takes too long.
Result<std::shared_ptr<const Plan>> Workspace::plan_for(wire::Run& request,
                                                        const Arguments& arguments,
                                                        const ops::Interrupt& interrupt,
                                                        bool only_small) {
  if (request.program_id) {
    const auto fits = [&](const Plan& plan) { return arguments.fit(plan); };
    OUTRIGGER_TRY(auto known, programs_.known_plan(*request.program_id, fits));
    if (known) return known;
    const Extent* extent = programs_.extent(*request.program_id);
    if (only_small && extent != nullptr && !is_planned_at_once(*extent)) return nullptr;
  }
  const CallTypes call = arguments.types();
  if (request.program_id) return programs_.plan(*request.program_id, call, &interrupt);
  if (!request.program) return fail(ErrorCode::internal, "the program is gone");
  OUTRIGGER_TRY(const Extent extent, programs_.link(*request.program));
  if (only_small && !is_planned_at_once(extent)) return nullptr;
  return programs_.plan_once(request.program.pointer(), extent, call, &interrupt);
}

namespace {

/// Counts the bytes of the run's frame, if they are many.
Result<MemoryCharge> charge_frame(Memory& memory, const Plan& plan) {
  constexpr std::uint64_t uncounted_bytes = std::uint64_t{1} << 20;
  const std::uint64_t bytes = plan.types.size() * sizeof(Tensor);
  if (bytes < uncounted_bytes) return MemoryCharge();
  return MemoryCharge::make(memory, bytes);
}

}  // namespace

/// The same check as the store's, with the tensors that are being uploaded.
Result<void> Workspace::check_new(std::uint64_t handle, std::size_t count) const {
  OUTRIGGER_CHECK(store_.check_new(handle, uploads_.size() + count - 1));
  if (!uploads_.contains(handle)) return around_.tenant.handles().check(count);
  return fail(ErrorCode::handle_in_use, "handle " + std::to_string(handle) + " is being uploaded");
}

Result<void> Workspace::check_new_handles(const std::vector<std::uint64_t>& handles) const {
  for (const std::uint64_t handle : handles) OUTRIGGER_CHECK(check_new(handle, handles.size()));
  if (handles.size() < 2) return {};
  std::vector<std::uint64_t> sorted = handles;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice == sorted.end()) return {};
  return fail(ErrorCode::handle_in_use,
              "handle " + std::to_string(*twice) + " is named for two results");
}

/// The bytes that a run of the plan may take, beside what is in use. Nothing, if the program would
/// have the memory without the checkpoint that is being written.
Result<std::optional<std::uint64_t>> Workspace::check_memory(const Arguments& arguments,
                                                             const Plan& plan,
                                                             const ops::Interrupt& interrupt) {
  const auto needed = [&](const Peak& peak) {
    return saturating_add(peak.bytes, arguments.bytes_of_copies(plan, peak));
  };
  if (const std::uint64_t most = needed(plan.peak); memory_.fits(most)) return most;
  // The plan assumes the worst layout of the arguments. The real one may need less.
  PlanningSteps steps(&interrupt);
  std::uint64_t least = 0;
  try {
    least = needed(find_peak(plan, arguments.layouts(), threads_, steps));
  } catch (const PlanningInterrupted&) {
    return tl::make_unexpected(interrupt.error());
  }
  if (memory_.fits(least)) return least;
  // A checkpoint holds its buffers, and is the reason for copies of them.
  const std::uint64_t held = 2 * held_by_checkpoint_;
  if (held != 0 && memory_.fits(least - std::min(least, held))) return std::nullopt;
  return fail(ErrorCode::out_of_memory,
              "the program would exceed the memory limit: " + memory_.describe_excess(least));
}

/// A tensor that repeats elements (a constant, a broadcast) gets memory for each before it is
/// written.
Result<void> Workspace::make_arguments_dense(const Arguments& arguments, const Plan& plan,
                                             ops::Context& context) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!plan.written[i]) continue;
    const Tensor tensor = arguments[i]->tensor();
    if (!repeats_elements(tensor)) continue;
    OUTRIGGER_TRY(Tensor dense, compact_copy(context, tensor));
    arguments[i]->set(std::move(dense));
  }
  return {};
}

Workspace::Reply Workspace::run_plan(std::uint64_t id, const wire::Run& request,
                                     ops::Context& context, Arguments& arguments,
                                     const Plan& plan) {
  if (request.results.size() != plan.results.size()) {
    return fail(ErrorCode::bad_program,
                "the program gives " + std::to_string(plan.results.size()) + " results, but " +
                    std::to_string(request.results.size()) + " handles are named for them");
  }
  OUTRIGGER_CHECK(check_writes(request, arguments, plan));
  OUTRIGGER_CHECK(check_new_handles(request.results));
  OUTRIGGER_CHECK(arguments.find_donated());
  Store::Places places(store_);
  OUTRIGGER_CHECK(store_.make_places(request.results, plan.results, places));
  OUTRIGGER_TRY(const MemoryCharge frame, charge_frame(memory_, plan));
  OUTRIGGER_TRY(const auto allowed, check_memory(arguments, plan, context.interrupt));
  if (!allowed) return wire::Frame{};
  changed_ = true;
  note_writes(arguments, plan);
#ifndef NDEBUG
  const std::uint64_t before = memory_.used();
  PlanningSteps unwatched(nullptr);
  const Peak peak = find_peak(plan, arguments.layouts(), threads_, unwatched);
  const std::uint64_t most = saturating_add(peak.bytes, arguments.bytes_of_copies(plan, peak));
  memory_.reset_watermark();
  const auto as_planned = [&] {
    return memory_.watermark() - memory_.foreign() <= saturating_add(before, most);
  };
#endif
  OUTRIGGER_CHECK(make_arguments_dense(arguments, plan, context));
  assert(as_planned() && "copies of arguments took more memory than was planned");
  std::vector<Tensor> values(plan.types.size());
  boost::container::small_vector<StoragePtr, 4> storages(arguments.size());
  // The undo log: it holds the buffers, so that the first write to each goes to a copy.
  std::vector<std::pair<StoragePtr, BufferPtr>> undo;
  if (request.atomic) undo.reserve(arguments.size());

  std::optional<Profile> profile;
  if (request.profile) profile.emplace();
  const bool live = arguments.has_live_tensor();
  // An argument that is taken over is gone from the store behind this loop.
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == nullptr) continue;
    Tensor& value = values[plan.main.params[i]];
    arguments[i]->copy_to(value);
    if (request.atomic) undo.emplace_back(value.storage, value.storage->buffer);
    if (arguments.may_take_over(i)) {
      store_.release(request.args[i]);
    } else {
      storages[i] = value.storage;
    }
  }
  // Other sessions may come in between its tiles.
  std::optional<EngineGuests::Door> door;
  if (context.interrupt.lets_guests_in() && !live) door.emplace(around_.guests, memory_, *allowed);
  Outcome outcome =
      execute(context, plan, std::move(values), std::span(storages.data(), storages.size()),
              request.numbers, profile ? &*profile : nullptr);
  door.reset();
  for (const StoragePtr& storage : storages) {
    if (!storage) continue;
    // If a part of a mapped file is gone, the run has read zeros in its place.
    if (auto intact = check_file_pages(storage->buffer->data()); !intact && !outcome.error)
      outcome.error = std::move(intact).error();
  }
  assert(as_planned() && "a program took more memory than was planned");
  // From here on nothing may fail halfway.
  const auto encode = [&] { return encode_outcome(id, request, plan, outcome, profile); };
  std::optional<wire::Frame> reply;
  if (!outcome.error) reply = with_last_memory(encode);
  if (!outcome.error || !request.atomic) {
    for (const std::uint64_t handle : request.donated) store_.release(handle);
  }
  if (outcome.error) {
    for (auto& [storage, buffer] : undo) storage->buffer = buffer;
    if (!request.atomic)
      with_last_memory([&] { outcome.error->written = arguments.handles_of(outcome.written); });
    return tl::make_unexpected(std::move(*outcome.error));
  }
  for (std::size_t i = 0; i < request.results.size(); ++i)
    Store::put(places, i, std::move(outcome.results[i]));
  store_.commit(places);
  return std::move(*reply);
}

wire::Frame Workspace::encode_outcome(std::uint64_t id, const wire::Run& request, const Plan& plan,
                                      const Outcome& outcome,
                                      const std::optional<Profile>& profile) {
  boost::container::small_vector<wire::ResultType, 4> results;
  results.reserve(request.results.size());
  for (std::size_t i = 0; i < request.results.size(); ++i)
    results.push_back(describe(request.results[i], outcome.results[i]));
  const std::span<const wire::ResultType> all(results.data(), results.size());
  if (!profile) return wire::encode_results(id, all);
  return wire::encode_results(id, all, profile->steps(plan));
}

}  // namespace outrigger::engine
