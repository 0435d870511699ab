// The real daemon over HTTP: its answers, and hostile peers.

#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/browser.hpp"
#include "net/samples.hpp"
#include "support/client.hpp"
#include "support/server_process.hpp"

namespace outrigger::http {
namespace {

using test::ServerProcess;
using test::TemporaryFolder;
using testing::counting_up;

const std::string any_port = "127.0.0.1:0";

struct Piped {
  int status = -1;
  std::string output;
};

/// The text that the command, which reads `input`, prints to both of its outputs.
Piped pipe_through(const TemporaryFolder& folder, const std::string& input,
                   const std::string& command) {
  const std::string line = command + " <" + folder.write("input", input) + " 2>&1";
  Piped out;
  FILE* pipe = ::popen(line.c_str(), "r");
  char part[4096];
  while (const std::size_t count = std::fread(part, 1, sizeof part, pipe))
    out.output.append(part, count);
  out.status = ::pclose(pipe);
  return out;
}

class DaemonHttp : public ::testing::Test {
 protected:
  explicit DaemonHttp(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--listen", address_, "--http", any_port, "--threads", "2"});
    server_ = std::make_unique<ServerProcess>(more, std::vector<std::string>{}, 2);
    if (server_->addresses().size() == 2) http_ = server_->addresses()[1];
  }

  Browser::Response get(const std::string& target, const std::string& method = "GET") {
    return Browser(http_).get(target, method);
  }
  test::Client client() const { return test::Client(test::open_socket_transport(address_)); }

  const TemporaryFolder folder_;
  const std::string address_ = "unix:" + folder_.file("s");
  std::unique_ptr<ServerProcess> server_;
  std::string http_;
};

TEST_F(DaemonHttp, TellsItsAddress) {
  EXPECT_TRUE(http_.starts_with("http://127.0.0.1:")) << server_->log();
}

TEST_F(DaemonHttp, ServesThePageAndNothingElse) {
  const auto page = get("/");
  EXPECT_EQ(page.result_int(), 200U);
  EXPECT_EQ(page["Content-Type"], "text/html; charset=utf-8");
  EXPECT_NE(page["Content-Security-Policy"].find("default-src 'none'"), std::string::npos);
  EXPECT_NE(page.body().find("<title>Outrigger</title>"), std::string::npos);
  EXPECT_EQ(get("/status.js")["Content-Type"], "text/javascript; charset=utf-8");
  EXPECT_EQ(get("/status.css").result_int(), 200U);
  EXPECT_EQ(get("/metrics?a=b").result_int(), 200U);
  EXPECT_EQ(get("/readyz").body(), "ready\n");
  for (const char* target :
       {"/x", "//", "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/status.html", "/metrics/",
        "/%00", "/status.js/../../x", "*", "http://127.0.0.1/metrics", "/METRICS"}) {
    EXPECT_EQ(get(target).result_int(), 404U) << target;
  }
}

TEST_F(DaemonHttp, KnowsTwoMethods) {
  const auto head = get("/metrics", "HEAD");
  EXPECT_EQ(head.result_int(), 200U);
  EXPECT_TRUE(head.body().empty());
  const auto length = head["Content-Length"];
  EXPECT_GT(std::stoi(std::string(length.data(), length.size())), 1000);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FLY"}) {
    const auto refused = get("/", method);
    EXPECT_EQ(refused.result_int(), 405U) << method;
    EXPECT_EQ(refused["Allow"], "GET, HEAD");
  }
  Browser body(http_);
  body.write("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(body.read().result_int(), 413U);
  EXPECT_TRUE(body.ends());
}

TEST_F(DaemonHttp, AnotherSitesNameIsRefused) {
  Browser browser(http_);
  EXPECT_EQ(browser.get("/status.json", "GET", "evil.example").result_int(), 421U);
  EXPECT_EQ(browser.get("/status.json", "GET", "localhost:9464").result_int(), 200U)
      << "the connection goes on";
}

TEST_F(DaemonHttp, MetricsCountWhatClientsDo) {
  test::Client app = client();
  app.upload({"u8", {3}, {1, 2, 3}});
  const std::uint64_t id = app.new_id();
  ASSERT_FALSE(app.request(id, test::encode_download(id, 999, 0, 1)).ok());
  Browser browser(http_);
  const auto first = browser.get("/metrics");
  EXPECT_EQ(first["Content-Type"], "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line : {"outrigger_sessions 1", "outrigger_requests_total{kind=\"upload\"} 1",
                           "outrigger_request_errors_total{kind=\"download\"} 1",
                           "outrigger_token_tensors{token=\"\"} 1",
                           "outrigger_request_duration_seconds_count{kind=\"upload\"} 1"}) {
    EXPECT_NE(first.body().find("\n" + std::string(line) + "\n"), std::string::npos) << line;
  }
  for (const char* figure : {"process_resident_memory_bytes", "process_open_fds",
                             "process_start_time_seconds", "process_virtual_memory_bytes"}) {
    EXPECT_NE(first.body().find("\n" + std::string(figure) + " "), std::string::npos) << figure;
    EXPECT_EQ(first.body().find("\n" + std::string(figure) + " 0\n"), std::string::npos) << figure;
  }
  const auto second = browser.get("/metrics");
  EXPECT_NE(second.body().find("\noutrigger_http_requests_total 2\n"), std::string::npos);
}

/// Debian's package `prometheus` has promtool.
TEST_F(DaemonHttp, PromtoolFindsNoFaultInTheMetrics) {
  if (std::system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not there";
  test::Client app = client();
  app.upload({"u8", {3}, {1, 2, 3}});
  const auto checked = pipe_through(folder_, get("/metrics").body(), "promtool check metrics");
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_EQ(checked.output, "");
}

TEST_F(DaemonHttp, StatusIsJson) {
  test::Client app = client();
  app.upload({"u8", {3}, {1, 2, 3}});
  const auto checked = pipe_through(
      folder_, get("/status.json").body(),
      "python3 -c 'import json, sys; told = json.load(sys.stdin); "
      "print(told[\"stats\"][\"sessions\"], "
      "told[\"sessions\"][0][\"bytes\"], told[\"memory\"][\"used\"] > 0, told[\"checkpoint\"])'");
  EXPECT_EQ(checked.output, "1 3 True None\n");
}

TEST_F(DaemonHttp, ABusyEngineIsHealthy) {
  EXPECT_EQ(get("/healthz").body(), "healthy\n");
  test::Client app = client();
  const std::uint64_t id = app.new_id();
  std::thread busy([&] {
    app.request(id, test::encode_run(id, counting_up(), {}, std::array<std::uint64_t, 1>{1}));
  });
  while (get("/status.json").body().find("\"running\"") == std::string::npos) {
  }
  for (int i = 0; i < 5; ++i) {
    const auto answer = get("/healthz");
    EXPECT_EQ(answer.result_int(), 200U) << answer.body();
  }
  // Many at once share a program.
  std::vector<std::unique_ptr<Browser>> many;
  for (int i = 0; i < 50; ++i) {
    many.push_back(std::make_unique<Browser>(http_));
    many.back()->write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  for (const auto& browser : many) EXPECT_EQ(browser->read().result_int(), 200U);
  test::Client other = client();
  const std::uint64_t cancel = other.new_id();
  EXPECT_TRUE(other
                  .request(cancel, test::encode_numbers(cancel, "cancel",
                                                        {{"request", id}, {"session", 1}}))
                  .ok());
  busy.join();
}

/// The number of a thread of the process; 0 if it has none of that name.
pid_t thread_of(const ServerProcess& server, const std::string& name) {
  const std::string tasks = "/proc/" + std::to_string(server.pid()) + "/task";
  for (const auto& entry : std::filesystem::directory_iterator(tasks)) {
    std::string comm;
    std::getline(std::ifstream(entry.path() / "comm") >> std::ws, comm);
    if (comm == name) return std::stoi(entry.path().filename());
  }
  return 0;
}

TEST_F(DaemonHttp, AnEngineThatHangsIsNotHealthy) {
  const pid_t engine = thread_of(*server_, "engine");
  ASSERT_NE(engine, 0);
  if (::ptrace(PTRACE_ATTACH, engine, nullptr, nullptr) != 0) GTEST_SKIP() << "no ptrace here";
  ASSERT_EQ(::waitpid(engine, nullptr, __WALL), engine);
  const auto answer = get("/healthz");
  EXPECT_EQ(answer.result_int(), 503U);
  EXPECT_EQ(answer.body(), "not healthy: the engine has not answered within 5000 ms\n");
  EXPECT_EQ(get("/metrics").result_int(), 200U) << "HTTP does not wait for the engine";
  EXPECT_EQ(get("/status.json").result_int(), 200U);
  ASSERT_EQ(::ptrace(PTRACE_DETACH, engine, nullptr, nullptr), 0);
  unsigned status = 503;
  for (int i = 0; i < 10 && status != 200; ++i) status = get("/healthz").result_int();
  EXPECT_EQ(status, 200U);
}

TEST_F(DaemonHttp, IsNotReadyWhileItStops) {
  test::Client app = client();
  const std::uint64_t id = app.new_id();
  std::thread busy([&] {
    app.request(id, test::encode_run(id, counting_up(), {}, std::array<std::uint64_t, 1>{1}));
  });
  while (get("/status.json").body().find("\"running\"") == std::string::npos) {
  }
  Browser before(http_);
  EXPECT_EQ(before.get("/readyz").result_int(), 200U);
  server_->signal(SIGTERM);
  unsigned status = 200;
  for (int i = 0; i < 1000 && status == 200; ++i) status = get("/readyz").result_int();
  EXPECT_EQ(status, 503U);
  EXPECT_EQ(get("/metrics").result_int(), 200U);
  server_->signal(SIGTERM);
  busy.join();
  EXPECT_EQ(server_->exit_status(), 0);
}

TEST_F(DaemonHttp, GarbageEndsItsConnectionOnly) {
  const std::vector<std::string> all{
      "\r\n\r\n",
      std::string(100, '\0'),
      "GET / HTTP/9.9\r\n\r\n",
      "\x16\x03\x01\x02\x01\x01",
      "GET  HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nbad header\r\n\r\n",
      std::string("\x00\x00\x00\x10\x82\xa2id\x01\xa2", 10) + "do\xa4ping\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"};
  for (const std::string& bytes : all) {
    Browser browser(http_);
    browser.write(bytes + "\r\n\r\n");
    const auto status = browser.read().result_int();
    EXPECT_TRUE(status == 400 || status == 413) << bytes << status;
    EXPECT_TRUE(browser.ends());
  }
  EXPECT_EQ(get("/readyz").result_int(), 200U);
}

TEST_F(DaemonHttp, AHugeHeaderIsRefused) {
  Browser one(http_);
  one.write("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(one.read().result_int(), 431U);
  EXPECT_TRUE(one.ends());
  Browser target(http_);
  target.write("GET /" + std::string(1 << 20, 'x'));
  EXPECT_EQ(target.read().result_int(), 431U);
  Browser many(http_);
  std::string fields = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 5000; ++i) fields += "X" + std::to_string(i) + ": 1\r\n";
  many.write(fields + "\r\n");
  EXPECT_EQ(many.read().result_int(), 431U);
  EXPECT_EQ(get("/readyz").result_int(), 200U);
}

TEST_F(DaemonHttp, AThousandIdleConnectionsKeepNobodyOut) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<std::unique_ptr<Browser>> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(std::make_unique<Browser>(http_));
    if (i % 2 == 0) idle.back()->write("GET / HT");
  }
  EXPECT_EQ(get("/metrics").result_int(), 200U);
  EXPECT_EQ(get("/healthz").result_int(), 200U);
  EXPECT_TRUE(idle.front()->ends()) << "the oldest has given its place";
  test::Client app = client();
  EXPECT_NE(app.upload({"u8", {1}, {1}}), 0U) << "clients of the engine come in";
}

TEST_F(DaemonHttp, AConnectionIsKeptForTheNextRequest) {
  Browser browser(http_);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(browser.get("/readyz").result_int(), 200U);
  browser.write("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n");
  EXPECT_EQ(browser.read().result_int(), 200U);
  EXPECT_EQ(browser.read().result_int(), 404U);
  browser.write("GET /readyz HTTP/1.0\r\n\r\n");
  EXPECT_EQ(browser.read().result_int(), 200U);
  EXPECT_TRUE(browser.ends());
}

/// The processor time of a process, in ticks of the clock.
long ticks_of(const ServerProcess& server) {
  const std::string stat = server.proc("stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string field;
  long ticks = 0;
  for (int number = 3; fields >> field && number <= 15; ++number)
    ticks += number >= 14 ? std::stol(field) : 0;
  return ticks;
}

TEST_F(DaemonHttp, NobodyWatchesAndNothingTicks) {
  ASSERT_EQ(get("/metrics").result_int(), 200U);
  Browser kept(http_);
  ASSERT_EQ(kept.get("/readyz").result_int(), 200U);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const long before = ticks_of(*server_);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  EXPECT_LE(ticks_of(*server_) - before, 1);
}

TEST(DaemonHttpOptions, ReachableAddressesNeedConsent) {
  const TemporaryFolder folder;
  const std::vector<std::string> open{"--listen", "unix:" + folder.file("s"), "--http",
                                      "0.0.0.0:0"};
  ServerProcess refused(open);
  EXPECT_EQ(refused.exit_status(), 2);
  EXPECT_TRUE(refused.logs("other machines can reach http://0.0.0.0:0")) << refused.log();
  auto allowed = open;
  allowed.emplace_back("--http-open");
  const ServerProcess server(allowed, {}, 2);
  ASSERT_EQ(server.addresses().size(), 2U) << server.log();
  EXPECT_TRUE(server.logs("everyone who reaches"));
  EXPECT_EQ(Browser(server.addresses()[1]).get("/metrics", "GET", "server:9464").result_int(), 200U)
      << "a container has a name";
}

TEST(DaemonHttpOptions, MistakesEndTheStart) {
  const TemporaryFolder folder;
  const std::string socket = "unix:" + folder.file("s");
  ServerProcess name({"--listen", socket, "--http", "localhost:80"});
  EXPECT_EQ(name.exit_status(), 2);
  EXPECT_TRUE(name.logs("an address of HTTP is a number and a port"));
  ServerProcess alone({"--http", "127.0.0.1:0"});
  EXPECT_NE(alone.exit_status(), 0);
  const ServerProcess first({"--listen", socket, "--http", any_port}, {}, 2);
  ASSERT_EQ(first.addresses().size(), 2U);
  ServerProcess second(
      {"--listen", "unix:" + folder.file("t"), "--http", first.addresses()[1].substr(7)});
  EXPECT_EQ(second.exit_status(), 1);
  EXPECT_TRUE(second.logs("Address already in use")) << second.log();
}

}  // namespace
}  // namespace outrigger::http
