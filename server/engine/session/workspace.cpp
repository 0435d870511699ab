#include "engine/session/workspace.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <string>

#include "engine/executor/writable.hpp"
#include "engine/session/loading.hpp"
#include "files/npy.hpp"
#include "files/npz.hpp"
#include "files/raw.hpp"
#include "tensor/file_pages.hpp"
#include "tensor/packing.hpp"
#include "wire/program.hpp"

namespace outrigger::engine {
namespace {

/// What may run on the I/O thread: some 20 µs.
constexpr std::uint64_t small_work = 4096;
constexpr std::uint64_t small_bytes = std::uint64_t{256} << 10;

constexpr std::size_t small_instructions = 64;

/// Whether the region has at most `left` instructions, which are taken off. Nobody knows yet what a
/// call is worth.
bool fits(const Region& region, std::size_t& left) {
  if (region.body.size() > left) return false;
  left -= region.body.size();
  return std::all_of(region.body.begin(), region.body.end(), [&](const Instruction& instruction) {
    return instruction.op != "call" &&
           std::all_of(instruction.regions.begin(), instruction.regions.end(),
                       [&](const Region& inner) { return fits(inner, left); });
  });
}

/// New handles that the request would make.
std::vector<std::uint64_t> new_handles(const Task& task) {
  if (const auto* run = std::get_if<wire::Run>(&task.body)) return run->results;
  if (const auto* upload = std::get_if<wire::Upload>(&task.body)) return {upload->handle};
  if (const auto* load = std::get_if<wire::Load>(&task.body)) return {load->handle};
  if (const auto* load = std::get_if<wire::LoadRaw>(&task.body)) return {load->handle};
  if (const auto* load = std::get_if<wire::LoadCsv>(&task.body)) return {load->handle};
  return {};
}

/// Puts bytes of a tensor's data, which stand at `offset` in it, where they belong.
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
  // By way of aligned memory: neither the request's bounds nor the frame keep to whole elements.
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

std::optional<wire::Frame> Workspace::carry_out(Task& task, ops::Context& context,
                                                bool only_small) {
  std::shared_ptr<const Plan> plan;
  if (task.interrupt.raised()) {
    const Error error = task.interrupt.error();
    abandon(task, error);
    return wire::encode_error(task.id, error);
  }
  if (const auto* run = std::get_if<wire::Run>(&task.body);
      only_small && run != nullptr && run->program) {
    // Planning takes time too.
    std::size_t left = small_instructions;
    if (!fits(*run->program, left)) return std::nullopt;
  }
  Reply reply = [&]() -> Reply {
    if (auto* run = std::get_if<wire::Run>(&task.body)) {
      OUTRIGGER_TRY(plan, plan_for(*run));
    }
    if (only_small && !is_small(task, plan)) return wire::Frame{};
    return dispatch(task, context, plan);
  }();
  if (reply) {
    if (reply->empty()) return std::nullopt;
    return std::move(*reply);
  }
  abandon(task, reply.error());
  return wire::encode_error(task.id, reply.error());
}

bool Workspace::is_small(const Task& task, const std::shared_ptr<const Plan>& plan) const {
  if (plan) return plan->work <= small_work;
  if (const auto* download = std::get_if<wire::Download>(&task.body))
    return download->length <= small_bytes;
  if (std::holds_alternative<wire::Load>(task.body) ||
      std::holds_alternative<wire::LoadRaw>(task.body) ||
      std::holds_alternative<wire::LoadCsv>(task.body) ||
      std::holds_alternative<wire::Save>(task.body) ||
      std::holds_alternative<wire::SaveNpz>(task.body))
    return false;
  if (const auto* prepare = std::get_if<wire::Prepare>(&task.body); prepare && prepare->handle)
    return false;
  return task.bytes <= small_bytes;
}

void Workspace::abandon(const Task& task, const Error& error) {
  for (const std::uint64_t handle : new_handles(task))
    store_.put_failure(handle, error, uploads_.size());
}

void Workspace::clear() {
  uploads_.clear();
  programs_.clear();
  store_.clear();
}

Workspace::Reply Workspace::dispatch(Task& task, ops::Context& context,
                                     const std::shared_ptr<const Plan>& plan) {
  const std::uint64_t id = task.id;
  if (const auto* request = std::get_if<wire::Run>(&task.body))
    return run(id, *request, context, *plan);
  if (const auto* request = std::get_if<wire::Upload>(&task.body)) return upload(id, *request);
  if (const auto* request = std::get_if<wire::Download>(&task.body)) return download(id, *request);
  if (const auto* request = std::get_if<wire::Release>(&task.body)) return release(id, *request);
  if (const auto* request = std::get_if<wire::Info>(&task.body)) return info(id, *request);
  if (const auto* request = std::get_if<wire::Load>(&task.body))
    return load_file(id, *request, context);
  if (const auto* request = std::get_if<wire::LoadRaw>(&task.body))
    return load_file(id, *request, context);
  if (const auto* request = std::get_if<wire::LoadCsv>(&task.body))
    return load_file(id, *request, context);
  if (const auto* request = std::get_if<wire::Save>(&task.body)) return save(id, *request, context);
  if (const auto* request = std::get_if<wire::SaveNpz>(&task.body))
    return save(id, *request, context);
  if (auto* request = std::get_if<wire::Prepare>(&task.body)) return prepare(id, *request, context);
  if (const auto* request = std::get_if<wire::Forget>(&task.body)) {
    programs_.forget(request->program_id);
    return wire::encode_ok(id);
  }
  return fail(ErrorCode::internal, "a request of this kind does not belong here");
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
  OUTRIGGER_CHECK(programs_.prepare(request.program_id, *std::move(request.program)));
  return wire::encode_ok(id);
}

/// The program that is the data of a tensor.
Result<Program> Workspace::read_program(std::uint64_t handle, ops::Context& context) {
  // The client speaks of a program: a failed upload of its bytes is what is wrong with it.
  if (const Error* cause = store_.failure(handle)) return tl::make_unexpected(*cause);
  OUTRIGGER_TRY(const Tensor* tensor, store_.find(handle));
  if (tensor->dtype() != DType::u8 || tensor->shape().size() != 1) {
    return fail(tensor->dtype() != DType::u8 ? ErrorCode::bad_dtype : ErrorCode::bad_shape,
                "prepare: a program is the bytes of a u8[n], got a " + to_string(tensor->type));
  }
  OUTRIGGER_TRY(const Tensor contiguous, ops::to_contiguous(context, *tensor));
  const std::span bytes(contiguous.as<const std::uint8_t>(),
                        static_cast<std::size_t>(contiguous.size()));
  OUTRIGGER_TRY(const std::size_t count, wire::count_program_values(bytes, limits_));
  OUTRIGGER_TRY(const BufferPtr nodes, memory_.allocate(count * sizeof(wire::Node)));
  OUTRIGGER_TRY(
      Program program,
      wire::decode_program(bytes, {reinterpret_cast<wire::Node*>(nodes->data()), count}, limits_));
  OUTRIGGER_CHECK(files::check_intact(*tensor));
  return program;
}

Workspace::Reply Workspace::info(std::uint64_t id, const wire::Info& request) {
  OUTRIGGER_TRY(const Tensor* tensor, store_.find(*request.handle));
  wire::TensorInfoReply reply;
  reply.dtype = name_of(tensor->dtype());
  reply.shape.assign(tensor->shape().begin(), tensor->shape().end());
  reply.bytes = static_cast<std::uint64_t>(packed_byte_count(tensor->type));
  reply.contiguous = tensor->contiguous();
  reply.shared = !tensor->unique();
  return wire::encode_tensor_info(id, reply);
}

wire::ResultType Workspace::describe(std::uint64_t handle) {
  const Tensor& tensor = **store_.find(handle);
  return wire::ResultType{
      handle, name_of(tensor.dtype()), {tensor.shape().begin(), tensor.shape().end()}};
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
  uploads_.insert_or_assign(request.handle, PendingUpload{std::move(tensor), 0});
  return {};
}

/// Takes one chunk; true if it was the last.
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
  upload.received += request.data.size();
  return upload.received == total;
}

Workspace::Reply Workspace::upload(std::uint64_t id, const wire::Upload& request) {
  const Result<bool> complete = receive(request);
  if (!complete) {
    uploads_.erase(request.handle);
    return tl::make_unexpected(complete.error());
  }
  if (!*complete) return wire::encode_results(id, {});
  store_.put(request.handle, std::move(uploads_.at(request.handle).tensor));
  uploads_.erase(request.handle);
  const wire::ResultType result = describe(request.handle);
  return wire::encode_results(id, std::span(&result, 1));
}

Workspace::Reply Workspace::download(std::uint64_t id, const wire::Download& request) {
  OUTRIGGER_TRY(const Tensor* tensor, store_.find(request.handle));
  const auto total = static_cast<std::uint64_t>(packed_byte_count(tensor->type));
  if (request.offset > total || request.length > total - request.offset) {
    return fail(ErrorCode::bad_index, std::to_string(request.length) + " bytes at offset " +
                                          std::to_string(request.offset) + " are outside of " +
                                          to_string(tensor->type) + ", " + std::to_string(total) +
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
  get_data(*tensor, request.offset, request.length, reply.frame.data() + reply.data_offset);
  OUTRIGGER_CHECK(files::check_intact(*tensor));
  return std::move(reply.frame);
}

template <typename Request>
Workspace::Reply Workspace::load_file(std::uint64_t id, const Request& request,
                                      const ops::Context& context) {
  OUTRIGGER_CHECK(check_new(request.handle, 1));
  OUTRIGGER_TRY(Tensor tensor, load(memory_, context, request));
  store_.put(request.handle, std::move(tensor));
  const wire::ResultType result = describe(request.handle);
  return wire::encode_results(id, std::span(&result, 1));
}

Workspace::Reply Workspace::save(std::uint64_t id, const wire::Save& request,
                                 ops::Context& context) {
  OUTRIGGER_TRY(const Tensor* tensor, store_.find(request.handle));
  OUTRIGGER_TRY(const Tensor contiguous, ops::to_contiguous(context, *tensor));
  OUTRIGGER_CHECK(files::save_npy(contiguous, request.path, check_of(context)));
  OUTRIGGER_CHECK(files::check_intact(*tensor));
  return wire::encode_ok(id);
}

Workspace::Reply Workspace::save(std::uint64_t id, const wire::SaveNpz& request,
                                 ops::Context& context) {
  std::vector<files::NamedTensor> members;
  for (std::size_t i = 0; i < request.handles.size(); ++i) {
    OUTRIGGER_TRY(const Tensor* tensor, store_.find(request.handles[i]));
    OUTRIGGER_TRY(Tensor contiguous, ops::to_contiguous(context, *tensor));
    members.push_back({request.names[i], std::move(contiguous)});
  }
  OUTRIGGER_CHECK(files::save_npz(members, request.path, request.compress, check_of(context)));
  for (const std::uint64_t handle : request.handles)
    OUTRIGGER_CHECK(files::check_intact(**store_.find(handle)));
  return wire::encode_ok(id);
}

Workspace::Reply Workspace::release(std::uint64_t id, const wire::Release& request) {
  std::uint64_t released = 0;
  for (const std::uint64_t handle : request.handles) {
    released += store_.release(handle) ? 1 : 0;
    uploads_.erase(handle);
  }
  return wire::encode_released(id, released);
}

Result<std::shared_ptr<const Plan>> Workspace::plan_for(wire::Run& request) {
  boost::container::small_vector<TensorType, 4> types;
  for (const std::uint64_t handle : request.args) {
    OUTRIGGER_TRY(const Tensor* tensor, store_.find(handle));
    types.push_back(tensor->type);
  }
  const std::span<const TensorType> arguments(types.data(), types.size());
  if (request.program_id) return programs_.plan(*request.program_id, arguments);
  if (!request.program) return fail(ErrorCode::internal, "the program is gone");
  OUTRIGGER_CHECK(programs_.link(*request.program));
  // Kept whole: the engine thread may have to plan again what was too large for the I/O thread.
  return make_plan(memory_, std::make_shared<const Program>(*request.program), arguments, threads_);
}

/// As the store does, but what is being uploaded counts too.
Result<void> Workspace::check_new(std::uint64_t handle, std::size_t count) const {
  OUTRIGGER_CHECK(store_.check_new(handle, uploads_.size() + count - 1));
  if (!uploads_.contains(handle)) return {};
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

Result<void> Workspace::check_donated(const wire::Run& request) const {
  for (const std::uint64_t handle : request.donated) {
    if (std::count(request.args.begin(), request.args.end(), handle) > 0) continue;
    return fail(ErrorCode::bad_request,
                "tensor " + std::to_string(handle) + " is donated, but is none of the arguments");
  }
  return {};
}

Result<void> Workspace::check_memory(const wire::Run& request, const Plan& plan) {
  std::uint64_t needed = bytes_needed(request, plan, plan.peak);
  if (memory_.fits(needed)) return {};
  // The plan assumes the worst layout of the arguments; it may be better.
  needed = bytes_needed(request, plan, find_peak(plan, layouts(request), threads_));
  if (memory_.fits(needed)) return {};
  return fail(ErrorCode::out_of_memory,
              "the program would exceed the memory limit: " + memory_.describe_excess(needed));
}

std::uint64_t Workspace::bytes_needed(const wire::Run& request, const Plan& plan,
                                      const Peak& peak) {
  std::uint64_t needed = peak.bytes;
  for (std::size_t i = 0; i < request.args.size(); ++i) {
    if (!plan.written[i]) continue;
    const Tensor& tensor = **store_.find(request.args[i]);
    const bool repeats = repeats_elements(tensor);
    const std::size_t bytes = repeats ? static_cast<std::size_t>(byte_count(tensor.type))
                                      : tensor.storage->buffer->bytes();
    const bool shared = request.atomic || (!repeats && !tensor.storage->buffer->unique());
    std::uint64_t copies = peak.argument_copies[i] + (repeats ? 1U : 0U) + (shared ? 1U : 0U);
    for (; copies > 0; --copies) needed = saturating_add(needed, Memory::capacity_of(bytes));
  }
  return needed;
}

std::vector<ArgumentLayout> Workspace::layouts(const wire::Run& request) {
  std::vector<ArgumentLayout> layouts;
  for (const std::uint64_t handle : request.args) {
    const Tensor& tensor = **store_.find(handle);
    const auto holders =
        std::count_if(request.args.begin(), request.args.end(), [&](std::uint64_t other) {
          return (**store_.find(other)).storage->buffer == tensor.storage->buffer;
        });
    const bool donated = tensor.unique() && may_take_over(request, handle);
    const std::uint64_t bytes = Memory::capacity_of(tensor.storage->buffer->bytes());
    layouts.push_back({tensor.contiguous(), holders == 1, donated ? bytes : 0});
  }
  return layouts;
}

/// Whether the run may have the argument for itself. The undo log holds on to what it may have to
/// bring back, and a file's pages are looked at again afterwards.
bool Workspace::may_take_over(const wire::Run& request, std::uint64_t handle) {
  return !request.atomic && std::count(request.args.begin(), request.args.end(), handle) == 1 &&
         std::count(request.donated.begin(), request.donated.end(), handle) > 0 &&
         !has_file_pages((**store_.find(handle)).storage->buffer->data());
}

/// A tensor that repeats elements (a constant, a broadcast) gets memory for each before it is
/// written.
Result<void> Workspace::make_arguments_dense(const wire::Run& request, const Plan& plan,
                                             ops::Context& context) {
  for (std::size_t i = 0; i < request.args.size(); ++i) {
    Tensor& tensor = **store_.find(request.args[i]);
    if (plan.written[i] && repeats_elements(tensor)) {
      OUTRIGGER_TRY(tensor, compact_copy(context, tensor));
    }
  }
  return {};
}

Workspace::Reply Workspace::run(std::uint64_t id, const wire::Run& request, ops::Context& context,
                                const Plan& plan) {
  if (request.results.size() != plan.results.size()) {
    return fail(ErrorCode::bad_program,
                "the program gives " + std::to_string(plan.results.size()) + " results, but " +
                    std::to_string(request.results.size()) + " handles are named for them");
  }
  OUTRIGGER_CHECK(check_new_handles(request.results));
  OUTRIGGER_CHECK(check_donated(request));
  OUTRIGGER_CHECK(check_memory(request, plan));
#ifndef NDEBUG
  const std::uint64_t before = memory_.used();
  const std::uint64_t most =
      bytes_needed(request, plan, find_peak(plan, layouts(request), threads_));
  memory_.reset_watermark();
#endif
  OUTRIGGER_CHECK(make_arguments_dense(request, plan, context));
  boost::container::small_vector<Tensor, 4> arguments;
  Donations donated;
  for (std::size_t i = 0; i < request.args.size(); ++i) {
    Tensor& tensor = **store_.find(request.args[i]);
    if (may_take_over(request, request.args[i])) {
      donated.emplace_back(i, std::move(tensor));
      store_.release(request.args[i]);
      arguments.emplace_back();
    } else {
      arguments.push_back(tensor);
    }
  }

  // Holding on to the buffers makes the first write to each go to a copy: the undo log.
  std::vector<std::pair<StoragePtr, BufferPtr>> undo;
  if (request.atomic) {
    for (const Tensor& argument : arguments)
      undo.emplace_back(argument.storage, argument.storage->buffer);
  }
  std::optional<Profile> profile;
  if (request.profile) profile.emplace();
  Outcome outcome = execute(context, plan, std::span(arguments.data(), arguments.size()),
                            std::move(donated), profile ? &*profile : nullptr);
  for (const Tensor& argument : arguments) {
    if (!argument.storage) continue;
    // Zeros may have stood in for a part of a file that is gone.
    if (auto intact = files::check_intact(argument); !intact && !outcome.error)
      outcome.error = std::move(intact).error();
  }
  assert(memory_.watermark() - before <= most && "a program took more memory than was planned");
  if (!outcome.error || !request.atomic) {
    for (const std::uint64_t handle : request.donated) store_.release(handle);
  }
  if (outcome.error) {
    for (auto& [storage, buffer] : undo) storage->buffer = buffer;
    for (std::size_t i = 0; i < request.args.size() && !request.atomic; ++i) {
      if (outcome.written[i]) outcome.error->written.push_back(request.args[i]);
    }
    return tl::make_unexpected(std::move(*outcome.error));
  }
  std::vector<wire::ResultType> results;
  results.reserve(request.results.size());
  for (std::size_t i = 0; i < request.results.size(); ++i) {
    store_.put(request.results[i], std::move(outcome.results[i]));
    results.push_back(describe(request.results[i]));
  }
  if (!profile) return wire::encode_results(id, results);
  return wire::encode_results(id, results, profile->steps(plan));
}

}  // namespace outrigger::engine
