#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/quotas.hpp"
#include "base/rights.hpp"
#include "wire/buffer.hpp"

namespace outrigger::wire {

/// The replies of PROTOCOL.md section 2, encoded as complete frames with their length.

struct ResultType {
  std::uint64_t handle = 0;
  std::string_view dtype;
  std::vector<std::int64_t> shape;
};

struct HelloReply {
  std::string_view server;
  std::uint64_t epoch = 0;
  std::uint64_t session = 1;
  std::string_view catalogue;
  std::int64_t os_pid = 0;
  int threads = 0;
  std::string_view isa;
  std::uint64_t memory_limit = 0;
  std::uint64_t kept_limit = 0;
  Limits limits;
  std::string_view kernels;
};

/// The part of the reply to `info` about a connection over a socket.
struct ConnectionInfo {
  std::uint64_t session = 0;
  std::uint64_t sessions = 0;
  std::string_view transport;
  std::string_view peer;
  std::string_view token;
  Rights rights;
};

/// The last checkpoint of the published tensors.
struct CheckpointInfo {
  std::uint64_t number = 0;  ///< 0: there is none
  std::optional<std::uint64_t> taken_at_ms = {};
  std::uint64_t names = 0;
  std::uint64_t bytes = 0;  ///< that it wrote
  std::uint64_t duration_ms = 0;
  bool changed = false;                   ///< there are changes that it does not have
  std::optional<std::string> error = {};  ///< of a later one, which failed
};

/// All that the sessions of a token have together.
struct TenantInfo {
  std::string token;
  Quotas quotas;
  std::uint64_t sessions = 0;
  std::uint64_t bytes = 0;
  std::uint64_t handles = 0;
  std::uint64_t programs = 0;
  std::uint64_t minute_ms = 0;  ///< what counts against the quota `seconds`
  std::uint64_t engine_ms = 0;  ///< since the start
};

struct InfoReply {
  std::uint64_t memory_limit = 0;
  std::uint64_t memory_used = 0;
  std::uint64_t memory_peak = 0;
  std::uint64_t memory_pooled = 0;
  std::uint64_t memory_kept = 0;
  std::uint64_t memory_kept_limit = 0;
  std::uint64_t tensors = 0;
  std::uint64_t programs = 0;
  std::uint64_t queue = 0;
  std::optional<std::uint64_t> running;
  std::uint64_t uptime_ms = 0;
  std::uint64_t requests = 0;
  std::string_view compiler = "none";
  std::uint64_t code_bytes = 0;
  std::uint64_t kernels = 0;
  std::string_view kernel_code;
  std::optional<ConnectionInfo> connection = {};
  std::optional<CheckpointInfo> checkpoint = {};  ///< with a data folder
  std::vector<TenantInfo> tenants = {};           ///< told with `connection`
};

struct TensorInfoReply {
  std::string_view dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  bool contiguous = false;
  bool shared = false;
};

struct ListedName {
  std::string_view name;
  std::uint64_t version = 0;
  std::string_view dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> ttl_ms;
  std::string_view token;
};

/// A request that a session has at work.
struct RunningInfo {
  std::uint64_t request = 0;
  std::string_view kind;
  std::uint64_t us = 0;  ///< since it has begun
};

/// A session, as `sessions` tells it to an operator.
struct SessionInfo {
  std::uint64_t session = 0;
  std::string token;
  std::string transport;
  std::string peer;
  std::uint64_t age_ms = 0;
  std::uint64_t requests = 0;
  std::uint64_t queue = 0;
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;  ///< of the elements of its tensors, each handle by itself
  std::uint64_t programs = 0;
  std::optional<RunningInfo> running = {};
};

/// Requests of one kind since the start. The bucket i counts those that took less than 2^i µs from
/// their arrival to their reply, and not less than the bucket before; the last one has no end.
/// Requests that are answered at once are not in the buckets.
struct KindStats {
  static constexpr std::size_t bucket_count = 28;

  std::string_view kind;
  std::uint64_t count = 0;
  std::uint64_t errors = 0;
  std::uint64_t us = 0;
  std::array<std::uint64_t, bucket_count> buckets = {};
};

struct OpCount {
  std::string_view op;
  std::uint64_t count = 0;
};

struct StatsReply {
  std::uint64_t uptime_ms = 0;
  std::uint64_t engine_us = 0;  ///< the time for which the engine has worked
  std::uint64_t sessions = 0;   ///< open ones
  std::uint64_t sessions_opened = 0;
  std::uint64_t kicked = 0;
  std::uint64_t queue = 0;  ///< requests that wait, of all sessions
  std::uint64_t slow = 0;   ///< requests of the slow log since the start
  std::uint64_t slow_us = 0;
  std::uint64_t monitors = 0;
  std::uint64_t monitor_dropped = 0;
  std::vector<KindStats> kinds;  ///< those that have come
  std::vector<OpCount> ops;      ///< those that have run
};

/// A request that took longer than the threshold.
struct SlowEntry {
  std::uint64_t number = 0;
  std::uint64_t at_ms = 0;  ///< when it ended, since 1970
  std::uint64_t session = 0;
  std::string token;
  std::uint64_t request = 0;
  std::string_view kind;
  std::uint64_t wait_us = 0;
  std::uint64_t run_us = 0;
  std::optional<ErrorCode> error = {};
  std::vector<OpCount> ops = {};  ///< the most frequent ones
};

/// A request that is done, as a monitor is told.
struct DoneRequest {
  std::uint64_t at_ms = 0;
  std::uint64_t session = 0;
  std::string_view token;
  std::uint64_t request = 0;
  std::string_view kind;
  std::uint64_t wait_us = 0;
  std::uint64_t run_us = 0;
  std::optional<ErrorCode> error = {};
};

/// The measurements of one step of a run; see PROTOCOL.md, `run`.
struct StepProfile {
  std::span<const std::uint32_t> index;
  std::span<const std::string_view> ops;
  std::uint64_t calls = 0;
  std::uint64_t ns = 0;
  std::uint64_t bytes = 0;
};

Frame encode_ok(std::uint64_t id);
/// `name` is that of the token.
Frame encode_auth(std::uint64_t id, std::string_view name, Rights rights);
Frame encode_hello(std::uint64_t id, const HelloReply& reply);
Frame encode_info(std::uint64_t id, const InfoReply& reply);
Frame encode_tensor_info(std::uint64_t id, const TensorInfoReply& reply);
Frame encode_results(std::uint64_t id, std::span<const ResultType> results,
                     const std::optional<std::vector<StepProfile>>& profile = std::nullopt);
/// The reply to `open`.
Frame encode_opened(std::uint64_t id, const ResultType& result, std::uint64_t version);
Frame encode_version(std::uint64_t id, std::uint64_t version);
Frame encode_names(std::uint64_t id, std::span<const ListedName> names, bool more);
/// A frame that no request asks for. `event` is "published" or "unpublished".
Frame encode_event(std::string_view event, std::uint64_t subscription, std::string_view name,
                   std::uint64_t version);
/// The reply to `checkpoint`.
Frame encode_checkpoint(std::uint64_t id, const CheckpointInfo& checkpoint);
Frame encode_sessions(std::uint64_t id, std::span<const SessionInfo> sessions, bool more);
Frame encode_stats(std::uint64_t id, const StatsReply& stats);
/// `slow_us` is the threshold.
Frame encode_slowlog(std::uint64_t id, std::uint64_t slow_us, std::span<const SlowEntry> entries);
/// A frame that no request asks for. `dropped` events before it were not sent.
Frame encode_monitored(const DoneRequest& done, std::uint64_t dropped);
Frame encode_released(std::uint64_t id, std::uint64_t count);
Frame encode_found(std::uint64_t id, bool found);
/// The error's code decides the `status`: cancelled, deadline_exceeded, or error.
Frame encode_error(std::uint64_t id, const Error& error);

/// A frame for `length` bytes of data, and the address for these bytes. A direct write there saves
/// a copy of a large payload.
struct DataFrame {
  Frame frame;
  std::size_t data_offset = 0;
};
DataFrame encode_data(std::uint64_t id, std::size_t length);

}  // namespace outrigger::wire
