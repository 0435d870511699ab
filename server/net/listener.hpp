#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/error.hpp"
#include "net/address.hpp"
#include "net/socket_file.hpp"

namespace outrigger::net {

/// Accepts the connections to one address. For the I/O thread alone.
///
/// While the system has no descriptor or memory for another connection, it accepts none: they wait
/// in the system's queue until resume(), or a second later.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  /// The new socket, non-blocking, and the peer's address for people.
  using Accept = std::function<void(int socket, std::string peer)>;

  /// Binds the address. The text of an error names it.
  static Result<std::shared_ptr<Listener>> open(boost::asio::io_context& io,
                                                const Address& address);
  ~Listener();

  /// With the port that the system chose, if it was 0.
  const Address& address() const { return address_; }
  void start(Accept accept);
  /// A descriptor is free again.
  void resume();
  bool paused() const { return paused_; }
  /// Accepts no more; the file of a Unix socket goes.
  void close();

 private:
  Listener(boost::asio::io_context& io, Address address, int socket,
           std::unique_ptr<SocketFile> file);
  void wait();
  void accept_some();
  bool accept_one();
  void pause(int error);

  Address address_;
  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer retry_;
  std::unique_ptr<SocketFile> file_;
  Accept accept_;
  bool paused_ = false;
};

}  // namespace outrigger::net
