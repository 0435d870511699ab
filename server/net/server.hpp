#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "net/address.hpp"
#include "net/connection.hpp"
#include "net/gate.hpp"
#include "net/listener.hpp"
#include "net/tokens.hpp"

namespace outrigger::net {

struct ServerOptions {
  std::vector<Address> addresses;
  Tokens tokens;                                   ///< without any, all may enter
  std::shared_ptr<boost::asio::ssl::context> tls;  ///< of the addresses that want it
  std::uint32_t clients_max = 256;
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds idle_timeout{0};  ///< 0: none
  std::chrono::milliseconds send_timeout{30'000};
  std::chrono::milliseconds grace{10'000};
  std::function<void()> on_bound;  ///< called once all addresses are bound; may be null
  /// Called by the I/O thread: whether clients may come. At first they may not.
  std::function<void(bool ready)> tell_ready = [](bool) {};
  /// Other addresses, at which the process listens already, to be told with these.
  std::vector<std::string> others = {};
  std::uint32_t other_descriptors = 0;  ///< that the process needs beside the clients
};

/// Many sessions over sockets, on one I/O thread. All members are for that thread.
///
/// While there are as many clients as there may be, one that has not said hello a second after its
/// connection gives its place to the next that comes: half-open connections keep nobody out.
class Server {
 public:
  Server(boost::asio::io_context& io, const Limits& limits, ServerOptions options,
         OpenSession open);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  /// Binds all addresses, then accepts. After an error nothing is bound.
  Result<void> listen();
  /// As they were bound: with the ports that the system chose.
  std::vector<Address> addresses() const;
  std::size_t clients() const { return clients_.size(); }

  /// Accepts no more, lets the sessions carry out what they have read, and calls `on_stopped` when
  /// all have ended, some seconds after the grace time at the latest. A second call ends the grace
  /// time.
  void stop(std::function<void()> on_stopped);

 private:
  struct Client {
    std::shared_ptr<Connection> connection;
    std::shared_ptr<Gate> gate;
  };

  void accept(Transport transport, int socket, std::string peer);
  bool full() const { return clients_.size() - leaving_.size() >= options_.clients_max; }
  bool is_silent(std::uint64_t number) const;
  void make_place();
  std::shared_ptr<Stream> open_stream(Transport transport, Stream::Descriptor socket);
  void admit(std::shared_ptr<Stream> stream, Visitor visitor);
  void turn_away(std::shared_ptr<Stream> stream, std::string peer);
  ConnectionOptions connection_options(std::string peer) const;
  void end_later(std::uint64_t number, const Error& error);
  void remove(std::uint64_t number, End end);
  void descriptor_is_free();
  void end_grace();
  void stopped();

  boost::asio::io_context& io_;
  const ServerOptions options_;
  OpenSession open_;
  ReadBuffers buffers_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::map<std::uint64_t, Client> clients_;
  /// Clients that may not have said hello yet, with the time when they came, the oldest first.
  std::deque<std::pair<std::uint64_t, std::chrono::steady_clock::time_point>> silent_;
  std::set<std::uint64_t> leaving_;  ///< clients that gave their place to others
  std::uint64_t last_number_ = 0;
  std::size_t refusals_ = 0;  ///< connections that are being told that there are too many
  boost::asio::steady_timer grace_timer_;
  std::function<void()> on_stopped_;
  bool stopping_ = false;
  bool grace_ended_ = false;
};

}  // namespace outrigger::net
