#pragma once

#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "base/error.hpp"
#include "net/stream.hpp"

namespace outrigger::net {

/// Files in PEM form.
struct TlsFiles {
  std::string certificate;  ///< the server's, then those between it and the root
  std::string key;
  std::string
      client_ca;  ///< clients must have a certificate from one of these; empty: they need none
};

/// A server's context for TLS 1.3 and nothing else. Reads the files; the text of an error names the
/// one that is wrong.
Result<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const TlsFiles& files);

/// TLS over a socket, as the server. Owns the socket.
///
/// Not asio's ssl::stream, which has asynchronous operations only: a connection reads when its
/// socket is ready, and waits awake for the next request.
class TlsStream final : public Stream {
 public:
  TlsStream(Descriptor socket, boost::asio::ssl::context& context);

  int handshake() override;
  Wait handshake_wait() const override { return wait_; }
  std::string failure() const override { return failure_; }
  ssize_t read(std::span<std::uint8_t> into) override;
  Wait read_wait() const override { return read_wait_; }
  bool holds_input() const override { return more_ || over_; }
  ssize_t write(std::span<const iovec> pieces) override;
  Wait write_wait() const override { return write_wait_; }
  void end_output() override;
  Descriptor& input() override { return socket_; }
  Descriptor& output() override { return socket_; }
  void close(bool reset) override;

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  ssize_t stopped(int result, Wait& wait);

  Descriptor socket_;
  std::unique_ptr<SSL, Free> ssl_;
  Wait wait_ = Wait::wait_read;
  Wait read_wait_ = Wait::wait_read;
  Wait write_wait_ = Wait::wait_write;
  std::string failure_;
  bool established_ = false;
  bool more_ = false;  ///< the last read ended before its input did
  bool over_ = false;  ///< the peer has ended its direction, or broken the rules
  bool raw_ = false;   ///< nobody deciphers what still arrives
};

}  // namespace outrigger::net
