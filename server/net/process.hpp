#pragma once

namespace outrigger::net {

/// Settings of the daemon's own process, before it serves. Only main() calls these functions.

/// Starts this program again, once, with a GOMP_SPINCOUNT by which OpenMP's threads spin for 0.1 ms
/// before they sleep, unless the environment already says how they wait.
/// Longer than a program's steps between two loops take, and than it takes to wake a thread; then
/// they sleep, as the BEAM's schedulers need the cores. libgomp reads its environment before
/// main(). Returns if there is nothing to do.
void wait_briefly(char** argv);

/// Asks the kernel to kill this process when its parent ends, and exits at once if the parent is
/// gone already. The second net below the end of file on stdin.
void die_with_parent();

/// Sets every disposition that counts, as the BEAM's children inherit SIGPIPE and SIGFPE ignored,
/// and unblocks all signals. A write without reader is an error (EPIPE), not a signal.
void set_signal_dispositions();

/// Lets the kernel's out-of-memory killer pick this process and never its parent. False if the
/// system does not allow it.
bool volunteer_for_oom_killer();

/// Files that the daemon saves are not writable for others, whatever was inherited.
void restrict_umask();

}  // namespace outrigger::net
