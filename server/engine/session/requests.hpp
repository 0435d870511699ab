#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <variant>

#include "base/limits.hpp"
#include "base/overloaded.hpp"
#include "wire/request.hpp"

// Groups of kinds of requests that the session treats alike, and questions to all kinds.

namespace outrigger::engine {

using RequestBody = decltype(wire::Request::body);

template <typename Request, typename... Requests>
concept OneOf = (std::same_as<Request, Requests> || ...);

/// Requests that the I/O thread answers without the engine.
template <typename Request>
concept AnsweredAtOnce =
    OneOf<Request, wire::Hello, wire::Auth, wire::Ping, wire::Cancel, wire::ListSessions,
          wire::Stats, wire::SlowLog, wire::Monitor, wire::Kick, wire::Bye>;

/// Requests that make a tensor of a file.
template <typename Request>
concept ReadsFile = OneOf<Request, wire::Load, wire::LoadRaw, wire::LoadCsv>;

/// Requests that wait for the file system.
template <typename Request>
concept UsesFile = ReadsFile<Request> || OneOf<Request, wire::Save, wire::SaveNpz>;

/// Requests that make one tensor, under the handle `handle`.
template <typename Request>
concept MakesTensor = ReadsFile<Request> || OneOf<Request, wire::Upload, wire::Open>;

/// Requests that are answered when the disk has what they ask for; the session goes on meanwhile.
template <typename Request>
concept AnsweredLater = OneOf<Request, wire::Checkpoint>;

/// Requests that may change names; also one that opens a name notices the end of lifetimes.
template <typename Request>
concept ChangesNames = OneOf<Request, wire::Publish, wire::Open, wire::Unpublish>;

/// Requests that a token without engine time may make: most of them give something back.
template <typename Request>
concept NeedsNoTime =
    AnsweredAtOnce<Request> || OneOf<Request, wire::Info, wire::Release, wire::Forget,
                                     wire::ForgetKernel, wire::Unpublish, wire::Unsubscribe>;

/// True if the I/O thread answers the request, also while another one runs.
inline bool is_answered_at_once(const RequestBody& body) {
  const auto* info = std::get_if<wire::Info>(&body);
  if (info != nullptr) return !info->handle;
  return std::visit([]<typename Request>(const Request&) { return AnsweredAtOnce<Request>; }, body);
}

/// The new handles that the request would make.
inline std::span<const std::uint64_t> new_handles(const RequestBody& body) {
  using Handles = std::span<const std::uint64_t>;
  return std::visit(Overloaded{
                        [](const wire::Run& run) { return Handles(run.results); },
                        [](const MakesTensor auto& make) { return Handles(&make.handle, 1); },
                        [](const auto&) { return Handles(); },
                    },
                    body);
}

/// Bytes that the reply may have, if they can be many.
inline std::uint64_t reply_bytes(const RequestBody& body) {
  return std::visit(
      Overloaded{
          [](const wire::Download& download) { return download.length; },
          [](const wire::Run& run) { return run.results.size() * Limits::result_bytes_max; },
          [](const wire::ListNames& names) { return names.limit * Limits::listed_bytes_max; },
          [](const auto&) { return std::uint64_t{0}; },
      },
      body);
}

}  // namespace outrigger::engine
