#include "engine/session/tenant.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace outrigger::engine {
namespace {

constexpr std::chrono::minutes bucket_time{1};

std::string seconds_text(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  return text.data();
}

}  // namespace

Result<void> Counted::check(std::uint64_t more) const {
  const std::uint64_t now = count();
  if (quota_ == 0 || (more <= quota_ && now <= quota_ - more)) return {};
  return fail(ErrorCode::quota_exceeded, "the token " + token_ + " has " + std::to_string(now) +
                                             " " + std::string(kind_) + ", and its quota `" +
                                             std::string(kind_) + "` is " + std::to_string(quota_) +
                                             ": " + std::string(hint_) + ", or raise the quota");
}

void EngineTime::use(std::chrono::nanoseconds time, Clock::time_point now) {
  total_ns_.fetch_add(time.count(), std::memory_order_relaxed);
  if (!limited()) return;
  const double share = seconds_ / std::chrono::duration<double>(bucket_time).count();
  const auto emptying = std::chrono::nanoseconds(
      static_cast<std::int64_t>(std::min(static_cast<double>(time.count()) / share, 1e17)));
  // Only the thread that has claimed the engine writes.
  empty_at_.store(std::max(now, empty_at_.load(std::memory_order_relaxed)) + emptying,
                  std::memory_order_relaxed);
}

double EngineTime::in_bucket(Clock::time_point now) const {
  const auto empty_at = empty_at_.load(std::memory_order_relaxed);
  if (!limited() || empty_at <= now) return 0;
  return std::chrono::duration<double>(empty_at - now) /
         std::chrono::duration<double>(bucket_time) * seconds_;
}

Result<void> EngineTime::check(Clock::time_point now) const {
  const auto empty_at = empty_at_.load(std::memory_order_relaxed);
  if (!limited() || empty_at <= now || empty_at - now < bucket_time) return {};
  const std::chrono::duration<double> wait = empty_at - now - bucket_time;
  return fail(ErrorCode::quota_exceeded,
              "the token " + token_ + " has used " + seconds_text(in_bucket(now)) +
                  " of the engine's time, and its quota `seconds` is " + seconds_text(seconds_) +
                  " in a minute: try again in " +
                  seconds_text(std::ceil(std::max(wait.count(), 0.1) * 10) / 10) +
                  ", or raise the quota");
}

Tenant::Tenant(Memory& whole, std::string name, const Quotas& quotas)
    : name_(std::move(name)),
      quotas_(quotas),
      whole_limit_(whole.limit()),
      memory_(whole, quotas.bytes, name_),
      handles_(name_, quotas.handles, "handles", "release tensors of any session of the token"),
      programs_(name_, quotas.programs, "programs",
                "forget prepared programs of any session of the token"),
      sessions_(name_, quotas.sessions, "sessions", "end another session of the token"),
      time_(name_, quotas.seconds),
      turns_(quotas.priority) {}

std::uint64_t Tenant::memory_limit() const {
  if (quotas_.bytes == 0 || whole_limit_ == 0) return quotas_.bytes + whole_limit_;
  return std::min(quotas_.bytes, whole_limit_);
}

wire::TenantInfo Tenant::describe() const {
  wire::TenantInfo info;
  info.token = name_;
  info.quotas = quotas_;
  info.bytes = memory_.used();
  info.handles = handles_.count();
  info.programs = programs_.count();
  info.sessions = sessions_.count();
  info.engine_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(time_.total()).count());
  info.minute_ms = static_cast<std::uint64_t>(time_.in_bucket(EngineTime::Clock::now()) * 1000);
  return info;
}

Tenant& Tenants::find(const std::string& name, const Quotas& quotas) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Tenant>& found = all_[name];
  if (!found) found = std::make_unique<Tenant>(whole_, name, quotas);
  return *found;
}

std::vector<wire::TenantInfo> Tenants::describe(const Tenant* one) const {
  std::vector<wire::TenantInfo> out;
  if (one != nullptr) {
    out.push_back(one->describe());
    return out;
  }
  const std::lock_guard lock(mutex_);
  out.reserve(all_.size());
  for (const auto& [name, tenant] : all_) {
    if (tenant) out.push_back(tenant->describe());
  }
  return out;
}

}  // namespace outrigger::engine
