#include "sandbox/files.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "sandbox/support.hpp"
#include "support/server_process.hpp"

namespace outrigger::sandbox {
namespace {

using test::TemporaryFolder;
using testing::error_of;
using testing::in_child;

int open_error(const std::string& path, int flags = O_RDONLY) {
  return error_of(::open(path.c_str(), flags, 0600));
}

int execute(const std::string& program) {
  std::string name = program;
  char* const arguments[] = {name.data(), nullptr};
  char* const environment[] = {nullptr};
  return error_of(::execve(program.c_str(), arguments, environment));
}

class SandboxFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const int available = in_child([] { return restrict_files({}) ? 0 : 1; });
    if (available != 0) GTEST_SKIP() << "this kernel has no Landlock";
  }
  int restricted(const std::function<int()>& work, const std::string& program = {}) const {
    return in_child([&] {
      const Paths paths{{read_.path()}, {write_.path()}, program};
      return restrict_files(paths) ? work() : 254;
    });
  }

  TemporaryFolder read_;
  TemporaryFolder write_;
  TemporaryFolder other_;
};

TEST_F(SandboxFiles, ReadsWhatMayBeRead) {
  const std::string file = read_.write("x", "text");
  EXPECT_EQ(restricted([&] { return open_error(file); }), 0);
  EXPECT_EQ(restricted([&] { return open_error(file, O_WRONLY); }), EACCES);
  EXPECT_EQ(restricted([&] { return open_error(read_.path() + "/y", O_WRONLY | O_CREAT); }),
            EACCES);
  EXPECT_EQ(restricted([&] { return error_of(::unlink(file.c_str())); }), EACCES);
}

TEST_F(SandboxFiles, WritesWhatMayBeWritten) {
  const std::string file = write_.write("x", "text");
  const std::string made = write_.path() + "/y";
  EXPECT_EQ(restricted([&] {
              int error = open_error(file, O_RDWR | O_TRUNC);
              if (error == 0) error = open_error(made, O_WRONLY | O_CREAT);
              if (error == 0) error = error_of(::rename(made.c_str(), file.c_str()));
              if (error == 0) error = error_of(::mkdir(made.c_str(), 0700));
              if (error == 0) error = error_of(::rmdir(made.c_str()));
              // As a file is saved: without a name, until it is whole.
              const int fd = ::open(write_.path().c_str(), O_TMPFILE | O_WRONLY, 0600);
              const std::string open_file = "/proc/self/fd/" + std::to_string(fd);
              if (error == 0) {
                error = error_of(::linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, made.c_str(),
                                          AT_SYMLINK_FOLLOW));
              }
              return error == 0 ? error_of(::unlink(made.c_str())) : error;
            }),
            0);
}

TEST_F(SandboxFiles, RefusesAllOthers) {
  const std::string secret = other_.write("secret", "text");
  ASSERT_EQ(::symlink(secret.c_str(), (write_.path() + "/link").c_str()), 0);
  for (const std::string& path :
       {secret, write_.path() + "/link", std::string("/etc/passwd"), std::string("/proc/1/status"),
        std::string("/root"), std::string("/tmp")}) {
    EXPECT_EQ(in_child([&] { return open_error(path); }), 0) << path;
    EXPECT_EQ(restricted([&] { return open_error(path); }), EACCES) << path;
  }
  EXPECT_EQ(restricted([&] { return open_error(other_.path() + "/x", O_WRONLY | O_CREAT); }),
            EACCES);
  EXPECT_EQ(restricted([&] {
              return error_of(
                  ::rename((write_.path() + "/link").c_str(), (other_.path() + "/link").c_str()));
            }),
            EACCES);
}

TEST_F(SandboxFiles, ExecutesOneProgramOrNone) {
  EXPECT_EQ(restricted([] { return execute("/bin/true"); }), EACCES);
  EXPECT_EQ(restricted([] { return execute("/bin/true"); }, "/bin/true"), 0);
  EXPECT_EQ(restricted([] { return execute("/bin/ls"); }, "/bin/true"), EACCES);
}

TEST_F(SandboxFiles, HoldsForThreadsThatComeAndForProcesses) {
  EXPECT_EQ(restricted([] {
              int in_thread = 0;
              std::thread([&] { in_thread = open_error("/etc/passwd"); }).join();
              return in_thread == EACCES ? in_child([] { return open_error("/etc/passwd"); }) : 1;
            }),
            EACCES);
}

TEST_F(SandboxFiles, ConnectsToNoTcpAddress) {
  const int old = in_child([] {
    const auto landlock = restrict_files({});
    return landlock && std::stoi(landlock->substr(sizeof "Landlock")) >= 4 ? 0 : 1;
  });
  if (old != 0) GTEST_SKIP() << "this kernel's Landlock knows no network";
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(1);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(restricted([&] {
              return error_of(
                  ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address));
            }),
            EACCES);
  ::close(socket);
}

}  // namespace
}  // namespace outrigger::sandbox
