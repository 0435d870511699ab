// The daemon with a data folder: the real executable, which is killed, stopped and started again.

#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "net/caller.hpp"
#include "net/serve_stdio.hpp"
#include "net/served.hpp"
#include "support/server_process.hpp"

namespace outrigger::net {
namespace {

using std::chrono::milliseconds;
using test::Reply;
using test::ServerProcess;
using test::TemporaryFolder;
using testing::Caller;
using testing::eventually;
using Bytes = std::vector<std::uint8_t>;

class DaemonData : public ::testing::Test {
 protected:
  std::vector<std::string> words(const std::string& interval = "0") const {
    return {"--listen", "unix:" + folder_.file("s"), "--data",
            data_,      "--checkpoint-interval",     interval};
  }
  std::string address() const { return "unix:" + folder_.file("s"); }

  static void publish(Caller& caller, const std::string& name, const Bytes& bytes) {
    const std::uint64_t handle = 1000 + caller.new_id();
    const auto size = static_cast<std::int64_t>(bytes.size());
    ASSERT_TRUE(
        caller.ask(test::encode_upload(caller.new_id(), handle, "u8", {size}, 0, bytes)).ok());
    ASSERT_TRUE(caller.ask(test::encode_publish(caller.new_id(), handle, name)).ok());
    ASSERT_TRUE(caller.ask(test::encode_release(caller.new_id(), std::array{handle})).ok());
  }
  static Reply checkpoint(Caller& caller) {
    return caller.ask(test::encode_simple(caller.new_id(), "checkpoint"));
  }
  /// The published u8 tensors.
  static std::map<std::string, Bytes> all(Caller& caller) {
    std::map<std::string, Bytes> out;
    for (const Reply::Name& name : caller.ask(test::encode_names(caller.new_id())).names) {
      const std::uint64_t handle = 1'000'000 + caller.new_id();
      EXPECT_TRUE(caller.ask(test::encode_open(caller.new_id(), handle, name.name)).ok());
      out[name.name] =
          caller.ask(test::encode_download(caller.new_id(), handle, 0, name.bytes)).data;
    }
    return out;
  }

  const TemporaryFolder folder_;
  std::string data_ = folder_.file("data");
};

TEST_F(DaemonData, AKilledServerHasTheTensorsOfTheLastCheckpoint) {
  {
    ServerProcess server(words());
    Caller caller(address());
    ASSERT_TRUE(caller.hello().ok()) << server.log();
    publish(caller, "kept", {1, 2, 3});
    const Reply reply = checkpoint(caller);
    ASSERT_TRUE(reply.ok()) << reply.text();
    EXPECT_EQ(reply.numbers.at("checkpoint.names"), 1U);
    publish(caller, "lost", {4});
    server.signal(SIGKILL);
    EXPECT_EQ(server.exit_status(), 128 + SIGKILL);
  }
  ServerProcess server(words());
  Caller caller(address());
  ASSERT_TRUE(caller.hello().ok()) << server.log();
  EXPECT_EQ(all(caller), (std::map<std::string, Bytes>{{"kept", {1, 2, 3}}}));
  EXPECT_EQ(caller.info().numbers.at("checkpoint.number"), 1U);
}

TEST_F(DaemonData, ATerminatedServerHasAllTensors) {
  {
    ServerProcess server(words());
    Caller caller(address());
    ASSERT_TRUE(caller.hello().ok());
    publish(caller, "a", {1});
    server.signal(SIGTERM);
    EXPECT_EQ(server.exit_status(), 0);
  }
  ServerProcess server(words());
  Caller caller(address());
  ASSERT_TRUE(caller.hello().ok());
  EXPECT_EQ(all(caller), (std::map<std::string, Bytes>{{"a", {1}}}));
  server.signal(SIGTERM);
  EXPECT_EQ(server.exit_status(), 0) << "without a change, too";
}

/// Publishes tensors whose bytes are all their number, until the server dies. `durable` has the
/// last number that a checkpoint has.
void publish_until_the_end(const std::string& address, std::atomic<unsigned>& durable) {
  try {
    Caller caller(address);
    caller.hello();
    for (unsigned number = durable + 1;; ++number) {
      const std::uint64_t handle = number;
      const Bytes bytes(20'000, static_cast<std::uint8_t>(number));
      caller.ask(test::encode_upload(caller.new_id(), handle, "u8", {20'000}, 0, bytes));
      for (const char* name : {"x", "y"})
        caller.ask(test::encode_publish(caller.new_id(), handle, name));
      caller.ask(test::encode_release(caller.new_id(), std::array{handle}));
      if (number % 8 == 0 && caller.ask(test::encode_simple(caller.new_id(), "checkpoint")).ok())
        durable = number;
    }
  } catch (const std::exception&) {
    // The server is gone.
  }
}

TEST_F(DaemonData, KilledUnderLoadAgainAndAgain) {
  std::atomic<unsigned> durable{0};
  for (int life = 0; life < 12; ++life) {
    ServerProcess server(words("0.002"));
    ASSERT_EQ(server.addresses().size(), 1U) << server.log();
    {
      Caller caller(address());
      ASSERT_TRUE(caller.hello().ok());
      const unsigned known = durable;
      const auto values = all(caller);
      ASSERT_TRUE(known == 0 || values.size() == 2);
      for (const auto& [name, bytes] : values) {
        ASSERT_EQ(bytes, Bytes(20'000, bytes.at(0))) << "a whole tensor";
        // The client asks for a checkpoint after each eighth number.
        const auto newer = static_cast<std::uint8_t>(bytes.at(0) - known);
        EXPECT_LT(newer, 20U) << name << ": " << int{bytes.at(0)} << " after " << known;
      }
    }
    std::thread load([&] { publish_until_the_end(address(), durable); });
    std::this_thread::sleep_for(milliseconds(20 + 17 * life));
    server.signal(SIGKILL);
    EXPECT_EQ(server.exit_status(), 128 + SIGKILL);
    load.join();
  }
  EXPECT_GT(durable, 0U);
}

TEST_F(DaemonData, OneFolderIsForOneServer) {
  ServerProcess server(words());
  ServerProcess second({"--listen", "unix:" + folder_.file("t"), "--data", data_});
  EXPECT_EQ(second.exit_status(), EXIT_FAILURE);
  EXPECT_TRUE(std::regex_match(
      second.log(),
      std::regex("outriggerd: --data: \".*/data\" is in use by another server[^\n]*\n")))
      << second.log();
  Caller caller(address());
  EXPECT_TRUE(caller.hello().ok());
}

TEST_F(DaemonData, ADamagedFolderIsRefusedAndItsFileNamed) {
  {
    ServerProcess server(words());
    Caller caller(address());
    ASSERT_TRUE(caller.hello().ok());
    publish(caller, "a", Bytes(1000, 1));
    ASSERT_TRUE(checkpoint(caller).ok());
  }
  const std::string file = data_ + "/1-1.tensor";
  std::fstream(file, std::ios::in | std::ios::out).seekp(500).put(2);
  ServerProcess server(words());
  EXPECT_EQ(server.exit_status(), EXIT_FAILURE);
  EXPECT_NE(server.log().find("1-1.tensor\" is damaged"), std::string::npos) << server.log();
  EXPECT_NE(server.log().find("Restore the folder from a copy"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(DaemonData, OptionsThatDoNotFit) {
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"--data", data_},
        {"--listen", address(), "--checkpoint-interval", "5"},
        {"--listen", address(), "--data", data_, "--checkpoint-interval", "-1"}}) {
    ServerProcess failing(wrong);
    EXPECT_EQ(failing.exit_status(), exit_usage) << failing.log();
  }
  ServerProcess nowhere({"--listen", address(), "--data", "/proc/nowhere"});
  EXPECT_EQ(nowhere.exit_status(), EXIT_FAILURE);
}

TEST_F(DaemonData, TheOptionsComeFromAFileToo) {
  const std::string file =
      folder_.write("outrigger.toml", "listen = [\"" + address() + "\"]\ndata = \"" + data_ +
                                          "\"\ncheckpoint-interval = 0.01\n");
  ServerProcess server({"--config", file}, {}, 1);
  Caller caller(address());
  ASSERT_TRUE(caller.hello().ok()) << server.log();
  publish(caller, "a", {1});
  EXPECT_TRUE(eventually([&] { return caller.info().numbers.at("checkpoint.number") == 1; }));
}

/// Gives the reply to a checkpoint that fails, then what `info` tells of it.
void expect_failure(ServerProcess& server, Caller& caller, const std::string& reason) {
  const Reply failed = caller.ask(test::encode_simple(caller.new_id(), "checkpoint"));
  EXPECT_EQ(failed.code(), "io_error") << failed.text();
  EXPECT_NE(failed.text().find(reason), std::string::npos) << failed.text();
  const Reply info = caller.info();
  EXPECT_NE(info.strings.at("checkpoint.error").find(reason), std::string::npos);
  EXPECT_TRUE(info.flags.at("checkpoint.changed"));
  EXPECT_TRUE(server.logs("the checkpoint failed: "));
  EXPECT_TRUE(server.logs(reason));
}

TEST_F(DaemonData, AFileThatTheSystemRefusesIsAnError) {
  ServerProcess server(words());
  Caller caller(address());
  ASSERT_TRUE(caller.hello().ok());
  publish(caller, "small", {1});
  ASSERT_TRUE(checkpoint(caller).ok());
  publish(caller, "large", Bytes(100'000, 2));
  const rlimit little{10'000, RLIM_INFINITY};
  ASSERT_EQ(::prlimit(server.pid(), RLIMIT_FSIZE, &little, nullptr), 0);
  expect_failure(server, caller, std::strerror(EFBIG));
  EXPECT_EQ(caller.info().numbers.at("checkpoint.number"), 1U);
  const rlimit enough{RLIM_INFINITY, RLIM_INFINITY};
  ASSERT_EQ(::prlimit(server.pid(), RLIMIT_FSIZE, &enough, nullptr), 0);
  ASSERT_TRUE(checkpoint(caller).ok());
  EXPECT_FALSE(caller.info().strings.contains("checkpoint.error"));
  publish(caller, "larger", Bytes(200'000, 2));
  ASSERT_EQ(::prlimit(server.pid(), RLIMIT_FSIZE, &little, nullptr), 0);
  server.signal(SIGTERM);
  EXPECT_EQ(server.exit_status(), EXIT_FAILURE) << "what has changed is lost, and that is told";
  ServerProcess next(words());
  Caller again(address());
  ASSERT_TRUE(again.hello().ok());
  EXPECT_EQ(all(again).size(), 2U);
}

/// A file system of its own, if this process may mount one.
class DaemonDataMount : public DaemonData {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(data_);
    mounted_ = ::mount("tmpfs", data_.c_str(), "tmpfs", 0, "size=256k") == 0;
    if (!mounted_) GTEST_SKIP() << "this process may not mount: " << std::strerror(errno);
  }
  void TearDown() override {
    if (mounted_) ::umount2(data_.c_str(), MNT_DETACH);
  }
  bool mounted_ = false;
};

TEST_F(DaemonDataMount, AFullDiskKeepsTheLastCheckpoint) {
  ServerProcess server(words());
  Caller caller(address());
  ASSERT_TRUE(caller.hello().ok());
  publish(caller, "a", Bytes(50'000, 1));
  ASSERT_TRUE(checkpoint(caller).ok());
  publish(caller, "b", Bytes(400'000, 2));
  expect_failure(server, caller, std::strerror(ENOSPC));
  ASSERT_TRUE(caller.ask(test::encode_unpublish(caller.new_id(), "b")).ok());
  publish(caller, "c", Bytes(100'000, 3));
  ASSERT_TRUE(checkpoint(caller).ok()) << "nothing of the failed one takes room";
  server.signal(SIGKILL);
  server.exit_status();
  ServerProcess next(words());
  Caller again(address());
  ASSERT_TRUE(again.hello().ok());
  EXPECT_EQ(all(again),
            (std::map<std::string, Bytes>{{"a", Bytes(50'000, 1)}, {"c", Bytes(100'000, 3)}}));
}

TEST_F(DaemonDataMount, AReadOnlyDiskIsAnError) {
  {
    ServerProcess server(words());
    Caller caller(address());
    ASSERT_TRUE(caller.hello().ok());
    publish(caller, "a", {1});
    ASSERT_TRUE(checkpoint(caller).ok());
    publish(caller, "b", {2});
    // The server has a file open there, so a read-only one is mounted above.
    ASSERT_EQ(::mount("tmpfs", data_.c_str(), "tmpfs", MS_RDONLY, ""), 0);
    expect_failure(server, caller, std::strerror(EROFS));
    ASSERT_EQ(::umount2(data_.c_str(), 0), 0);
    EXPECT_TRUE(checkpoint(caller).ok());
  }
  ASSERT_EQ(::mount("", data_.c_str(), "", MS_REMOUNT | MS_RDONLY, "size=256k"), 0);
  ServerProcess server(words());
  EXPECT_EQ(server.exit_status(), EXIT_FAILURE);
  EXPECT_NE(server.log().find("Read-only file system"), std::string::npos) << server.log();
}

}  // namespace
}  // namespace outrigger::net
