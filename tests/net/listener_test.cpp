#include "net/listener.hpp"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/peer.hpp"
#include "support/link.hpp"
#include "support/server_process.hpp"

namespace outrigger::net {
namespace {

using testing::Fd;

class ListenerTest : public ::testing::Test {
 protected:
  Result<std::shared_ptr<Listener>> open(const std::string& address) {
    return Listener::open(io_, parse_address(address).value());
  }
  std::string address() const { return "unix:" + path(); }
  std::string path() const { return folder_.file("s"); }

  /// A socket of another program under our name.
  Fd foreign_socket(bool living) const {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path().copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    if (living) ::listen(fd.get(), 1);
    return fd;
  }

  boost::asio::io_context io_{1};
  test::TemporaryFolder folder_;
};

TEST_F(ListenerTest, ASocketFileIsForItsOwnerAndGoesWithTheListener) {
  {
    const auto listener = open(address());
    ASSERT_TRUE(listener) << listener.error().text;
    struct stat status {};
    ASSERT_EQ(::stat(path().c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(ListenerTest, ASocketFileOfALivingServerIsRefused) {
  const auto first = open(address());
  ASSERT_TRUE(first);
  const auto second = open(address());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().text, address() + ": another server listens there");
  // … and stays what it was.
  EXPECT_NO_THROW(test::dial(address()));
}

TEST_F(ListenerTest, ASocketFileOfADeadServerIsReplaced) {
  foreign_socket(true).close();
  ASSERT_THROW(test::dial(address()), std::exception);
  const auto listener = open(address());
  ASSERT_TRUE(listener) << listener.error().text;
  EXPECT_NO_THROW(test::dial(address()));
}

TEST_F(ListenerTest, ASocketFileOfAnotherLivingProgramIsRefused) {
  const Fd other = foreign_socket(true);
  EXPECT_FALSE(open(address()));
  EXPECT_TRUE(std::filesystem::exists(path()));
  EXPECT_FALSE(std::filesystem::exists(path() + ".lock"));
}

TEST_F(ListenerTest, AFileThatIsNoSocketStays) {
  folder_.write("s", "text");
  const auto listener = open(address());
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.error().text.find("is no socket"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path()), 4U);
}

TEST_F(ListenerTest, AFileThatWasPutInItsPlaceStays) {
  {
    const auto listener = open(address());
    ASSERT_TRUE(listener);
    std::filesystem::remove(path());
    folder_.write("s", "text");
  }
  EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(ListenerTest, AFolderThatDoesNotExistIsNamed) {
  const auto listener = open("unix:/nowhere/s");
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.error().text.find("unix:/nowhere/s: "), std::string::npos);
  EXPECT_NE(listener.error().text.find("No such file"), std::string::npos);
}

TEST_F(ListenerTest, APortIsChosenAndCannotBeTakenTwice) {
  for (const char* any : {"tcp://127.0.0.1:0", "tcp://[::1]:0"}) {
    const auto first = open(any);
    ASSERT_TRUE(first) << first.error().text;
    const std::string real = (*first)->address().text();
    EXPECT_NE(real, any);
    const auto second = open(real);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().text, real + ": Address already in use");
  }
}

TEST_F(ListenerTest, WaitsWithoutWorkWhileThereIsNoDescriptor) {
  const auto listener = open("tcp://127.0.0.1:0");
  ASSERT_TRUE(listener);
  std::vector<Fd> accepted;
  (*listener)->start([&](int socket, const std::string&) { accepted.emplace_back(socket); });
  const auto first = test::dial((*listener)->address().text());
  const auto second = test::dial((*listener)->address().text());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_GT(io_.poll(), 0U);
  EXPECT_TRUE((*listener)->paused());
  // The socket is still ready for reading: a loop that waits for that would turn for ever.
  EXPECT_EQ(io_.poll(), 0U);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(accepted.empty());
  (*listener)->resume();
  io_.poll();
  EXPECT_EQ(accepted.size(), 2U);
  EXPECT_FALSE((*listener)->paused());
}

TEST_F(ListenerTest, AnAddressOfAnotherMachineCannotBeBound) {
  const auto listener = open("tcp://192.0.2.1:0");
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.error().text.find("tcp://192.0.2.1:0: "), std::string::npos);
}

}  // namespace
}  // namespace outrigger::net
