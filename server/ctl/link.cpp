#include "ctl/link.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

#include "ctl/deadline.hpp"

namespace outrigger::ctl {

namespace {

tl::unexpected<Error> system_error(const std::string& what) {
  return fail(ErrorCode::io_error, what + ": " + std::strerror(errno));
}

/// The first reason in the thread's queue, which is emptied.
std::string tls_reason() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(error);
  if (reason != nullptr) return reason;
  return errno == 0 ? "the server closed the connection" : std::strerror(errno);
}

void set_write_timeout(int socket, std::chrono::milliseconds time) {
  timeval value{};
  value.tv_sec = time.count() / 1000;
  value.tv_usec = time.count() % 1000 * 1000;
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
}

/// A connected socket; -1 with errno otherwise.
int connect_socket(const sockaddr* address, socklen_t bytes, std::chrono::milliseconds timeout) {
  const int socket = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  set_write_timeout(socket, timeout);
  if (::connect(socket, address, bytes) == 0) {
    set_write_timeout(socket, {});
    return socket;
  }
  const int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
  ::close(socket);
  errno = error;
  return -1;
}

Result<int> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), std::begin(address.sun_path));
  const int socket =
      connect_socket(reinterpret_cast<const sockaddr*>(&address), sizeof address, {});
  if (socket < 0) return system_error("cannot connect");
  return socket;
}

Result<int> connect_host(const Endpoint& endpoint, std::chrono::milliseconds timeout) {
  now_doing("looking up the host");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &list);
  if (error != 0) {
    return fail(ErrorCode::io_error,
                "no address of " + endpoint.host + " is known: " +
                    (error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, ::freeaddrinfo);
  now_doing("connecting");
  int count = 0;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) ++count;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    const int socket = connect_socket(at->ai_addr, at->ai_addrlen, timeout / count);
    if (socket >= 0) return socket;
  }
  return system_error("cannot connect");
}

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, FreeContext>;

tl::unexpected<Error> bad_file(const std::string& path) {
  return fail(ErrorCode::bad_file, path + ": " + tls_reason());
}

Result<Context> make_context(const TlsOptions& options) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  // A reply that is cut short is an error all the same: its frame tells its length.
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  // OpenSSL would ask the terminal for the password of a key that has one.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return 0; });
  if (options.ca.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else if (SSL_CTX_load_verify_file(context.get(), options.ca.c_str()) != 1) {
    return bad_file(options.ca);
  }
  if (options.certificate.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate.c_str()) != 1)
    return bad_file(options.certificate);
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return bad_file(options.key);
  return context;
}

bool is_address(const std::string& host) {
  in6_addr bytes{};
  return ::inet_pton(AF_INET, host.c_str(), &bytes) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &bytes) == 1;
}

/// The name that the certificate must have; a server with several certificates is told a host's
/// name.
bool expect_name(SSL* ssl, const std::string& name) {
  if (is_address(name))
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
}

Error handshake_error(SSL* ssl, const std::string& name) {
  const long verdict = SSL_get_verify_result(ssl);
  const std::string reason = tls_reason();
  if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    return {ErrorCode::io_error,
            "the server's certificate is not that of " + name + " (--tls-name names another)"};
  }
  if (verdict != X509_V_OK) {
    return {ErrorCode::io_error, std::string("the server's certificate is not trusted: ") +
                                     X509_verify_cert_error_string(verdict)};
  }
  return {ErrorCode::io_error, "the TLS handshake failed: " + reason};
}

}  // namespace

Link::Link(Link&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), ssl_(std::move(other.ssl_)) {}

Link::~Link() {
  if (ssl_) SSL_shutdown(ssl_.get());
  if (socket_ >= 0) ::close(socket_);
}

Result<Link> Link::open(const Endpoint& endpoint, const TlsOptions& tls,
                        std::chrono::milliseconds timeout) {
  now_doing("connecting");
  OUTRIGGER_TRY(const int socket, endpoint.transport == net::Transport::unix_socket
                                      ? connect_unix(endpoint.path)
                                      : connect_host(endpoint, timeout));
  Link link(socket);
  if (endpoint.transport == net::Transport::tls) OUTRIGGER_CHECK(link.start_tls(endpoint, tls));
  return link;
}

Result<void> Link::start_tls(const Endpoint& endpoint, const TlsOptions& options) {
  now_doing("agreeing on TLS");
  ERR_clear_error();
  OUTRIGGER_TRY(const Context context, make_context(options));
  ssl_.reset(SSL_new(context.get()));
  if (!ssl_ || SSL_set_fd(ssl_.get(), socket_) != 1) throw std::bad_alloc();
  const std::string& name = options.name.empty() ? endpoint.host : options.name;
  if (!expect_name(ssl_.get(), name))
    return fail(ErrorCode::bad_value, "\"" + name + "\" is no name for a certificate");
  errno = 0;
  if (SSL_connect(ssl_.get()) == 1) return {};
  const Error error = handshake_error(ssl_.get(), name);
  ssl_.reset();
  return tl::make_unexpected(error);
}

Result<void> Link::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    ERR_clear_error();
    errno = 0;
    const int most = static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX));
    const ssize_t count = ssl_ ? SSL_write(ssl_.get(), bytes.data(), most)
                               : ::write(socket_, bytes.data(), bytes.size());
    if (count > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (ssl_) {
      return fail(ErrorCode::io_error, "cannot send: " + tls_reason());
    } else if (errno != EINTR) {
      return system_error("cannot send");
    }
  }
  return {};
}

Result<std::size_t> Link::read(std::span<std::uint8_t> into) {
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int most = static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX));
    const ssize_t count =
        ssl_ ? SSL_read(ssl_.get(), into.data(), most) : ::read(socket_, into.data(), into.size());
    if (count > 0) return static_cast<std::size_t>(count);
    if (!ssl_) {
      // A server that turns a client away may not have read all that the client sent.
      if (count == 0 || errno == ECONNRESET) return std::size_t{0};
      if (errno != EINTR) return system_error("cannot receive");
      continue;
    }
    if (SSL_get_error(ssl_.get(), static_cast<int>(count)) == SSL_ERROR_ZERO_RETURN)
      return std::size_t{0};
    // With TLS 1.3, the server's verdict on the client's certificate arrives here.
    return fail(ErrorCode::io_error, "the server ended TLS: " + tls_reason());
  }
}

}  // namespace outrigger::ctl
