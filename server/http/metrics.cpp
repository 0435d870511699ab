#include "http/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

#include "base/text.hpp"

namespace outrigger::http {

namespace {

constexpr double per_second = 1e6;  ///< microseconds
constexpr double per_second_ms = 1e3;

std::string digits(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.15g", value);
  return text.data();
}

/// A label's value. The format is UTF-8: other bytes become `\\xNN`.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : as_text(value)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

class Exposition {
 public:
  /// Begins a metric; its samples follow.
  Exposition& metric(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "outrigger_";
    return begin(name, type, help);
  }
  /// One that each program has under the same name.
  Exposition& common(std::string_view name, std::string_view type, std::string_view help) {
    name_.clear();
    return begin(name, type, help);
  }
  Exposition& sample(double value) {
    out_ += name_ + " " + digits(value) + "\n";
    return *this;
  }
  Exposition& sample(std::uint64_t value) {
    out_ += name_ + " " + std::to_string(value) + "\n";
    return *this;
  }
  template <typename Value>
  Exposition& sample(std::string_view label, std::string_view of, Value value) {
    out_ += name_ + "{" + std::string(label) + "=\"" + escaped(of) + "\"} " + text_of(value) + "\n";
    return *this;
  }
  void line(const std::string& text) { out_ += name_ + text + "\n"; }
  std::string take() { return std::move(out_); }

 private:
  static std::string text_of(double value) { return digits(value); }
  static std::string text_of(std::uint64_t value) { return std::to_string(value); }
  Exposition& begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ += name;
    out_ += "# HELP " + name_ + " " + std::string(help) + "\n";
    out_ += "# TYPE " + name_ + " " + std::string(type) + "\n";
    return *this;
  }

  std::string out_;
  std::string name_;
};

void write_memory(Exposition& out, const wire::InfoReply& info) {
  out.metric("memory_limit_bytes", "gauge", "Limit for tensors and temporaries; 0: none")
      .sample(info.memory_limit);
  out.metric("memory_used_bytes", "gauge", "Memory that counts against the limit")
      .sample(info.memory_used);
  out.metric("memory_peak_bytes", "gauge", "The most memory that was used since the start")
      .sample(info.memory_peak);
  out.metric("memory_pooled_bytes", "gauge", "Free memory that is kept for the next tensors")
      .sample(info.memory_pooled);
  out.metric("kept_limit_bytes", "gauge", "Limit for programs, plans and machine code")
      .sample(info.memory_kept_limit);
  out.metric("kept_bytes", "gauge", "Programs, plans and machine code that are kept")
      .sample(info.memory_kept);
  out.metric("machine_code_bytes", "gauge", "Machine code of compiled passes")
      .sample(info.code_bytes);
}

void write_requests(Exposition& out, const wire::StatsReply& stats) {
  out.metric("requests_total", "counter", "Requests by kind");
  for (const auto& kind : stats.kinds) out.sample("kind", kind.kind, kind.count);
  out.metric("request_errors_total", "counter", "Requests whose status was not ok, by kind");
  for (const auto& kind : stats.kinds) out.sample("kind", kind.kind, kind.errors);
  out.metric("request_duration_seconds", "histogram",
             "Time from the arrival of a request to its reply, by kind");
  for (const auto& kind : stats.kinds) {
    const std::string label = "kind=\"" + std::string(kind.kind) + "\"";
    std::uint64_t total = 0;
    for (const std::uint64_t count : kind.buckets) total += count;
    if (total == 0) continue;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i + 1 < kind.buckets.size(); ++i) {
      below += kind.buckets[i];
      out.line("_bucket{" + label + ",le=\"" +
               digits(std::ldexp(1, static_cast<int>(i)) / per_second) + "\"} " +
               std::to_string(below));
    }
    out.line("_bucket{" + label + ",le=\"+Inf\"} " + std::to_string(total));
    out.line("_sum{" + label + "} " + digits(static_cast<double>(kind.us) / per_second));
    out.line("_count{" + label + "} " + std::to_string(total));
  }
  out.metric("queued_requests", "gauge", "Requests that wait for their turn").sample(stats.queue);
  out.metric("slow_requests_total", "counter", "Requests that ran for the threshold or longer")
      .sample(stats.slow);
  out.metric("slow_threshold_seconds", "gauge", "The time from which on a request is slow")
      .sample(static_cast<double>(stats.slow_us) / per_second);
  out.metric("engine_busy_seconds_total", "counter", "Time for which the engine has worked")
      .sample(static_cast<double>(stats.engine_us) / per_second);
  out.metric("op_instructions_total", "counter", "Instructions in the programs that ran, by op");
  for (const auto& use : stats.ops) out.sample("op", use.op, use.count);
}

void write_sessions(Exposition& out, const wire::StatsReply& stats) {
  out.metric("sessions", "gauge", "Open sessions").sample(stats.sessions);
  out.metric("sessions_opened_total", "counter", "Sessions that were opened")
      .sample(stats.sessions_opened);
  out.metric("sessions_kicked_total", "counter", "Sessions that an operator has ended")
      .sample(stats.kicked);
  out.metric("monitors", "gauge", "Sessions that are told of each request").sample(stats.monitors);
  out.metric("monitor_dropped_events_total", "counter", "Events that slow monitors have missed")
      .sample(stats.monitor_dropped);
}

void write_tokens(Exposition& out, std::span<const wire::TenantInfo> tokens) {
  const auto each = [&](auto value) {
    for (const auto& token : tokens) out.sample("token", token.token, value(token));
  };
  using Token = const wire::TenantInfo&;
  out.metric("token_sessions", "gauge", "Open sessions of a token");
  each([](Token token) { return token.sessions; });
  out.metric("token_memory_bytes", "gauge", "Memory that the sessions of a token use");
  each([](Token token) { return token.bytes; });
  out.metric("token_memory_quota_bytes", "gauge", "Quota for the memory of a token; 0: none");
  each([](Token token) { return token.quotas.bytes; });
  out.metric("token_tensors", "gauge", "Tensors and unfinished uploads of a token");
  each([](Token token) { return token.handles; });
  out.metric("token_programs", "gauge", "Prepared programs of a token");
  each([](Token token) { return token.programs; });
  out.metric("token_engine_seconds_total", "counter", "Engine time that a token has used");
  each([](Token token) { return static_cast<double>(token.engine_ms) / per_second_ms; });
}

void write_checkpoint(Exposition& out, const std::optional<wire::CheckpointInfo>& checkpoint) {
  if (!checkpoint) return;
  out.metric("checkpoint_timestamp_seconds", "gauge",
             "When the last checkpoint was taken, since 1970; 0: never")
      .sample(static_cast<double>(checkpoint->taken_at_ms.value_or(0)) / per_second_ms);
  out.metric("checkpoint_duration_seconds", "gauge", "Time that the last checkpoint took")
      .sample(static_cast<double>(checkpoint->duration_ms) / per_second_ms);
  out.metric("checkpoint_written_bytes", "gauge", "Bytes that the last checkpoint wrote")
      .sample(checkpoint->bytes);
  out.metric("checkpoint_names", "gauge", "Published tensors in the last checkpoint")
      .sample(checkpoint->names);
  out.metric("checkpoint_lacks_changes", "gauge", "1: there are changes that it does not have")
      .sample(std::uint64_t{checkpoint->changed ? 1U : 0U});
  out.metric("checkpoint_failed", "gauge", "1: a later checkpoint has failed")
      .sample(std::uint64_t{checkpoint->error ? 1U : 0U});
}

void write_process(Exposition& out, const ProcessFigures& process) {
  out.common("process_cpu_seconds_total", "counter", "Processor time of the process")
      .sample(process.cpu_seconds);
  out.common("process_start_time_seconds", "gauge", "Start of the process, since 1970")
      .sample(process.start_seconds);
  out.common("process_resident_memory_bytes", "gauge", "Memory of the process in RAM")
      .sample(process.resident_bytes);
  out.common("process_virtual_memory_bytes", "gauge", "Address space of the process")
      .sample(process.virtual_bytes);
  out.common("process_open_fds", "gauge", "Open file descriptors").sample(process.descriptors);
  out.common("process_max_fds", "gauge", "File descriptors that the process may open")
      .sample(process.descriptors_max);
}

}  // namespace

std::string metrics_text(const engine::Vitals& vitals, const ProcessFigures& process,
                         std::uint64_t answers) {
  Exposition out;
  out.metric("build_info", "gauge", "Version of the server, instruction set, compiler of passes")
      .line("{version=\"" + escaped(vitals.hello.server) + "\",isa=\"" + escaped(vitals.hello.isa) +
            "\",compiler=\"" + escaped(vitals.info.compiler) + "\"} 1");
  out.metric("threads", "gauge", "Threads for computation")
      .sample(static_cast<std::uint64_t>(vitals.hello.threads));
  write_memory(out, vitals.info);
  write_sessions(out, vitals.stats);
  write_requests(out, vitals.stats);
  write_tokens(out, vitals.info.tenants);
  write_checkpoint(out, vitals.info.checkpoint);
  out.metric("http_requests_total", "counter", "Requests to this HTTP server").sample(answers);
  write_process(out, process);
  return out.take();
}

}  // namespace outrigger::http
