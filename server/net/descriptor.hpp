#pragma once

namespace outrigger::net {

/// The other end of a pipe or socket is gone. Input may still wait to be read.
bool hung_up(int fd);

/// Asks for the largest pipe that an unprivileged process may have: 1 MiB carries three to five
/// times as much as the default. Does nothing for what is no pipe.
void widen_pipe(int fd);

/// Moves the standard output to a descriptor that only its caller knows, and lets fd 1 mean the
/// standard error output: one stray printf between frames would cost the BEAM a gigabyte. Also
/// opens fds 0 and 2 on /dev/null if they are closed, so that no other file gets their numbers.
/// Call it before anything may print. Returns the new descriptor, or -1 (errno says why).
int take_standard_output();

}  // namespace outrigger::net
