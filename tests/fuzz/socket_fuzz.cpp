// Any bytes of a client over a socket, to a server with real sessions: each frame that comes back
// is a reply or an event, other clients are answered, the connection ends, and its memory is given
// back. The first byte decides if the server wants a token, if the stream begins with valid
// requests, in which pieces the client writes, and if it closes without a word.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include <spdlog/spdlog.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "engine/session/engine.hpp"
#include "engine/session/session.hpp"
#include "files/places.hpp"
#include "net/server.hpp"
#include "support/encode.hpp"
#include "support/link.hpp"
#include "wire/value.hpp"

namespace {

using namespace outrigger;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Limits limits;
constexpr std::uint64_t memory_limit = std::uint64_t{32} << 20;
const std::string token(32, 't');

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "socket_fuzz: %s\n", what.c_str());
  std::abort();
}

/// The folder of the server's socket.
const std::string& folder() {
  static const std::string made = [] {
    std::string name = std::filesystem::temp_directory_path() / "socket_fuzz.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) fail("no folder for the socket");
    // A request must not reach a file of this machine.
    if (!files::allow_only({})) fail("no limit for files");
    spdlog::set_level(spdlog::level::off);
    return name;
  }();
  static const int at_end = std::atexit([] {
    std::error_code ignored;
    std::filesystem::remove_all(folder(), ignored);
  });
  static_cast<void>(at_end);
  return made;
}

/// A server and its engine, for one input: nothing that an input published stays.
class OneServer {
 public:
  explicit OneServer(bool with_token) {
    net::ServerOptions options;
    options.addresses.push_back(net::parse_address("unix:" + folder() + "/s").value());
    options.grace = milliseconds(0);
    if (with_token && !options.tokens.add("fuzz", "fuzz all " + token)) fail("a bad token");
    server_ = std::make_unique<net::Server>(
        io_, limits, std::move(options),
        [this](std::shared_ptr<engine::Outbox> outbox, engine::SessionOptions session) {
          return engine::open_session(engine_, std::move(outbox), std::move(session));
        });
    const auto done = server_->listen();
    if (!done) fail(done.error().text);
    address_ = server_->addresses().at(0).text();
    thread_ = std::thread([this] { io_.run(); });
  }
  OneServer(const OneServer&) = delete;
  OneServer& operator=(const OneServer&) = delete;
  ~OneServer() {
    io_.stop();
    thread_.join();
    server_.reset();
    if (!becomes([this] { return engine_.use_count() == 1; })) fail("a session that stays");
  }

  const std::string& address() const { return address_; }

  bool becomes_empty() {
    return becomes([this] { return clients() == 0; });
  }

 private:
  std::size_t clients() {
    std::promise<std::size_t> count;
    boost::asio::post(io_, [&] { count.set_value(server_->clients()); });
    return count.get_future().get();
  }

  template <typename Condition>
  static bool becomes(const Condition& condition) {
    const auto until = std::chrono::steady_clock::now() + seconds(30);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }

  std::shared_ptr<engine::Engine> engine_ =
      engine::make_engine(engine::EngineOptions{1, memory_limit, limits});
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::unique_ptr<net::Server> server_;
  std::string address_;
  std::thread thread_;
};

void check_frame(std::span<const std::uint8_t> payload) {
  wire::ValueParser parser(limits);
  const auto reply = parser.parse(payload);
  if (!reply) fail("a frame that is not msgpack");
  int kinds = 0;
  for (const auto [key, value] : reply->entries()) kinds += key == "status" || key == "event";
  if (kinds != 1) fail("a frame that is neither a reply nor an event");
}

/// One client.
class Visit {
 public:
  explicit Visit(const std::string& address) : frames_(test::dial(address)) {}

  void greet(bool with_token) {
    if (with_token) frames_.send(test::encode_auth(1, token));
    frames_.send(test::encode_hello(2));
  }

  /// Returns false if the server has closed.
  bool write(std::span<const std::uint8_t> bytes, std::size_t piece) {
    try {
      for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece, bytes.size())))
        frames_.write(bytes.first(std::min(piece, bytes.size())));
    } catch (const std::exception&) {
      return false;
    }
    return true;
  }

  /// Reads until the server closes. It does so at the latest when all requests are answered; a
  /// program without end stays, so that the time is short.
  void read_to_the_end() {
    ::shutdown(frames_.link().out_fd(), SHUT_WR);
    try {
      while (true) check_frame(frames_.receive(milliseconds(200)));
    } catch (const std::exception&) {
    }
  }

  void close() { frames_.close(); }

 private:
  test::Framed frames_;
};

/// Another client, in the middle of it.
void check_others(const std::string& address, bool with_token) {
  try {
    test::Framed frames(test::dial(address));
    if (with_token) {
      frames.send(test::encode_auth(1, token));
      check_frame(frames.receive(seconds(30)));
    }
    frames.send(test::encode_simple(2, "ping"));
    check_frame(frames.receive(seconds(30)));
  } catch (const std::exception& error) {
    fail(std::string("another client is not answered: ") + error.what());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint8_t choices = data[0];
  const bool with_token = (choices & 1U) != 0;
  constexpr std::array<std::size_t, 4> pieces{1 << 20, 1, 5, 300};
  OneServer server(with_token);
  Visit visit(server.address());
  if ((choices & 2U) != 0) visit.greet(with_token);
  visit.write(std::span(data + 1, size - 1), pieces.at(choices >> 2U & 3U));
  check_others(server.address(), with_token);
  if ((choices & 16U) == 0) visit.read_to_the_end();
  visit.close();
  if (!server.becomes_empty()) fail("a connection that stays after its client has closed");
  return 0;
}
