#pragma once

#include "base/limits.hpp"
#include "net/connection.hpp"

namespace outrigger::net {

/// Exit codes of the daemon beside 0; those of a signal are 128 + its number.
constexpr int exit_usage = 2;
constexpr int exit_malformed = 65;

/// Null if frames can be exchanged over these two, otherwise for people why not.
const char* stdio_problem(int in_fd, int out_fd);

/// Serves one session, whose requests come from `in_fd` and whose replies go to `out_fd`, on this
/// thread. Ends the process, whatever other threads are doing: with 0 when the peer said bye or
/// went away (at once: nobody is left to wait for), 65 if it sent what is no frame, 143 on SIGTERM
/// and 130 on SIGINT.
[[noreturn]] void serve_stdio(const Limits& limits, int in_fd, int out_fd,
                              const SessionFactory& open);

}  // namespace outrigger::net
