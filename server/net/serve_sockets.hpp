#pragma once

#include <functional>

#include "base/limits.hpp"
#include "net/server.hpp"

namespace outrigger::net {

/// Why the server must not be started so, if there is a reason: what other machines can reach needs
/// tokens and TLS. Warns instead if `insecure`.
Result<void> check_exposure(const ServerOptions& options, bool insecure);

/// Work that is left when all sessions have ended. Any thread then calls the argument, with false
/// if the work has failed.
using LastWork = std::function<void(std::function<void(bool done)>)>;

/// Serves sockets on this thread until SIGTERM or SIGINT, then ends the process with 0; with 1 if
/// `last_work` has failed. Returns only an error: an address that cannot be bound. When all are
/// bound, each is told on the standard error output by a line that ends with `listening on
/// ADDRESS`, whatever the log level.
Result<void> serve_sockets(const Limits& limits, ServerOptions options, const OpenSession& open,
                           const LastWork& last_work);

}  // namespace outrigger::net
