#include "http/server.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/last_memory.hpp"

namespace outrigger::http {

namespace {

constexpr std::string_view scheme = "http://";

}  // namespace

Result<net::Address> parse_http_address(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with(scheme)) rest.remove_prefix(scheme.size());
  auto address = net::parse_address("tcp://" + std::string(rest));
  if (address) return address;
  return fail(ErrorCode::bad_value,
              "\"" + std::string(text) +
                  "\": an address of HTTP is a number and a port, e.g. 127.0.0.1:9464 or "
                  "[::1]:9464");
}

std::string http_text(const net::Address& address) {
  return std::string(scheme) + net::host_and_port(address.socket);
}

HttpServer::HttpServer(HttpOptions options, Sources sources)
    : options_(std::move(options)),
      sources_(std::move(sources)),
      health_(io_, std::move(sources_.probe), options_.health_deadline) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, Sources sources) {
  std::unique_ptr<HttpServer> self(new HttpServer(std::move(options), std::move(sources)));
  OUTRIGGER_TRY(self->listener_, net::Listener::open(self->io_, self->options_.address));
  HttpServer& server = *self;
  server.listener_->start([&server](int socket, const std::string&) { server.accept(socket); });
  server.thread_ = std::thread([&server] { server.run(); });
  return self;
}

HttpServer::~HttpServer() {
  io_.stop();
  if (thread_.joinable()) thread_.join();
  if (listener_) listener_->close();
}

void HttpServer::run() {
  ::pthread_setname_np(::pthread_self(), "http");
  for (;;) {
    try {
      io_.run();
      return;
    } catch (const std::exception& failure) {
      spdlog::warn("HTTP: a request was not answered: {}", failure.what());
    }
  }
}

/// False if all connections wait for /healthz. A peer that takes no answer keeps nobody out.
bool HttpServer::make_place() {
  if (connections_.size() < options_.connections_max) return true;
  auto found = std::find_if(connections_.begin(), connections_.end(),
                            [](const auto& connection) { return connection->idle(); });
  if (found == connections_.end()) {
    found = std::find_if(connections_.begin(), connections_.end(),
                         [](const auto& connection) { return connection->answering(); });
  }
  if (found == connections_.end()) return false;
  const auto connection = *found;
  connections_.erase(found);
  connection->close();
  return true;
}

/// It throws nothing: the listener would accept no more.
void HttpServer::accept(int descriptor) {
  using boost::asio::ip::tcp;
  const bool four = options_.address.socket.ss_family == AF_INET;
  const LastMemory::Use use;
  tcp::socket socket(io_);
  boost::system::error_code error;
  bool owned = false;
  try {
    if (make_place()) socket.assign(four ? tcp::v4() : tcp::v6(), descriptor, error);
    owned = socket.is_open();
    if (owned) return open(std::move(socket));
  } catch (const std::exception& failure) {
    spdlog::warn("HTTP: a connection was closed: {}", failure.what());
  }
  if (!owned) ::close(descriptor);
}

void HttpServer::open(boost::asio::ip::tcp::socket socket) {
  const auto on_end = [this](const HttpConnection* ended) {
    connections_.remove_if([&](const auto& connection) { return connection.get() == ended; });
    listener_->resume();
  };
  const auto respond = [this](std::string_view path, std::function<void(Answer)> receiver) {
    this->respond(path, std::move(receiver));
  };
  const auto connection = std::make_shared<HttpConnection>(
      std::move(socket), options_.limits, options_.address.local(), respond, on_end);
  connection->start();
  connections_.push_back(connection);
}

void HttpServer::respond(std::string_view path, std::function<void(Answer)> receiver) {
  ++answers_;
  if (path == "/healthz") return health_.ask(std::move(receiver));
  receiver(answer_to(path, sources_, answers_));
}

}  // namespace outrigger::http
