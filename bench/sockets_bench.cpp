// A tiny call of a prepared program over a Port's pipes, Unix sockets, TCP and TLS, in one run: the
// ratios to the pipes are what counts. Transports take turns, and the fastest rounds are compared.
// Also the calls beside a session at full load, and what a server costs that does nothing.
//
//   sockets_bench OUT.json

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/certificates.hpp"
#include "support/client.hpp"
#include "support/server_process.hpp"

namespace outrigger::bench {
namespace {

using Clock = std::chrono::steady_clock;
using test::Payload;

constexpr int rounds = 7;
constexpr auto round_time = std::chrono::milliseconds(200);
constexpr std::size_t clients = 64;
/// Calls on the way for each client.
constexpr std::size_t depth = 16;
constexpr std::uint64_t program_id = 1;
constexpr std::uint64_t argument = 1;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// x[i] += 1 on 16 elements, without results: the call is all that is measured.
Program tiny() {
  Instruction add;
  add.op = "add";
  add.in = {ValueId{0}, Number(std::int64_t{1})};
  add.out = {1};
  add.in_place = true;
  return {{0}, {add}, {}};
}

void demand(const Payload& reply) {
  const auto decoded = test::decode_reply(reply);
  if (!decoded.ok()) throw std::runtime_error(decoded.text());
}

void prepare(test::Transport& transport) {
  transport.send(test::encode_hello(1));
  transport.send(test::encode_upload(2, argument, "f32", {16}, 0, std::vector<std::uint8_t>(64)));
  transport.send(test::encode_prepare(3, program_id, tiny()));
  for (int i = 0; i < 3; ++i) demand(transport.receive());
}

Payload call(std::uint64_t id) {
  return test::encode_call(id, program_id, std::array{argument}, {});
}

/// Microseconds of a call whose reply is waited for.
double round_trip(test::Transport& transport) {
  const Payload payload = call(4);
  const auto start = Clock::now();
  std::uint64_t count = 0;
  while (Clock::now() - start < round_time) {
    for (int i = 0; i < 50; ++i) {
      transport.send(payload);
      transport.receive();
    }
    count += 50;
  }
  return seconds_since(start) * 1e6 / static_cast<double>(count);
}

/// A client with `depth` calls on their way, driven by poll(2).
class Pipelined {
 public:
  explicit Pipelined(std::unique_ptr<test::Link> link) : link_(std::move(link)) {
    test::Framed frames(std::move(link_));
    for (const Payload& payload :
         {test::encode_hello(1),
          test::encode_upload(2, argument, "f32", {16}, 0, std::vector<std::uint8_t>(64)),
          test::encode_prepare(3, program_id, tiny())}) {
      frames.send(payload);
      demand(frames.receive(std::chrono::seconds(10)));
    }
    // The reply to a call is always as long.
    frames.send(call(4));
    const Payload reply = frames.receive(std::chrono::seconds(10));
    demand(reply);
    reply_bytes_ = reply.size() + 4;
    link_ = frames.take();
    const Payload payload = call(4);
    frame_ = {0, 0, 0, static_cast<std::uint8_t>(payload.size())};
    frame_.insert(frame_.end(), payload.begin(), payload.end());
  }

  int fd() const { return link_->in_fd(); }

  /// Fills the way up.
  void send() {
    std::vector<std::uint8_t> bytes;
    for (; pending_ < depth; ++pending_) bytes.insert(bytes.end(), frame_.begin(), frame_.end());
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t count = link_->write(std::span(bytes).subspan(done));
      if (count < 0 && errno != EAGAIN) throw std::runtime_error("the server has closed");
      if (count > 0) done += static_cast<std::size_t>(count);
    }
  }

  /// How many replies have come.
  std::size_t receive() {
    std::array<std::uint8_t, 16384> buffer;
    const ssize_t count = link_->read(buffer);
    if (count == 0 || (count < 0 && errno != EAGAIN))
      throw std::runtime_error("the server has closed");
    if (count > 0) received_ += static_cast<std::size_t>(count);
    const std::size_t whole = received_ / reply_bytes_;
    received_ %= reply_bytes_;
    pending_ -= whole;
    return whole;
  }

 private:
  std::unique_ptr<test::Link> link_;
  std::vector<std::uint8_t> frame_;
  std::size_t reply_bytes_ = 0;
  std::size_t received_ = 0;
  std::size_t pending_ = 0;
};

using Clients = std::vector<std::unique_ptr<Pipelined>>;

/// Microseconds for a call of all clients together.
double pipelined(Clients& all) {
  std::vector<pollfd> ready;
  for (const auto& client : all) ready.push_back({client->fd(), POLLIN, 0});
  for (const auto& client : all) client->send();
  const auto start = Clock::now();
  std::uint64_t count = 0;
  while (Clock::now() - start < round_time) {
    poll(ready.data(), ready.size(), 10'000);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (ready[i].revents == 0) continue;
      count += all[i]->receive();
      all[i]->send();
    }
  }
  const double us = seconds_since(start) * 1e6 / static_cast<double>(count);
  return us;
}

/// The fastest of each row's rounds, which take turns.
class Table {
 public:
  void add(const std::string& name, std::function<double()> measure) {
    names_.push_back(name);
    measures_.push_back(std::move(measure));
  }
  void run() {
    us_.assign(names_.size(), std::numeric_limits<double>::infinity());
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < names_.size(); ++i) us_[i] = std::min(us_[i], measures_[i]());
    }
  }
  /// The first row is what the others are measured against.
  void print(std::ostream& json) const {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      std::printf("%-34s %10.2f %12.0f %8.2f  %s\n", names_[i].c_str(), us_[i], 1e6 / us_[i],
                  us_[i] / us_[0], i == 0 ? "" : names_[0].c_str());
      json << "  {\"name\": \"" << names_[i] << "\", \"us\": " << us_[i] << "},\n";
    }
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::function<double()>> measures_;
  std::vector<double> us_;
};

/// A value of /proc/<pid>/status, e.g. kB of `VmRSS`.
std::uint64_t status(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key + ":");
  return at == std::string::npos ? 0 : std::stoull(text.substr(at + key.size() + 1));
}

/// How often the threads of a process have been woken.
std::uint64_t wakes(pid_t pid) {
  std::uint64_t sum = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(task.path() / "status");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    sum += status(text, "voluntary_ctxt_switches");
  }
  return sum;
}

/// Milliseconds from the start of a daemon to its first reply to a call.
double start_up(const std::function<std::unique_ptr<test::Transport>()>& start) {
  double fastest = std::numeric_limits<double>::infinity();
  for (int round = 0; round < rounds; ++round) {
    const auto before = Clock::now();
    const auto transport = start();
    prepare(*transport);
    transport->send(call(4));
    demand(transport->receive());
    fastest = std::min(fastest, seconds_since(before) * 1e3);
  }
  return fastest;
}

struct Addresses {
  test::TemporaryFolder folder;
  test::Certificate authority = test::make_certificate(folder.path(), {.name = "authority"});
  test::Certificate own =
      test::make_certificate(folder.path(), {.name = "server", .issuer = &authority});
  test::ServerProcess server{{"--listen", "unix:" + folder.file("s"), "--listen",
                              "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--tls-cert",
                              own.certificate_file, "--tls-key", own.key_file}};
  test::TlsClient tls{.ca = authority.certificate_file};
};

constexpr std::array transport_names{"Unix socket", "TCP", "TLS"};

void measure_calls(std::ostream& json) {
  const Addresses addresses;
  std::vector<std::unique_ptr<test::Transport>> single;
  single.push_back(std::make_unique<test::DaemonClient>());
  for (const std::string& address : addresses.server.addresses())
    single.push_back(test::open_socket_transport(address, addresses.tls));
  Table one;
  for (std::size_t i = 0; i < single.size(); ++i) {
    prepare(*single[i]);
    one.add(std::string("a call over ") + (i == 0 ? "a Port's pipes" : transport_names[i - 1]),
            [&, i] { return round_trip(*single[i]); });
  }
  one.run();
  one.print(json);
  single.clear();

  Table many;
  std::vector<Clients> all;
  for (std::size_t i = 0; i < transport_names.size(); ++i) {
    for (const std::size_t count : {std::size_t{1}, clients}) {
      Clients& some = all.emplace_back();
      for (std::size_t n = 0; n < count; ++n)
        some.push_back(std::make_unique<Pipelined>(
            test::dial(addresses.server.addresses()[i], addresses.tls)));
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    many.add((i % 2 == 0 ? std::string("pipelined, 1 client, ") : "pipelined, 64 clients, ") +
                 transport_names[i / 2],
             [&, i] { return pipelined(all[i]); });
  }
  many.run();
  many.print(json);
}

/// One op of about a second: a pass of many functions over many elements.
Program long_op() {
  constexpr std::int64_t elements = 1 << 24;
  constexpr ValueId functions = 32;
  Program program;
  Instruction iota;
  iota.op = "iota";
  iota.out = {0};
  iota.attrs = {{"type", std::string("f32")}, {"shape", std::vector<std::int64_t>{elements}}};
  program.body.push_back(std::move(iota));
  for (ValueId i = 0; i < functions; ++i) {
    Instruction sin;
    sin.op = "sin";
    sin.in = {i};
    sin.out = {i + 1};
    program.body.push_back(std::move(sin));
  }
  Instruction sum;
  sum.op = "sum";
  sum.in = {functions};
  sum.out = {functions + 1};
  program.body.push_back(std::move(sum));
  program.outputs = {functions + 1};
  return program;
}

/// A session that always has two long ops on their way.
class Neighbour {
 public:
  explicit Neighbour(const std::string& address)
      : transport_(test::open_socket_transport(address)) {
    transport_->send(test::encode_hello(1));
    demand(transport_->receive());
    send();
    receive();  // pages and machine code of the first one
    ops_ = 0;
    start_ = Clock::now();
    send();
    thread_ = std::thread([this] {
      while (!stop_) {
        send();
        receive();
      }
      receive();
    });
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;
  ~Neighbour() { thread_.join(); }

  /// Seconds of an op.
  double stop() {
    stop_ = true;
    const auto done = ops_.load();
    return done == 0 ? 0 : seconds_since(start_) / static_cast<double>(done);
  }

 private:
  void send() {
    ++handle_;
    transport_->send(test::encode_run(1000 + handle_, program_, {}, std::array{handle_}));
  }
  void receive() {
    demand(transport_->receive());
    ++ops_;
  }

  const Program program_ = long_op();
  std::unique_ptr<test::Transport> transport_;
  std::uint64_t handle_ = 0;
  std::atomic<std::uint64_t> ops_{0};
  Clock::time_point start_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Microseconds of single calls, sorted.
std::vector<double> latencies(test::Transport& transport, std::chrono::milliseconds time) {
  const Payload payload = call(4);
  std::vector<double> all;
  const auto begin = Clock::now();
  while (Clock::now() - begin < time) {
    const auto start = Clock::now();
    transport.send(payload);
    transport.receive();
    all.push_back(seconds_since(start) * 1e6);
  }
  std::sort(all.begin(), all.end());
  return all;
}

double percentile(const std::vector<double>& sorted, double share) {
  const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return sorted.at(std::min(at, sorted.size() - 1));
}

/// Calls of one client, alone and beside a session at full load.
void measure_neighbour(std::ostream& json) {
  constexpr std::chrono::seconds time{6};
  const test::TemporaryFolder folder;
  const std::string address = "unix:" + folder.file("s");
  const test::ServerProcess server({"--listen", address});
  const auto transport = test::open_socket_transport(address);
  prepare(*transport);
  latencies(*transport, std::chrono::seconds(1));
  std::vector<double> quiet = latencies(*transport, time);
  std::vector<double> noisy;
  double op_s = 0;
  {
    Neighbour neighbour(address);
    noisy = latencies(*transport, time);
    op_s = neighbour.stop();
  }
  std::printf("\n%-34s %10s %10s %10s us\n", "a call over Unix socket", "p50", "p99", "longest");
  for (const auto& [name, all] :
       {std::pair("alone", &quiet), std::pair("beside ops without a pause", &noisy)}) {
    std::printf("%-34s %10.1f %10.1f %10.1f\n", name, percentile(*all, 0.5), percentile(*all, 0.99),
                all->back());
    json << "  {\"name\": \"neighbour, " << name << "\", \"p50_us\": " << percentile(*all, 0.5)
         << ", \"p99_us\": " << percentile(*all, 0.99) << ", \"max_us\": " << all->back() << "},\n";
  }
  std::printf("%-34s %10.2f s\n", "each of these ops", op_s);
}

void measure_idle(std::ostream& json) {
  const test::TemporaryFolder folder;
  const std::string address = "unix:" + folder.file("s");
  const double port = start_up([] { return std::make_unique<test::DaemonClient>(); });
  std::unique_ptr<test::ServerProcess> server;
  const double socket = start_up([&] {
    server.reset();
    server = std::make_unique<test::ServerProcess>(std::vector<std::string>{"--listen", address});
    return test::open_socket_transport(address);
  });
  server.reset();
  const test::ServerProcess idle({"--listen", address, "--listen", "tcp://127.0.0.1:0"});
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const std::uint64_t before = wakes(idle.pid());
  constexpr int watched_s = 10;
  std::this_thread::sleep_for(std::chrono::seconds(watched_s));
  const double per_second = static_cast<double>(wakes(idle.pid()) - before) / watched_s;
  const std::uint64_t rss = status(idle.proc("status"), "VmRSS");
  std::printf("\n%-34s %10.1f ms\n", "start to the first call, Port", port);
  std::printf("%-34s %10.1f ms\n", "start to the first call, socket", socket);
  std::printf("%-34s %10.1f MB\n", "memory of an idle server", static_cast<double>(rss) / 1e3);
  std::printf("%-34s %10.1f wakes a second\n", "its threads", per_second);
  json << "  {\"start_port_ms\": " << port << ", \"start_socket_ms\": " << socket
       << ", \"idle_rss_kb\": " << rss << ", \"idle_wakes_per_s\": " << per_second << "}\n";
}

}  // namespace
}  // namespace outrigger::bench

int main(int argc, char** argv) {
  using namespace outrigger::bench;
  if (argc != 2) {
    std::fprintf(stderr, "usage: sockets_bench OUT.json\n");
    return 2;
  }
  try {
    std::ofstream json(argv[1]);
    json << "[\n";
    std::printf("calls of a tiny prepared program; the fastest of %d interleaved rounds\n\n",
                rounds);
    std::printf("%-34s %10s %12s %8s  %s\n", "", "us", "calls/s", "ratio", "against");
    measure_calls(json);
    measure_neighbour(json);
    measure_idle(json);
    json << "]\n";
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sockets_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
