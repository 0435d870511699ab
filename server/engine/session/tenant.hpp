#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/quotas.hpp"
#include "engine/session/turns.hpp"
#include "tensor/memory.hpp"
#include "wire/reply.hpp"

namespace outrigger::engine {

/// How many things of a kind the sessions of one token have. Any thread may read it.
class Counted {
 public:
  /// `quota` 0: no quota. `hint` tells what to do when it is reached.
  Counted(const std::string& token, std::uint64_t quota, std::string_view kind,
          std::string_view hint)
      : token_(token), quota_(quota), kind_(kind), hint_(hint) {}

  /// Errors: quota_exceeded if there is no room for `more`.
  Result<void> check(std::uint64_t more = 1) const;
  void add(std::uint64_t more = 1) { count_.fetch_add(more, std::memory_order_relaxed); }
  void remove(std::uint64_t fewer = 1) { count_.fetch_sub(fewer, std::memory_order_relaxed); }
  std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

  /// One of them, as long as this object lives.
  class One {
   public:
    explicit One(Counted& counted) : counted_(&counted) { counted_->add(); }
    One(One&& other) noexcept : counted_(std::exchange(other.counted_, nullptr)) {}
    One& operator=(One&& other) noexcept {
      std::swap(counted_, other.counted_);
      return *this;
    }
    ~One() {
      if (counted_ != nullptr) counted_->remove();
    }

   private:
    Counted* counted_;
  };

 private:
  const std::string& token_;
  const std::uint64_t quota_;
  const std::string_view kind_;
  const std::string_view hint_;
  std::atomic<std::uint64_t> count_{0};
};

/// The engine time that a token may use: a bucket of `seconds` which runs empty in a minute. As a
/// single time: when the bucket will be empty (the virtual scheduling form of the leaky bucket in
/// ITU-T I.371). Any thread may read it.
class EngineTime {
 public:
  using Clock = std::chrono::steady_clock;

  /// `seconds` 0: no quota.
  EngineTime(const std::string& token, double seconds) : token_(token), seconds_(seconds) {}

  void use(std::chrono::nanoseconds time, Clock::time_point now);
  /// Errors: quota_exceeded while the bucket is full.
  Result<void> check(Clock::time_point now) const;
  /// All that was used.
  std::chrono::nanoseconds total() const {
    return std::chrono::nanoseconds(total_ns_.load(std::memory_order_relaxed));
  }
  /// The seconds in the bucket.
  double in_bucket(Clock::time_point now) const;
  bool limited() const { return seconds_ > 0; }

 private:
  const std::string& token_;
  const double seconds_;
  std::atomic<std::int64_t> total_ns_{0};
  std::atomic<Clock::time_point> empty_at_{Clock::time_point::min()};
};

/// The sessions of one token, and all that they have together. Without tokens, all sessions are
/// those of the token "".
class Tenant {
 public:
  Tenant(Memory& whole, std::string name, const Quotas& quotas);
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  const std::string& name() const { return name_; }
  const Quotas& quotas() const { return quotas_; }
  /// For all that its sessions allocate.
  Memory& memory() { return memory_; }
  /// The least limit of its memory; 0: none.
  std::uint64_t memory_limit() const;
  Counted& handles() { return handles_; }
  Counted& programs() { return programs_; }
  Counted& sessions() { return sessions_; }
  EngineTime& time() { return time_; }
  Turns::Group& turns() { return turns_; }

  wire::TenantInfo describe() const;

 private:
  const std::string name_;
  const Quotas quotas_;
  const std::uint64_t whole_limit_;
  Memory memory_;
  Counted handles_;
  Counted programs_;
  Counted sessions_;
  EngineTime time_;
  Turns::Group turns_;
};

/// The tenants of an engine, each from its first session to the engine's end. Any thread.
class Tenants {
 public:
  explicit Tenants(Memory& whole) : whole_(whole) {}

  /// The tenant of that name. The quotas are those of its first session.
  Tenant& find(const std::string& name, const Quotas& quotas);
  /// All of them, in the order of their names, or only `one`.
  std::vector<wire::TenantInfo> describe(const Tenant* one) const;

 private:
  Memory& whole_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Tenant>, std::less<>> all_;
};

}  // namespace outrigger::engine
