#include "wire/reply.hpp"

#include <algorithm>
#include <array>
#include <cassert>

#include <msgpack.hpp>

namespace outrigger::wire {

namespace {

/// Writes the map of one reply into a frame, after its length.
class Writer {
 public:
  /// `bytes` is an estimate. A longer reply costs another allocation.
  explicit Writer(std::size_t bytes) {
    frame_.reserve(bytes);
    frame_.resize(header_bytes);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// msgpack::packer calls this.
  void write(const char* bytes, std::size_t count) {
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes);
    frame_.insert(frame_.end(), first, first + count);
  }

  void map(std::size_t entries) { packer_.pack_map(static_cast<std::uint32_t>(entries)); }
  void array(std::size_t items) { packer_.pack_array(static_cast<std::uint32_t>(items)); }
  void text(std::string_view text) {
    packer_.pack_str(static_cast<std::uint32_t>(text.size()));
    packer_.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
  }
  void natural(std::uint64_t value) { packer_.pack_uint64(value); }
  void boolean(bool value) { value ? packer_.pack_true() : packer_.pack_false(); }
  void nil() { packer_.pack_nil(); }
  void binary_header(std::size_t bytes) { packer_.pack_bin(static_cast<std::uint32_t>(bytes)); }

  void entry(std::string_view key, std::string_view value) {
    text(key);
    text(value);
  }
  void entry(std::string_view key, std::uint64_t value) {
    text(key);
    natural(value);
  }
  void flag(std::string_view key, bool value) {
    text(key);
    boolean(value);
  }
  template <typename Integers>
  void integers(std::string_view key, const Integers& values) {
    text(key);
    array(values.size());
    for (const auto value : values) natural(static_cast<std::uint64_t>(value));
  }

  /// Writes the keys at the beginning of every reply; `entries` is the number of entries that
  /// follow.
  void begin(std::uint64_t id, std::string_view status, std::size_t entries) {
    map(entries + 2);
    entry("id", id);
    entry("status", status);
  }

  std::size_t size() const { return frame_.size(); }

  /// Completes the frame, with `more` uninitialised bytes at its end.
  Frame finish(std::size_t more = 0) {
    frame_.resize(frame_.size() + more);
    const std::size_t length = frame_.size() - header_bytes;
    for (std::size_t i = 0; i < header_bytes; ++i) {
      frame_[i] = static_cast<std::uint8_t>(length >> (8 * (header_bytes - 1 - i)));
    }
    return std::move(frame_);
  }

 private:
  static constexpr std::size_t header_bytes = 4;
  Frame frame_;
  msgpack::packer<Writer> packer_{*this};
};

std::string_view status_of(ErrorCode code) {
  if (code == ErrorCode::cancelled || code == ErrorCode::deadline_exceeded) return name_of(code);
  return "error";
}

void write_limits(Writer& writer, const Limits& limits) {
  writer.text("limits");
  writer.map(11);
  writer.entry("frame_bytes_max", limits.frame_bytes_max);
  writer.entry("requests_window", limits.requests_window);
  writer.entry("bytes_window", limits.bytes_window);
  writer.entry("handles_max", limits.handles_max);
  writer.entry("programs_max", limits.programs_max);
  writer.entry("instructions_max", limits.instructions_max);
  writer.entry("depth_max", limits.depth_max);
  writer.entry("nesting_max", Limits::nesting_max);
  writer.entry("program_bytes_max", limits.program_bytes_max);
  writer.entry("results_max", limits.results_max);
  writer.entry("reply_bytes_max", Limits::reply_bytes_max);
}

void write_rights(Writer& writer, Rights rights) {
  const auto names = rights.names();
  writer.text("rights");
  writer.array(names.size());
  for (const std::string_view name : names) writer.text(name);
}

void write_connection(Writer& writer, const ConnectionInfo& connection) {
  writer.text("connection");
  writer.map(6);
  writer.entry("session", connection.session);
  writer.entry("sessions", connection.sessions);
  writer.entry("transport", connection.transport);
  writer.entry("peer", connection.peer);
  writer.entry("token", connection.token);
  write_rights(writer, connection.rights);
}

void write_checkpoint(Writer& writer, const CheckpointInfo& checkpoint) {
  writer.text("checkpoint");
  writer.map(7);
  writer.entry("number", checkpoint.number);
  writer.text("taken_at_ms");
  checkpoint.taken_at_ms ? writer.natural(*checkpoint.taken_at_ms) : writer.nil();
  writer.entry("names", checkpoint.names);
  writer.entry("bytes", checkpoint.bytes);
  writer.entry("duration_ms", checkpoint.duration_ms);
  writer.flag("changed", checkpoint.changed);
  writer.text("error");
  checkpoint.error ? writer.text(cut(*checkpoint.error, error_text_bytes_max)) : writer.nil();
}

void write_quotas(Writer& writer, const Quotas& quotas) {
  const std::array<std::pair<std::string_view, std::uint64_t>, 5> all{{
      {"bytes", quotas.bytes},
      {"handles", quotas.handles},
      {"programs", quotas.programs},
      {"sessions", quotas.sessions},
      {"minute_ms", static_cast<std::uint64_t>(quotas.seconds * 1000)},
  }};
  writer.text("quotas");
  writer.map(static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [](const auto& quota) { return quota.second != 0; })));
  for (const auto& [name, value] : all) {
    if (value != 0) writer.entry(name, value);
  }
}

void write_tenants(Writer& writer, std::span<const TenantInfo> tenants) {
  writer.text("tenants");
  writer.array(tenants.size());
  for (const TenantInfo& tenant : tenants) {
    writer.map(9);
    writer.entry("token", std::string_view(tenant.token));
    writer.entry("priority", std::uint64_t{tenant.quotas.priority});
    writer.entry("sessions", tenant.sessions);
    writer.entry("bytes", tenant.bytes);
    writer.entry("handles", tenant.handles);
    writer.entry("programs", tenant.programs);
    writer.entry("minute_ms", tenant.minute_ms);
    writer.entry("engine_ms", tenant.engine_ms);
    write_quotas(writer, tenant.quotas);
  }
}

void write_error(Writer& writer, const Error& error) {
  writer.map(3U + (error.op.empty() ? 0U : 1U) + (error.path.empty() ? 0U : 1U) +
             (error.at() != nullptr ? 1U : 0U) + (error.cause() != nullptr ? 1U : 0U));
  writer.entry("code", name_of(error.code));
  writer.entry("text", cut(error.text, error_text_bytes_max));
  if (!error.op.empty()) writer.entry("op", cut(error.op, error_op_bytes_max));
  if (!error.path.empty()) writer.integers("index", error.path);
  if (const SourcePlace* at = error.at()) {
    writer.text("at");
    writer.map(2);
    writer.entry("file", cut(at->file, error_file_bytes_max));
    writer.entry("line", at->line);
  }
  writer.integers("written", error.written);
  if (error.cause() == nullptr) return;
  writer.text("cause");
  write_error(writer, *error.cause());
}

void write_results(Writer& writer, std::span<const ResultType> results) {
  writer.text("results");
  writer.array(results.size());
  for (const ResultType& result : results) {
    writer.map(3);
    writer.entry("handle", result.handle);
    writer.entry("dtype", result.dtype);
    writer.integers("shape", result.shape);
  }
}

void write_profile(Writer& writer, std::span<const StepProfile> steps) {
  writer.text("profile");
  writer.array(steps.size());
  for (const StepProfile& step : steps) {
    writer.map(5);
    writer.integers("index", step.index);
    writer.text("ops");
    writer.array(step.ops.size());
    for (const std::string_view op : step.ops) writer.text(op);
    writer.entry("calls", step.calls);
    writer.entry("ns", step.ns);
    writer.entry("bytes", step.bytes);
  }
}

void write_running(Writer& writer, const std::optional<RunningInfo>& running) {
  writer.text("running");
  if (!running) return writer.nil();
  writer.map(3);
  writer.entry("request", running->request);
  writer.entry("kind", running->kind);
  writer.entry("us", running->us);
}

void write_ops(Writer& writer, std::span<const OpCount> ops) {
  writer.text("ops");
  writer.map(ops.size());
  for (const OpCount& use : ops) writer.entry(use.op, use.count);
}

/// The code of the error, or nil for a request that succeeded.
void write_code(Writer& writer, const std::optional<ErrorCode>& code) {
  writer.text("code");
  code ? writer.text(name_of(*code)) : writer.nil();
}

}  // namespace

Frame encode_ok(std::uint64_t id) {
  Writer writer(32);
  writer.begin(id, "ok", 0);
  return writer.finish();
}

Frame encode_auth(std::uint64_t id, std::string_view name, Rights rights) {
  Writer writer(128);
  writer.begin(id, "ok", 2);
  writer.entry("name", name);
  write_rights(writer, rights);
  return writer.finish();
}

Frame encode_hello(std::uint64_t id, const HelloReply& reply) {
  Writer writer(512);
  writer.begin(id, "ok", 13);
  writer.entry("protocol", 1);
  writer.entry("server", reply.server);
  writer.entry("epoch", reply.epoch);
  writer.entry("session", reply.session);
  writer.entry("catalogue", reply.catalogue);
  writer.entry("os_pid", static_cast<std::uint64_t>(reply.os_pid));
  writer.entry("threads", static_cast<std::uint64_t>(reply.threads));
  writer.entry("isa", reply.isa);
  writer.entry("memory_limit", reply.memory_limit);
  writer.entry("kept_limit", reply.kept_limit);
  write_limits(writer, reply.limits);
  writer.text("lanes");
  writer.array(1);
  writer.text("inline");
  writer.entry("kernels", reply.kernels);
  return writer.finish();
}

Frame encode_info(std::uint64_t id, const InfoReply& reply) {
  Writer writer(256);
  writer.begin(id, "ok", 11U + (reply.connection ? 2U : 0U) + (reply.checkpoint ? 1U : 0U));
  writer.text("memory");
  writer.map(6);
  writer.entry("limit", reply.memory_limit);
  writer.entry("used", reply.memory_used);
  writer.entry("peak", reply.memory_peak);
  writer.entry("pooled", reply.memory_pooled);
  writer.entry("kept", reply.memory_kept);
  writer.entry("kept_limit", reply.memory_kept_limit);
  writer.entry("tensors", reply.tensors);
  writer.entry("programs", reply.programs);
  writer.entry("queue", reply.queue);
  writer.text("running");
  reply.running ? writer.natural(*reply.running) : writer.nil();
  writer.entry("uptime_ms", reply.uptime_ms);
  writer.entry("requests", reply.requests);
  writer.entry("compiler", reply.compiler);
  writer.entry("code_bytes", reply.code_bytes);
  writer.entry("kernels", reply.kernels);
  writer.entry("kernel_code", reply.kernel_code);
  if (reply.connection) {
    write_connection(writer, *reply.connection);
    write_tenants(writer, reply.tenants);
  }
  if (reply.checkpoint) write_checkpoint(writer, *reply.checkpoint);
  return writer.finish();
}

Frame encode_tensor_info(std::uint64_t id, const TensorInfoReply& reply) {
  Writer writer(128 + 9 * reply.shape.size());
  writer.begin(id, "ok", 5);
  writer.entry("dtype", reply.dtype);
  writer.integers("shape", reply.shape);
  writer.entry("bytes", reply.bytes);
  writer.flag("contiguous", reply.contiguous);
  writer.flag("shared", reply.shared);
  return writer.finish();
}

Frame encode_results(std::uint64_t id, std::span<const ResultType> results,
                     const std::optional<std::vector<StepProfile>>& profile) {
  std::size_t bytes = 48;
  for (const ResultType& result : results) bytes += 48 + 9 * result.shape.size();
  Writer writer(bytes);
  writer.begin(id, "ok", profile ? 2 : 1);
  write_results(writer, results);
  if (profile) write_profile(writer, *profile);
  return writer.finish();
}

Frame encode_opened(std::uint64_t id, const ResultType& result, std::uint64_t version) {
  Writer writer(128 + 9 * result.shape.size());
  writer.begin(id, "ok", 2);
  write_results(writer, std::span(&result, 1));
  writer.entry("version", version);
  return writer.finish();
}

Frame encode_version(std::uint64_t id, std::uint64_t version) {
  Writer writer(48);
  writer.begin(id, "ok", 1);
  writer.entry("version", version);
  return writer.finish();
}

Frame encode_names(std::uint64_t id, std::span<const ListedName> names, bool more) {
  std::size_t bytes = 64;
  for (const ListedName& item : names)
    bytes += 128 + item.name.size() + item.token.size() + 9 * item.shape.size();
  Writer writer(bytes);
  writer.begin(id, "ok", 2);
  writer.text("names");
  writer.array(names.size());
  for (const ListedName& item : names) {
    writer.map(7);
    writer.entry("name", item.name);
    writer.entry("version", item.version);
    writer.entry("dtype", item.dtype);
    writer.integers("shape", item.shape);
    writer.entry("bytes", item.bytes);
    writer.text("ttl_ms");
    item.ttl_ms ? writer.natural(*item.ttl_ms) : writer.nil();
    writer.entry("token", item.token);
  }
  writer.flag("more", more);
  return writer.finish();
}

Frame encode_event(std::string_view event, std::uint64_t subscription, std::string_view name,
                   std::uint64_t version) {
  Writer writer(96 + name.size());
  writer.map(4);
  writer.entry("event", event);
  writer.entry("subscription", subscription);
  writer.entry("name", name);
  writer.entry("version", version);
  return writer.finish();
}

Frame encode_checkpoint(std::uint64_t id, const CheckpointInfo& checkpoint) {
  Writer writer(256);
  writer.begin(id, "ok", 1);
  write_checkpoint(writer, checkpoint);
  return writer.finish();
}

Frame encode_sessions(std::uint64_t id, std::span<const SessionInfo> sessions, bool more) {
  Writer writer(64 + 320 * sessions.size());
  writer.begin(id, "ok", 2);
  writer.text("sessions");
  writer.array(sessions.size());
  for (const SessionInfo& session : sessions) {
    writer.map(11);
    writer.entry("session", session.session);
    writer.entry("token", std::string_view(session.token));
    writer.entry("transport", std::string_view(session.transport));
    writer.entry("peer", std::string_view(session.peer));
    writer.entry("age_ms", session.age_ms);
    writer.entry("requests", session.requests);
    writer.entry("queue", session.queue);
    writer.entry("tensors", session.tensors);
    writer.entry("bytes", session.bytes);
    writer.entry("programs", session.programs);
    write_running(writer, session.running);
  }
  writer.flag("more", more);
  return writer.finish();
}

Frame encode_stats(std::uint64_t id, const StatsReply& stats) {
  Writer writer(512 + 384 * stats.kinds.size() + 32 * stats.ops.size());
  writer.begin(id, "ok", 12);
  writer.entry("uptime_ms", stats.uptime_ms);
  writer.entry("engine_us", stats.engine_us);
  writer.entry("sessions", stats.sessions);
  writer.entry("sessions_opened", stats.sessions_opened);
  writer.entry("kicked", stats.kicked);
  writer.entry("queue", stats.queue);
  writer.entry("slow", stats.slow);
  writer.entry("slow_us", stats.slow_us);
  writer.entry("monitors", stats.monitors);
  writer.entry("monitor_dropped", stats.monitor_dropped);
  writer.text("kinds");
  writer.array(stats.kinds.size());
  for (const KindStats& kind : stats.kinds) {
    writer.map(5);
    writer.entry("kind", kind.kind);
    writer.entry("count", kind.count);
    writer.entry("errors", kind.errors);
    writer.entry("us", kind.us);
    writer.integers("buckets", kind.buckets);
  }
  write_ops(writer, stats.ops);
  return writer.finish();
}

Frame encode_slowlog(std::uint64_t id, std::uint64_t slow_us, std::span<const SlowEntry> entries) {
  Writer writer(64 + 384 * entries.size());
  writer.begin(id, "ok", 2);
  writer.entry("slow_us", slow_us);
  writer.text("entries");
  writer.array(entries.size());
  for (const SlowEntry& entry : entries) {
    writer.map(10);
    writer.entry("number", entry.number);
    writer.entry("at_ms", entry.at_ms);
    writer.entry("session", entry.session);
    writer.entry("token", std::string_view(entry.token));
    writer.entry("request", entry.request);
    writer.entry("kind", entry.kind);
    writer.entry("wait_us", entry.wait_us);
    writer.entry("run_us", entry.run_us);
    write_code(writer, entry.error);
    write_ops(writer, entry.ops);
  }
  return writer.finish();
}

Frame encode_monitored(const DoneRequest& done, std::uint64_t dropped) {
  Writer writer(160 + done.token.size());
  writer.map(10);
  writer.entry("event", "request");
  writer.entry("at_ms", done.at_ms);
  writer.entry("session", done.session);
  writer.entry("token", done.token);
  writer.entry("request", done.request);
  writer.entry("kind", done.kind);
  writer.entry("wait_us", done.wait_us);
  writer.entry("run_us", done.run_us);
  write_code(writer, done.error);
  writer.entry("dropped", dropped);
  return writer.finish();
}

Frame encode_released(std::uint64_t id, std::uint64_t count) {
  Writer writer(48);
  writer.begin(id, "ok", 1);
  writer.entry("released", count);
  return writer.finish();
}

Frame encode_found(std::uint64_t id, bool found) {
  Writer writer(48);
  writer.begin(id, "ok", 1);
  writer.flag("found", found);
  return writer.finish();
}

Frame encode_error(std::uint64_t id, const Error& error) {
  Writer writer(160 + std::min(error.text.size(), error_text_bytes_max) + 9 * error.written.size());
  writer.begin(id, status_of(error.code), 1);
  writer.text("error");
  write_error(writer, error);
  return writer.finish();
}

DataFrame encode_data(std::uint64_t id, std::size_t length) {
  Writer writer(48 + length);
  writer.begin(id, "ok", 1);
  writer.text("data");
  writer.binary_header(length);
  const std::size_t offset = writer.size();
  return {writer.finish(length), offset};
}

}  // namespace outrigger::wire
