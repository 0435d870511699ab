#include "sandbox/calls.hpp"

#include <seccomp.h>

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

namespace outrigger::sandbox {
namespace {

// By what they are for. A name that this system's libseccomp does not know is left out.
constexpr const char* allowed_calls[] = {
    // memory
    "brk", "madvise", "mbind", "membarrier", "memfd_create", "mincore", "mlock", "mmap", "mprotect",
    "mremap", "msync", "munlock", "munmap", "get_mempolicy", "set_mempolicy",
    // threads and signals
    "arch_prctl", "clone", "clone3", "exit", "exit_group", "futex", "futex_waitv",
    "get_robust_list", "getcpu", "gettid", "restart_syscall", "rseq", "rt_sigaction",
    "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getparam",
    "sched_getscheduler", "sched_setaffinity", "sched_yield", "set_robust_list", "set_tid_address",
    "sigaltstack", "tgkill",
    // processes: the compiler of kernels
    "kill", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "getrlimit", "setrlimit",
    "vfork", "wait4", "waitid",
    // the process itself
    "getegid", "geteuid", "getgid", "getgroups", "getpgrp", "getpid", "getppid", "getpriority",
    "getrandom", "getresgid", "getresuid", "getrusage", "getsid", "getuid", "sysinfo", "umask",
    "uname",
    // time
    "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep",
    "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
    // descriptors
    "close", "close_range", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "fcntl", "ioctl", "lseek",
    "pipe", "pipe2", "poll", "ppoll", "pread64", "preadv", "preadv2", "pselect6", "pwrite64",
    "pwritev", "pwritev2", "read", "readv", "select", "signalfd4", "write", "writev",
    // sockets that are bound or connected already
    "accept", "accept4", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmmsg",
    "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair",
    // files; Landlock says which
    "access", "chdir", "copy_file_range", "faccessat", "faccessat2", "fadvise64", "fallocate",
    "fchmod", "fchmodat", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd",
    "getdents64", "link", "linkat", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat",
    "openat2", "readahead", "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir",
    "sendfile", "stat", "statfs", "statx", "sync_file_range", "unlink", "unlinkat", "utimensat"};

/// Calls that are known and refused. All others are "not implemented", so that the C library takes
/// an older way.
constexpr const char* refused_calls[] = {"acct",
                                         "add_key",
                                         "adjtimex",
                                         "bind",
                                         "bpf",
                                         "chmod",
                                         "chown",
                                         "chroot",
                                         "clock_settime",
                                         "connect",
                                         "delete_module",
                                         "execveat",
                                         "fanotify_init",
                                         "finit_module",
                                         "init_module",
                                         "io_uring_setup",
                                         "ioperm",
                                         "iopl",
                                         "kcmp",
                                         "kexec_load",
                                         "keyctl",
                                         "listen",
                                         "mknod",
                                         "mknodat",
                                         "mount",
                                         "move_mount",
                                         "name_to_handle_at",
                                         "open_by_handle_at",
                                         "perf_event_open",
                                         "personality",
                                         "pivot_root",
                                         "process_vm_readv",
                                         "process_vm_writev",
                                         "ptrace",
                                         "quotactl",
                                         "reboot",
                                         "request_key",
                                         "setdomainname",
                                         "setgid",
                                         "setgroups",
                                         "sethostname",
                                         "setns",
                                         "setresgid",
                                         "setresuid",
                                         "settimeofday",
                                         "setuid",
                                         "socket",
                                         "swapoff",
                                         "swapon",
                                         "syslog",
                                         "umount2",
                                         "unshare",
                                         "userfaultfd",
                                         "vhangup"};

tl::unexpected<Error> not_done(int error) {
  return fail(ErrorCode::internal, "seccomp: " + std::system_category().message(-error));
}

}  // namespace

Result<void> restrict_calls(bool may_execute) {
  const std::unique_ptr<void, void (*)(void*)> filter(::seccomp_init(SCMP_ACT_ERRNO(ENOSYS)),
                                                      ::seccomp_release);
  if (!filter) return not_done(-ENOMEM);
  const auto rule = [&](std::uint32_t action, const char* name) {
    const int call = ::seccomp_syscall_resolve_name(name);
    return call == __NR_SCMP_ERROR ? 0 : ::seccomp_rule_add(filter.get(), action, call, 0);
  };
  int error = 0;
  for (const char* name : allowed_calls)
    if (error == 0) error = rule(SCMP_ACT_ALLOW, name);
  for (const char* name : refused_calls)
    if (error == 0) error = rule(SCMP_ACT_ERRNO(EPERM), name);
  if (error == 0) error = rule(may_execute ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM), "execve");
  // All threads get the filter, those of OpenMP too.
  if (error == 0) error = ::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) error = ::seccomp_load(filter.get());
  if (error != 0) return not_done(error);
  return {};
}

}  // namespace outrigger::sandbox
