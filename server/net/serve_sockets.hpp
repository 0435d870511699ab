#pragma once

#include "base/limits.hpp"
#include "net/server.hpp"

namespace outrigger::net {

/// Why the server must not be started so, if there is a reason: what other machines can reach needs
/// tokens and TLS. Warns instead if `insecure`.
Result<void> check_exposure(const ServerOptions& options, bool insecure);

/// Serves sockets on this thread until SIGTERM or SIGINT, then ends the process with 0. Returns
/// only an error: an address that cannot be bound. When all are bound, each is told on the
/// standard error output by a line that ends with `listening on ADDRESS`, whatever the log level.
Result<void> serve_sockets(const Limits& limits, ServerOptions options, const OpenSession& open);

}  // namespace outrigger::net
