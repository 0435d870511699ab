#include "sandbox/calls.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "sandbox/support.hpp"

namespace outrigger::sandbox {
namespace {

using testing::error_of;
using testing::in_child;

// An address that nobody serves: without the sandbox, it refuses a connection.
sockaddr_in nobody() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(1);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int connect_to_nobody(int socket) {
  const sockaddr_in address = nobody();
  return error_of(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address));
}

int run_true() {
  char name[] = "true";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  return error_of(::execve("/bin/true", arguments, environment));
}

/// The result of `work` with the filter.
int restricted(const std::function<int()>& work, bool may_execute = false) {
  return in_child([&] { return restrict_calls(may_execute) ? work() : 254; });
}

TEST(SandboxCalls, RefusesAConnectionThroughASocketThatWasOpen) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(in_child([&] { return connect_to_nobody(socket); }), ECONNREFUSED);
  EXPECT_EQ(restricted([&] { return connect_to_nobody(socket); }), EPERM);
  ::close(socket);
}

TEST(SandboxCalls, RefusesANewSocket) {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET})
    EXPECT_EQ(restricted([&] { return error_of(::socket(family, SOCK_STREAM, 0)); }), EPERM);
}

TEST(SandboxCalls, RefusesAProgramUnlessItMayBeExecuted) {
  EXPECT_EQ(in_child(run_true), 0);
  EXPECT_EQ(restricted(run_true), EPERM);
  EXPECT_EQ(restricted(run_true, true), 0);
}

TEST(SandboxCalls, RefusesWhatServesAnAttackerOnly) {
  EXPECT_EQ(restricted([] { return error_of(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }),
            EPERM);
  EXPECT_EQ(restricted([] { return error_of(::mount("none", "/mnt", "tmpfs", 0, nullptr)); }),
            EPERM);
  EXPECT_EQ(restricted([] { return error_of(::unshare(CLONE_NEWUSER)); }), EPERM);
  EXPECT_EQ(restricted([] { return error_of(::chroot("/tmp")); }), EPERM);
  for (const long call : {SYS_bpf, SYS_io_uring_setup, SYS_process_vm_readv, SYS_perf_event_open,
                          SYS_userfaultfd, SYS_keyctl, SYS_setns, SYS_listen, SYS_bind}) {
    EXPECT_EQ(restricted([&] { return error_of(::syscall(call, 0, 0, 0, 0, 0, 0)); }), EPERM)
        << call;
  }
  EXPECT_EQ(restricted([] { return error_of(::syscall(10'000)); }), ENOSYS) << "unknown";
}

TEST(SandboxCalls, HoldsForThreadsThatAreThereAndThatCome) {
  EXPECT_EQ(in_child([] {
              std::atomic<bool> ready{false};
              std::atomic<int> before{-1};
              std::thread earlier([&] {
                while (!ready) std::this_thread::yield();
                before = run_true();
              });
              if (!restrict_calls(false)) return 254;
              ready = true;
              earlier.join();
              int after = -1;
              std::thread([&] { after = run_true(); }).join();
              return before == EPERM && after == EPERM ? 0 : 1;
            }),
            0);
}

TEST(SandboxCalls, TellsTheKernelThatItGainsNoRights) {
  EXPECT_EQ(restricted([] {
              std::ifstream status("/proc/self/status");
              const std::string text{std::istreambuf_iterator<char>(status), {}};
              return text.find("NoNewPrivs:\t1") != std::string::npos &&
                             text.find("Seccomp:\t2") != std::string::npos
                         ? 0
                         : 1;
            }),
            0);
}

}  // namespace
}  // namespace outrigger::sandbox
