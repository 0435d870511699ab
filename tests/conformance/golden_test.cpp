// Runs each golden case through a session in this process, and through a daemon over pipes, Unix
// sockets, TCP and TLS.
//
//   OUTRIGGER_CASE=…  only cases whose name contains this text

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <exception>
#include <map>
#include <tuple>

#include "conformance/runner.hpp"
#include "support/certificates.hpp"
#include "support/server_process.hpp"

namespace outrigger::test {
namespace {

enum class Way { session, daemon, unix_socket, tcp, tls };

std::string name_of(Way way) {
  constexpr std::array names{"session", "daemon", "unix", "tcp", "tls"};
  return names.at(static_cast<std::size_t>(way));
}

/// One server for all sessions over sockets.
struct Sockets {
  TemporaryFolder folder;
  Certificate authority = make_certificate(folder.path(), {.name = "authority"});
  Certificate own = make_certificate(folder.path(), {.name = "server", .issuer = &authority});
  ServerProcess server{{"--listen", "unix:" + folder.file("s"), "--listen", "tcp://127.0.0.1:0",
                        "--listen", "tls://[::1]:0", "--tls-cert", own.certificate_file,
                        "--tls-key", own.key_file, "--threads", "2"}};
};

std::unique_ptr<Transport> open(Way way) {
  if (way == Way::session) return open_session_transport();
  if (way == Way::daemon) return std::make_unique<DaemonClient>();
  static const Sockets sockets;
  const auto index = static_cast<std::size_t>(way) - static_cast<std::size_t>(Way::unix_socket);
  return open_socket_transport(sockets.server.addresses().at(index),
                               {.ca = sockets.authority.certificate_file});
}

/// All tests of a family read its file once.
const std::vector<Case>& cases_of(const std::string& family) {
  static std::map<std::string, std::vector<Case>> families;
  const auto [place, is_new] = families.try_emplace(family);
  if (is_new) place->second = read_golden(family);
  return place->second;
}

class Golden : public testing::TestWithParam<std::tuple<Way, std::string>> {
 protected:
  using Check = std::optional<std::string> (*)(Client&, const Case&);

  static std::optional<std::string> with_prepared(Client& client, const Case& test, Check check) {
    for (const auto& [id, program] : test.prepared) client.wait(client.prepare_later(id, program));
    auto text = check(client, test);
    for (const auto& [id, program] : test.prepared) client.wait(client.forget_later(id));
    return text;
  }

  /// Runs `check` on each case of the family. The first failures are printed completely.
  void run(Check check) {
    const auto& [way, family] = GetParam();
    Client client(open(way));
    std::size_t failed = 0;
    const std::vector<Case>& cases = cases_of(family);
    const char* wanted = std::getenv("OUTRIGGER_CASE");
    for (const Case& test : cases) {
      if (wanted != nullptr && test.name.find(wanted) == std::string::npos) continue;
      try {
        const auto text = with_prepared(client, test, check);
        if (text && ++failed <= 30) ADD_FAILURE() << test.name << ": " << *text;
      } catch (const std::exception& error) {
        ADD_FAILURE() << test.name << ": " << error.what();
        ++failed;
        // The session may be in a wrong state after a failure, so that the other cases get a new
        // one.
        client = Client(open(way));
      }
    }
    EXPECT_EQ(failed, 0U) << "of " << cases.size() << " cases in " << family;
    EXPECT_EQ(client.info().numbers.at("tensors"), 0U) << "tensors left over";
  }
};

TEST_P(Golden, Alone) { run(check_case); }
TEST_P(Golden, Fused) { run(check_fused); }
TEST_P(Golden, InPlace) { run(check_in_place); }
TEST_P(Golden, Aliased) { run(check_aliased); }

INSTANTIATE_TEST_SUITE_P(, Golden,
                         testing::Combine(testing::Values(Way::session, Way::daemon,
                                                          Way::unix_socket, Way::tcp, Way::tls),
                                          testing::ValuesIn(golden_families())),
                         [](const auto& param) {
                           return name_of(std::get<0>(param.param)) + "_" +
                                  std::get<1>(param.param);
                         });

}  // namespace
}  // namespace outrigger::test
