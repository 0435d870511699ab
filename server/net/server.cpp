#include "net/server.hpp"

#include <unistd.h>

#include <new>
#include <utility>

#include <spdlog/spdlog.h>
#include <boost/asio/post.hpp>

#include "base/last_memory.hpp"
#include "net/tls.hpp"

namespace outrigger::net {

namespace {

/// Beyond the clients, so many more are told that there are too many; the rest is only closed.
constexpr std::size_t refusals_max = 16;
/// So long a connection may have a place in a full server without saying hello.
constexpr std::chrono::seconds silence_time{1};
/// For replies that a client has not read when it says bye, or when the grace time has ended.
constexpr std::chrono::milliseconds closing_time{5000};
/// After the grace time, for cancelled requests to end.
constexpr std::chrono::milliseconds last_time{2000};

Error stop_error() { return {ErrorCode::shutting_down, "the server stops"}; }

std::string_view text_of(End end) {
  switch (end) {
    case End::bye:
      return "bye";
    case End::malformed:
      return "malformed frame";
    case End::refused:
      return "refused";
    case End::peer_closed:
      return "closed by the client";
  }
  return {};
}

}  // namespace

Server::Server(boost::asio::io_context& io, const Limits& limits, ServerOptions options,
               OpenSession open)
    : io_(io),
      options_(std::move(options)),
      open_(std::move(open)),
      buffers_(limits),
      grace_timer_(io) {}

Server::~Server() {
  for (const auto& listener : listeners_) listener->close();
}

Result<void> Server::listen() {
  for (const Address& address : options_.addresses) {
    auto listener = Listener::open(io_, address);
    if (!listener) {
      listeners_.clear();
      return tl::make_unexpected(std::move(listener).error());
    }
    listeners_.push_back(*std::move(listener));
  }
  for (const auto& listener : listeners_) {
    const Transport transport = listener->address().transport;
    listener->start([this, transport](int socket, std::string peer) {
      accept(transport, socket, std::move(peer));
    });
  }
  options_.tell_ready(true);
  return {};
}

std::vector<Address> Server::addresses() const {
  std::vector<Address> out;
  for (const auto& listener : listeners_) out.push_back(listener->address());
  return out;
}

void Server::accept(Transport transport, int socket, std::string peer) {
  if (full()) make_place();
  const bool full = this->full();
  Stream::Descriptor descriptor(io_);
  boost::system::error_code error;
  descriptor.assign(socket, error);
  if (error) ::close(socket);
  if (error || (full && refusals_ >= refusals_max)) return;
  const LastMemory::Use use;
  try {
    auto stream = open_stream(transport, std::move(descriptor));
    if (full) return turn_away(std::move(stream), std::move(peer));
    const std::uint64_t number = ++last_number_;
    admit(std::move(stream), {number, name_of(transport), std::move(peer),
                              [this, number](const Error& why) { end_later(number, why); }});
  } catch (const std::bad_alloc&) {
    spdlog::warn("a connection was closed: the system has no memory left");
  }
}

bool Server::is_silent(std::uint64_t number) const {
  const auto client = clients_.find(number);
  return client != clients_.end() && !client->second.connection->has_greeted();
}

/// The oldest client that has not said hello leaves, if it has had time to.
void Server::make_place() {
  const auto late = std::chrono::steady_clock::now() - silence_time;
  for (; !silent_.empty(); silent_.pop_front()) {
    const auto [number, since] = silent_.front();
    if (!is_silent(number)) continue;
    if (since > late || leaving_.size() >= refusals_max) return;
    leaving_.insert(number);
    silent_.pop_front();
    const auto connection = clients_.at(number).connection;
    return connection->close_with(
        {ErrorCode::too_many_clients, "the server is full, and this client has not said hello"});
  }
}

std::shared_ptr<Stream> Server::open_stream(Transport transport, Stream::Descriptor socket) {
  if (transport == Transport::tls)
    return std::make_shared<TlsStream>(std::move(socket), *options_.tls);
  return std::make_shared<DescriptorStream>(std::move(socket));
}

ConnectionOptions Server::connection_options(std::string peer) const {
  ConnectionOptions options;
  options.peer = std::move(peer);
  options.socket = true;
  options.handshake_timeout = options_.handshake_timeout;
  options.idle_timeout = options_.idle_timeout;
  options.send_timeout = options_.send_timeout;
  options.closing_time = closing_time;
  return options;
}

void Server::admit(std::shared_ptr<Stream> stream, Visitor visitor) {
  const std::uint64_t number = visitor.number;
  spdlog::info("session {}: {} connects by {}", number, visitor.peer, visitor.transport);
  auto options = connection_options(visitor.peer);
  std::shared_ptr<Gate> gate;
  const auto open = [&](std::shared_ptr<engine::Outbox> outbox) {
    gate = std::make_shared<Gate>(io_, options_.tokens, std::move(visitor), std::move(outbox),
                                  open_, [this] { return clients_.size(); });
    return gate;
  };
  // Not at once: the connection may end before it is among the clients.
  const auto on_end = [this, number](End end) {
    with_last_memory([&] { boost::asio::post(io_, [this, number, end] { remove(number, end); }); });
  };
  auto connection =
      Connection::start(io_, buffers_, std::move(stream), open, on_end, std::move(options));
  clients_.emplace(number, Client{std::move(connection), std::move(gate)});
  silent_.emplace_back(number, std::chrono::steady_clock::now());
  while (!silent_.empty() && !is_silent(silent_.front().first)) silent_.pop_front();
}

/// Not at once: the session that asks for it may be in the middle of a request.
void Server::end_later(std::uint64_t number, const Error& error) {
  with_last_memory([&] {
    boost::asio::post(io_, [this, number, error] {
      const auto client = clients_.find(number);
      if (client == clients_.end()) return;
      const auto connection = client->second.connection;
      connection->close_with(error);
    });
  });
}

/// The connection says why, then ends; it is no client.
void Server::turn_away(std::shared_ptr<Stream> stream, std::string peer) {
  auto options = connection_options(std::move(peer));
  options.refusal =
      Error{ErrorCode::too_many_clients, "the server has " + std::to_string(options_.clients_max) +
                                             " clients already, which is its limit"};
  ++refusals_;
  const auto open = [this](std::shared_ptr<engine::Outbox> outbox) {
    return std::make_shared<Gate>(io_, options_.tokens, Visitor{}, std::move(outbox), open_,
                                  [this] { return clients_.size(); });
  };
  Connection::start(
      io_, buffers_, std::move(stream), open,
      [this](End) {
        --refusals_;
        descriptor_is_free();
      },
      std::move(options));
}

void Server::remove(std::uint64_t number, End end) {
  clients_.erase(number);
  leaving_.erase(number);
  spdlog::info("session {}: ended: {}", number, text_of(end));
  descriptor_is_free();
  if (stopping_ && clients_.empty()) stopped();
}

void Server::descriptor_is_free() {
  for (const auto& listener : listeners_) listener->resume();
}

void Server::stop(std::function<void()> on_stopped) {
  if (stopping_) return end_grace();
  stopping_ = true;
  options_.tell_ready(false);
  on_stopped_ = std::move(on_stopped);
  for (const auto& listener : listeners_) listener->close();
  if (clients_.empty()) return stopped();
  spdlog::warn("stopping: {} sessions have up to {} ms to end", clients_.size(),
               options_.grace.count());
  for (auto& [number, client] : clients_) {
    client.gate->stop();
    client.connection->close_when_idle(stop_error());
  }
  grace_timer_.expires_after(options_.grace);
  grace_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) end_grace();
  });
}

void Server::end_grace() {
  if (std::exchange(grace_ended_, true)) return;
  spdlog::warn("the grace time has ended: {} sessions are cancelled", clients_.size());
  for (auto& [number, client] : clients_) client.gate->cancel_all();
  grace_timer_.expires_after(last_time);
  grace_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) stopped();
  });
}

void Server::stopped() {
  grace_timer_.cancel();
  if (on_stopped_) std::exchange(on_stopped_, nullptr)();
}

}  // namespace outrigger::net
