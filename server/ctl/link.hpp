#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/error.hpp"
#include "ctl/endpoint.hpp"

namespace outrigger::ctl {

/// Files in PEM form, each of them optional.
struct TlsOptions {
  std::string ca;           ///< whom to trust; empty: whom the system trusts
  std::string name;         ///< that the server's certificate must have; empty: the endpoint's host
  std::string certificate;  ///< the client's own
  std::string key;
};

/// A stream of bytes to a server. It blocks: the process has a deadline.
class Link {
 public:
  /// `timeout` is shared by the addresses that a host's name has.
  static Result<Link> open(const Endpoint& endpoint, const TlsOptions& tls,
                           std::chrono::milliseconds timeout);
  Link(Link&& other) noexcept;
  Link& operator=(Link&&) = delete;
  ~Link();

  bool encrypted() const { return ssl_ != nullptr; }

  Result<void> write(std::span<const std::uint8_t> bytes);
  /// Some bytes, or 0 at the end of the stream.
  Result<std::size_t> read(std::span<std::uint8_t> into);

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  explicit Link(int socket) : socket_(socket) {}
  Result<void> start_tls(const Endpoint& endpoint, const TlsOptions& options);

  int socket_;
  std::unique_ptr<SSL, Free> ssl_;  ///< null without TLS
};

}  // namespace outrigger::ctl
