#include "http/status.hpp"

#include "http/json.hpp"

namespace outrigger::http {

namespace {

void write_memory_figures(JsonWriter& out, const wire::InfoReply& info) {
  out.key("memory");
  out.begin_object();
  out.entry("limit", info.memory_limit);
  out.entry("used", info.memory_used);
  out.entry("peak", info.memory_peak);
  out.entry("pooled", info.memory_pooled);
  out.entry("kept", info.memory_kept);
  out.entry("kept_limit", info.memory_kept_limit);
  out.entry("code", info.code_bytes);
  out.end_object();
}

void write_ops_map(JsonWriter& out, std::span<const wire::OpCount> ops) {
  out.key("ops");
  out.begin_object();
  for (const auto& use : ops) out.entry(use.op, use.count);
  out.end_object();
}

void write_stats(JsonWriter& out, const wire::StatsReply& stats) {
  out.key("stats");
  out.begin_object();
  out.entry("engine_us", stats.engine_us);
  out.entry("sessions", stats.sessions);
  out.entry("queue", stats.queue);
  out.entry("slow", stats.slow);
  out.entry("slow_us", stats.slow_us);
  out.key("kinds");
  out.begin_array();
  for (const auto& kind : stats.kinds) {
    out.begin_object();
    out.entry("kind", kind.kind);
    out.entry("count", kind.count);
    out.entry("errors", kind.errors);
    out.entry("us", kind.us);
    out.key("buckets");
    out.begin_array();
    for (const std::uint64_t count : kind.buckets) out.number(count);
    out.end_array();
    out.end_object();
  }
  out.end_array();
  write_ops_map(out, stats.ops);
  out.end_object();
}

void write_session_list(JsonWriter& out, std::span<const wire::SessionInfo> sessions) {
  out.key("sessions");
  out.begin_array();
  for (const auto& session : sessions) {
    out.begin_object();
    out.entry("session", session.session);
    out.entry("token", session.token);
    out.entry("transport", session.transport);
    out.entry("peer", session.peer);
    out.entry("age_ms", session.age_ms);
    out.entry("requests", session.requests);
    out.entry("queue", session.queue);
    out.entry("tensors", session.tensors);
    out.entry("bytes", session.bytes);
    out.entry("programs", session.programs);
    if (session.running) {
      out.key("running");
      out.begin_object();
      out.entry("request", session.running->request);
      out.entry("kind", session.running->kind);
      out.entry("us", session.running->us);
      out.end_object();
    }
    out.end_object();
  }
  out.end_array();
}

void write_token_list(JsonWriter& out, std::span<const wire::TenantInfo> tokens) {
  out.key("tokens");
  out.begin_array();
  for (const auto& token : tokens) {
    out.begin_object();
    out.entry("token", token.token);
    out.entry("priority", token.quotas.priority);
    out.entry("sessions", token.sessions);
    out.entry("bytes", token.bytes);
    out.entry("bytes_quota", token.quotas.bytes);
    out.entry("handles", token.handles);
    out.entry("programs", token.programs);
    out.entry("engine_ms", token.engine_ms);
    out.end_object();
  }
  out.end_array();
}

void write_slow_list(JsonWriter& out, std::span<const wire::SlowEntry> entries) {
  out.key("slow");
  out.begin_array();
  for (const auto& entry : entries) {
    out.begin_object();
    out.entry("number", entry.number);
    out.entry("at_ms", entry.at_ms);
    out.entry("session", entry.session);
    out.entry("token", entry.token);
    out.entry("request", entry.request);
    out.entry("kind", entry.kind);
    out.entry("wait_us", entry.wait_us);
    out.entry("run_us", entry.run_us);
    out.entry("code", entry.error ? name_of(*entry.error) : std::string_view("ok"));
    write_ops_map(out, entry.ops);
    out.end_object();
  }
  out.end_array();
}

void write_last_checkpoint(JsonWriter& out, const std::optional<wire::CheckpointInfo>& last) {
  out.key("checkpoint");
  if (!last) return out.nil();
  out.begin_object();
  out.entry("number", last->number);
  out.entry("taken_at_ms", last->taken_at_ms.value_or(0));
  out.entry("names", last->names);
  out.entry("bytes", last->bytes);
  out.key("changed");
  out.boolean(last->changed);
  out.entry("error", last->error.value_or(""));
  out.end_object();
}

}  // namespace

std::string status_json(const engine::Vitals& vitals, const ProcessFigures& process) {
  JsonWriter out;
  out.begin_object();
  out.entry("server", vitals.hello.server);
  out.entry("uptime_ms", vitals.info.uptime_ms);
  out.entry("threads", static_cast<std::uint64_t>(vitals.hello.threads));
  out.entry("isa", vitals.hello.isa);
  out.entry("compiler", vitals.info.compiler);
  write_memory_figures(out, vitals.info);
  write_stats(out, vitals.stats);
  write_session_list(out, vitals.sessions);
  write_token_list(out, vitals.info.tenants);
  write_slow_list(out, vitals.slow);
  write_last_checkpoint(out, vitals.info.checkpoint);
  out.key("process");
  out.begin_object();
  out.key("cpu_seconds");
  out.real(process.cpu_seconds);
  out.entry("resident_bytes", process.resident_bytes);
  out.entry("descriptors", process.descriptors);
  out.end_object();
  out.end_object();
  return out.take();
}

}  // namespace outrigger::http
