// outriggerctl as its users see it, with the real daemon: output, status, and one line for each
// error.

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "ctl/run_ctl.hpp"
#include "support/certificates.hpp"
#include "support/client.hpp"
#include "support/server_process.hpp"
#include "wire/reply.hpp"

namespace outrigger::ctl {
namespace {

using boost::asio::ip::tcp;
using test::ServerProcess;
using test::TemporaryFolder;

constexpr const char* token_list =
    "health read 0123456789abcdef0123456789abcdef\napp all fedcba9876543210fedcba9876543210\n";
constexpr const char* wrong_token = "00000000000000000000000000000000";

/// A server that is none: it accepts one connection, reads something, answers, and closes.
class OtherServer {
 public:
  explicit OtherServer(std::string answer)
      : acceptor_(io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)) {
    thread_ = std::thread([this, answer = std::move(answer)] {
      tcp::socket socket(io_);
      boost::system::error_code ignored;
      acceptor_.accept(socket, ignored);
      std::array<char, 4096> request{};
      socket.read_some(boost::asio::buffer(request), ignored);
      boost::asio::write(socket, boost::asio::buffer(answer), ignored);
      socket.shutdown(tcp::socket::shutdown_send, ignored);
      while (!ignored) socket.read_some(boost::asio::buffer(request), ignored);
    });
  }
  ~OtherServer() { thread_.join(); }
  OtherServer(const OtherServer&) = delete;
  OtherServer& operator=(const OtherServer&) = delete;

  std::string port() const { return std::to_string(acceptor_.local_endpoint().port()); }

 private:
  boost::asio::io_context io_;
  tcp::acceptor acceptor_;
  std::thread thread_;
};

std::string encoded(const wire::Frame& frame) { return {frame.begin(), frame.end()}; }

std::string port_of(const std::string& address) { return address.substr(address.rfind(':') + 1); }

TEST(Ctl, PingsOverEachTransportAndByTheEnvironment) {
  const TemporaryFolder folder;
  const ServerProcess server(
      {"--listen", "unix:" + folder.file("s"), "--listen", "tcp://127.0.0.1:0", "--threads", "1"});
  ASSERT_EQ(server.addresses().size(), 2U) << server.log();
  for (const std::string& address : server.addresses()) {
    const Ended ended = ctl("ping --connect " + address);
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_TRUE(ended.output.starts_with("outriggerd ")) << ended.output;
  }
  EXPECT_EQ(ctl("ping", "OUTRIGGER_ADDRESS=" + server.addresses()[0]).status, 0);
  EXPECT_EQ(ctl("--connect tcp://localhost:" + port_of(server.addresses()[1]) + " ping").status, 0);
}

TEST(Ctl, InfoIsATableOrJson) {
  const ServerProcess server(
      {"--listen", "tcp://127.0.0.1:0", "--threads", "1", "--memory-limit", "512MiB"});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  const std::string to = " --connect " + server.addresses()[0];
  const Ended table = ctl("info" + to);
  EXPECT_EQ(table.status, 0);
  EXPECT_NE(table.output.find("memory limit       512.0 MiB\n"), std::string::npos) << table.output;
  EXPECT_NE(table.output.find("process            " + std::to_string(server.pid()) + "\n"),
            std::string::npos)
      << table.output;
  const Ended json = ctl("info --json" + to +
                         " | python3 -c 'import json, sys; told = json.load(sys.stdin); "
                         "print(told[\"memory\"][\"limit\"], told[\"os_pid\"], "
                         "told[\"connection\"][\"transport\"], \"id\" in told)'");
  EXPECT_EQ(json.output, "536870912 " + std::to_string(server.pid()) + " tcp False\n");
  const Ended ping = ctl("ping --json" + to +
                         " | python3 -c 'import json, sys; told = json.load(sys.stdin); "
                         "print(told[\"server\"], told[\"round_trip_ms\"] > 0)'");
  EXPECT_EQ(ping.output, "outriggerd " OUTRIGGER_VERSION " True\n");
}

TEST(Ctl, CheckpointTellsWhatTheServerKeeps) {
  const TemporaryFolder folder;
  const std::string address = "unix:" + folder.file("s");
  const std::string connect = " --connect " + address;
  ServerProcess server(
      {"--listen", address, "--data", folder.file("data"), "--checkpoint-interval", "0"});
  const Ended nothing = ctl("checkpoint" + connect);
  EXPECT_EQ(nothing.status, 0) << nothing.output;
  EXPECT_EQ(nothing.output, "nothing was ever published: there is nothing to keep\n");
  EXPECT_EQ(ctl("info" + connect).output.find("checkpoint"), std::string::npos);

  test::Client client(test::open_socket_transport(address));
  const std::uint64_t handle = client.upload({"u8", {3}, {1, 2, 3}});
  const std::uint64_t id = client.new_id();
  ASSERT_TRUE(client.request(id, test::encode_publish(id, handle, "w")).ok());
  EXPECT_NE(ctl("info" + connect).output.find("later changes"), std::string::npos);
  const Ended done = ctl("checkpoint" + connect);
  EXPECT_EQ(done.status, 0);
  EXPECT_TRUE(std::regex_match(
      done.output, std::regex("checkpoint 1 of 20[0-9-]+ [0-9:]+ UTC: 1 names, [0-9.]+ [KM]?i?B "
                              "written in [0-9]+ ms\n")))
      << done.output;
  const Ended json = ctl("checkpoint --json" + connect);
  EXPECT_NE(json.output.find("\"number\": 1"), std::string::npos) << json.output;
  const Ended info = ctl("info" + connect);
  EXPECT_TRUE(std::regex_search(info.output, std::regex("last checkpoint +20[0-9-]+ ")))
      << info.output;
  EXPECT_EQ(info.output.find("later changes"), std::string::npos);

  ServerProcess other({"--listen", "unix:" + folder.file("t")});
  EXPECT_TRUE(fails_with(ctl("checkpoint --connect unix:" + folder.file("t")), "--data"));
}

TEST(Ctl, InfoTellsWhatTheTokensHave) {
  const TemporaryFolder folder;
  const std::string list = folder.write(
      "tokens",
      "ops all 0123456789abcdef0123456789abcdef sessions=4 bytes=1GiB seconds=30 priority=20\n"
      "app read fedcba9876543210fedcba9876543210\n");
  const ServerProcess server(
      {"--listen", "tcp://127.0.0.1:0", "--threads", "1", "--token-file", list});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  const Ended table = ctl("info --connect " + server.addresses()[0] + " --token-file " + list);
  EXPECT_EQ(table.status, 0);
  const std::string row =
      "token ops          1 of 4 sessions, 0 B of 1.0 GiB, 0 handles, 0 programs, 0 ms of engine "
      "time (this minute 0 ms of 30 s), priority 20\n";
  EXPECT_NE(table.output.find(row), std::string::npos) << table.output;
  EXPECT_EQ(table.output.find("token app"), std::string::npos) << "it had no session yet";
}

TEST(Ctl, TakesTheTokenFromAFileOrTheEnvironment) {
  const TemporaryFolder folder;
  const std::string list = folder.write("tokens", token_list);
  const std::string alone = folder.write("alone", "fedcba9876543210fedcba9876543210\n");
  const ServerProcess server(
      {"--listen", "unix:" + folder.file("s"), "--threads", "1", "--token-file", list});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  const std::string info = "info --connect " + server.addresses()[0];
  const auto token_of = [](const Ended& ended) {
    const std::size_t at = ended.output.find("\ntoken");
    return at == std::string::npos
               ? ended.output
               : ended.output.substr(at + 20, ended.output.find('\n', at + 1) - at - 20);
  };
  EXPECT_EQ(token_of(ctl(info + " --token-file " + list)), "health");
  EXPECT_EQ(token_of(ctl(info + " --token-file " + alone)), "app");
  EXPECT_EQ(token_of(ctl(info, "OUTRIGGER_TOKEN_FILE=" + alone)), "app");
  EXPECT_EQ(token_of(ctl(info,
                         "OUTRIGGER_TOKEN=0123456789abcdef0123456789abcdef "
                         "OUTRIGGER_TOKEN_FILE=" +
                             alone)),
            "health");
  EXPECT_EQ(
      token_of(ctl(info + " --token-file " + list, std::string("OUTRIGGER_TOKEN=") + wrong_token)),
      "health");

  EXPECT_TRUE(fails_with(ctl(info), "unauthorized"));
  const Ended wrong = ctl(info, std::string("OUTRIGGER_TOKEN=") + wrong_token);
  EXPECT_TRUE(fails_with(wrong, "unauthorized"));
  EXPECT_EQ(wrong.output.find(wrong_token), std::string::npos);
  EXPECT_TRUE(fails_with(ctl(info + " --token-file " + folder.file("none")), "No such file"));
}

TEST(Ctl, ChecksTheServersCertificate) {
  const TemporaryFolder folder;
  const auto authority = test::make_certificate(folder.path(), {"authority"});
  const auto other = test::make_certificate(folder.path(), {"other"});
  const auto own = test::make_certificate(folder.path(), {"server", &authority});
  const auto client = test::make_certificate(folder.path(), {"client", &authority});
  const ServerProcess server({"--listen", "tls://127.0.0.1:0", "--threads", "1", "--tls-cert",
                              own.certificate_file, "--tls-key", own.key_file});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  const std::string port = port_of(server.addresses()[0]);
  const std::string ping = "ping --connect " + server.addresses()[0];
  const std::string trust = " --tls-ca " + authority.certificate_file;
  EXPECT_EQ(ctl(ping + trust).status, 0) << ctl(ping + trust).output;
  EXPECT_EQ(ctl("ping --tls-name 127.0.0.1 --connect tls://localhost:" + port + trust).status, 0);

  EXPECT_TRUE(fails_with(ctl(ping), "not trusted"));
  EXPECT_TRUE(fails_with(ctl(ping + " --tls-ca " + other.certificate_file), "not trusted"));
  EXPECT_TRUE(fails_with(ctl("ping --connect tls://localhost:" + port + trust),
                         "certificate is not that of localhost"));
  EXPECT_TRUE(fails_with(ctl(ping + trust + " --tls-name 127.0.0.2"),
                         "certificate is not that of 127.0.0.2"));
  EXPECT_TRUE(fails_with(ctl(ping + " --tls-ca " + folder.file("none")), folder.file("none")));
  EXPECT_TRUE(fails_with(ctl("ping --connect tcp://127.0.0.1:" + port), "tls://"));
}

TEST(Ctl, ShowsItsOwnCertificate) {
  const TemporaryFolder folder;
  const auto authority = test::make_certificate(folder.path(), {"authority"});
  const auto own = test::make_certificate(folder.path(), {"server", &authority});
  const auto client = test::make_certificate(folder.path(), {"client", &authority});
  const ServerProcess server({"--listen", "tls://127.0.0.1:0", "--threads", "1", "--tls-cert",
                              own.certificate_file, "--tls-key", own.key_file, "--tls-client-ca",
                              authority.certificate_file});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  const std::string ping =
      "ping --connect " + server.addresses()[0] + " --tls-ca " + authority.certificate_file;
  const std::string shown =
      ping + " --tls-cert " + client.certificate_file + " --tls-key " + client.key_file;
  EXPECT_EQ(ctl(shown).status, 0) << ctl(shown).output;
  EXPECT_TRUE(fails_with(ctl(ping), "certificate required"));
}

TEST(Ctl, TellsWhyThereIsNoAnswer) {
  const TemporaryFolder folder;
  EXPECT_TRUE(fails_with(ctl("ping --connect unix:" + folder.file("none")),
                         "cannot connect: No such file"));
  // A port that was free a moment ago.
  std::string free_port;
  {
    boost::asio::io_context io;
    const tcp::acceptor acceptor(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    free_port = std::to_string(acceptor.local_endpoint().port());
  }
  EXPECT_TRUE(fails_with(ctl("ping --connect tcp://127.0.0.1:" + free_port),
                         "cannot connect: Connection refused"));
  EXPECT_TRUE(fails_with(ctl("ping --connect tcp://name.invalid:1"), "name.invalid"));
}

TEST(Ctl, HasADeadlineWhileTheServerIsSilent) {
  boost::asio::io_context io;
  const tcp::acceptor silent(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  const std::string port = std::to_string(silent.local_endpoint().port());
  EXPECT_TRUE(fails_with(ctl("ping --timeout 0.2 --connect tcp://127.0.0.1:" + port),
                         "timeout: no answer within 0.2 s while waiting for the reply to hello"));
  EXPECT_TRUE(fails_with(ctl("ping --timeout 0.2 --connect tls://127.0.0.1:" + port),
                         "timeout: no answer within 0.2 s while agreeing on TLS"));
}

TEST(Ctl, TellsThatThereAreTooManyClients) {
  const ServerProcess server(
      {"--listen", "tcp://127.0.0.1:0", "--threads", "1", "--max-clients", "1"});
  ASSERT_EQ(server.addresses().size(), 1U) << server.log();
  boost::asio::io_context io;
  tcp::socket first(io);
  first.connect({boost::asio::ip::address_v4::loopback(),
                 static_cast<std::uint16_t>(std::stoi(port_of(server.addresses()[0])))});
  EXPECT_TRUE(fails_with(ctl("ping --connect " + server.addresses()[0]), "too_many_clients"));
}

TEST(Ctl, KnowsAnotherProtocol) {
  const auto ping = [](const OtherServer& server, const std::string& scheme = "tcp") {
    return ctl("ping --connect " + scheme + "://127.0.0.1:" + server.port());
  };
  constexpr const char* unknown = "does not speak Outrigger's protocol";
  EXPECT_TRUE(fails_with(ping(OtherServer("HTTP/1.1 400 Bad Request\r\n\r\n")), unknown));
  EXPECT_TRUE(fails_with(ping(OtherServer(std::string("\0\0\0\1\xc1", 5))), unknown));
  EXPECT_TRUE(fails_with(ping(OtherServer(std::string("\0\0\0\1\x80", 5))), unknown));
  EXPECT_TRUE(fails_with(ping(OtherServer(encoded(wire::encode_ok(7)))), unknown));
  EXPECT_TRUE(fails_with(ping(OtherServer("")), "the server closed the connection"));
  EXPECT_TRUE(fails_with(ping(OtherServer("no TLS"), "tls"), "TLS handshake failed"));
  // A later version of the protocol.
  const std::string refusal = encoded(wire::encode_error(
      1, {ErrorCode::bad_request, "hello: this daemon speaks protocol version 2\x1b"}));
  EXPECT_TRUE(fails_with(ping(OtherServer(refusal)),
                         "bad_request: hello: this daemon speaks protocol version 2\\x1b"));
}

TEST(Ctl, WrongWordsEndItWithStatus1Too) {
  const std::string to = " --connect tcp://127.0.0.1:1";
  for (const std::string& words :
       {std::string("ping"), "fly" + to, "ping --fly" + to, to, "ping --timeout 0" + to,
        "ping --tls-cert x" + to, std::string("ping --connect 127.0.0.1:1"),
        // A token as an argument would be in the list of processes.
        "ping --token 0123456789abcdef" + to}) {
    const Ended ended = ctl(words);
    EXPECT_EQ(ended.status, 1) << words;
    EXPECT_TRUE(ended.output.starts_with("outriggerctl: ")) << words << ": " << ended.output;
  }
  EXPECT_EQ(ctl("--version").output, "outriggerctl " OUTRIGGER_VERSION "\n");
  EXPECT_EQ(ctl("--help").status, 0);
}

}  // namespace
}  // namespace outrigger::ctl
