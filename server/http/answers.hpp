#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/session/session.hpp"

namespace outrigger::http {

/// Where the answers come from. The functions are called on the thread of HTTP, and never wait for
/// the engine.
struct Sources {
  std::function<engine::Vitals()> vitals;
  /// Clients may come.
  std::function<bool()> ready;
  std::unique_ptr<engine::Probe> probe;
};

struct Answer {
  unsigned status = 200;
  std::string_view type = "text/plain; charset=utf-8";
  std::string body;
  /// Methods that are allowed, if the request's is not.
  std::string_view allow = {};
};

/// The path of a request's target, without the query.
std::string_view path_of(std::string_view target);

/// True if a browser may have been sent to this machine by another site's name: the host of the
/// request is neither a number nor `localhost`.
bool is_foreign_host(std::string_view host);

/// The answer to all paths but /healthz. `answers`: requests so far.
Answer answer_to(std::string_view path, const Sources& sources, std::uint64_t answers);

/// The answer to /healthz.
Answer answer_of(const Result<engine::Probe::Health>& outcome);

}  // namespace outrigger::http
