#include "support/link.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace outrigger::test {
namespace {

constexpr int patience_ms = 10'000;

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class Descriptors final : public Link {
 public:
  Descriptors(int in, int out) : in_(in), out_(out) {
    for (const int fd : {in, out}) {
      if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) throw_errno("fcntl");
    }
  }
  ~Descriptors() override {
    close(in_);
    if (out_ != in_) close(out_);
  }
  ssize_t read(std::span<std::uint8_t> into) override {
    return ::read(in_, into.data(), into.size());
  }
  ssize_t write(std::span<const std::uint8_t> bytes) override {
    return ::write(out_, bytes.data(), bytes.size());
  }
  int in_fd() const override { return in_; }
  int out_fd() const override { return out_; }

 private:
  int in_;
  int out_;
};

class Tls final : public Link {
 public:
  Tls(int socket, const std::string& host, const TlsClient& options)
      : socket_(socket), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX* context = context_.get();
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options.version_max != 0) SSL_CTX_set_max_proto_version(context, options.version_max);
    if (!options.ca.empty()) {
      demand(SSL_CTX_load_verify_locations(context, options.ca.c_str(), nullptr));
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    }
    if (!options.certificate.empty()) {
      demand(SSL_CTX_use_certificate_chain_file(context, options.certificate.c_str()));
      demand(SSL_CTX_use_PrivateKey_file(context, options.key.c_str(), SSL_FILETYPE_PEM));
    }
    ssl_.reset(SSL_new(context));
    if (!options.ca.empty())
      demand(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str()));
    demand(SSL_set_fd(ssl_.get(), socket));
    demand(SSL_connect(ssl_.get()));  // the socket still blocks, with a timeout
    if (fcntl(socket, F_SETFL, O_NONBLOCK) != 0) throw_errno("fcntl");
  }
  ~Tls() override {
    if (ssl_ != nullptr) SSL_shutdown(ssl_.get());
    ERR_clear_error();
    close(socket_);
  }
  ssize_t read(std::span<std::uint8_t> into) override {
    return result(SSL_read(ssl_.get(), into.data(), static_cast<int>(into.size())));
  }
  ssize_t write(std::span<const std::uint8_t> bytes) override {
    return result(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())));
  }
  int in_fd() const override { return socket_; }
  int out_fd() const override { return socket_; }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };

  void demand(int done) {
    if (done == 1) return;
    const int system_error = errno;
    const char* reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    const std::string text = reason == nullptr ? std::strerror(system_error) : reason;
    // The destructor does not run for a constructor that throws.
    ssl_.reset();
    close(socket_);
    throw std::runtime_error("TLS: " + text);
  }

  ssize_t result(int count) {
    if (count > 0) return count;
    switch (SSL_get_error(ssl_.get(), count)) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      default:
        ERR_clear_error();
        errno = ECONNRESET;
        return -1;
    }
  }

  int socket_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
};

int connect_to(const std::string& address, const sockaddr* to, socklen_t size) {
  const int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw_errno("socket");
  const timeval patience{patience_ms / 1000, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, to, size) != 0) {
    const int error = errno;
    close(fd);
    errno = error;
    throw_errno(address);
  }
  return fd;
}

int connect_unix(const std::string& address) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  address.substr(std::strlen("unix:")).copy(to.sun_path, sizeof to.sun_path - 1);
  return connect_to(address, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

int connect_tcp(const std::string& address, const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0)
    throw std::runtime_error("no address: " + address);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  const int fd = connect_to(address, found->ai_addr, found->ai_addrlen);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

}  // namespace

std::unique_ptr<Link> pipe_link(int in_fd, int out_fd) {
  return std::make_unique<Descriptors>(in_fd, out_fd);
}

std::unique_ptr<Link> dial(const std::string& address, const TlsClient& tls) {
  if (address.starts_with("unix:")) {
    const int fd = connect_unix(address);
    return std::make_unique<Descriptors>(fd, fd);
  }
  const std::string rest = address.substr(address.find("//") + 2);
  const std::size_t colon = rest.rfind(':');
  std::string host = rest.substr(0, colon);
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  const int fd = connect_tcp(address, host, rest.substr(colon + 1));
  if (address.starts_with("tls:")) return std::make_unique<Tls>(fd, host, tls);
  return std::make_unique<Descriptors>(fd, fd);
}

void Framed::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = link_->write(bytes);
    if (count > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      std::array<pollfd, 2> ready{pollfd{link_->out_fd(), POLLOUT, 0},
                                  pollfd{link_->in_fd(), POLLIN, 0}};
      if (poll(ready.data(), ready.size(), 60'000) == 0)
        throw std::runtime_error("the server reads nothing");
      if ((ready[1].revents & POLLIN) != 0) read_some(Clock::now());
    } else if (errno != EINTR) {
      throw_errno("write to the server");
    }
  }
}

void Framed::send(std::span<const std::uint8_t> payload) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::vector<std::uint8_t> frame{
      static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16),
      static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
  frame.insert(frame.end(), payload.begin(), payload.end());
  write(frame);
}

/// Tries first: TLS may hold bytes that the socket does not show.
Framed::Got Framed::read_some(Clock::time_point until) {
  std::array<std::uint8_t, 65536> buffer{};
  for (;;) {
    const ssize_t count = link_->read(buffer);
    if (count > 0) {
      received_.insert(received_.end(), buffer.data(), buffer.data() + count);
      return Got::bytes;
    }
    if (count == 0) return Got::end;
    if (errno == ECONNRESET) return Got::end;
    if (errno != EAGAIN && errno != EINTR) throw_errno("read from the server");
    pollfd ready{link_->in_fd(), POLLIN, 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) == 0) return Got::nothing;
  }
}

std::vector<std::uint8_t> Framed::receive(std::chrono::milliseconds timeout) {
  const auto until = Clock::now() + timeout;
  const auto need = [&](std::size_t bytes) {
    while (received_.size() - consumed_ < bytes) {
      const Got got = read_some(until);
      if (got == Got::nothing) throw std::runtime_error("no reply from the server in time");
      if (got == Got::end) throw std::runtime_error("the server has closed the connection");
    }
  };
  need(4);
  const std::uint8_t* header = received_.data() + consumed_;
  const std::size_t size = (std::size_t{header[0]} << 24) | (std::size_t{header[1]} << 16) |
                           (std::size_t{header[2]} << 8) | std::size_t{header[3]};
  need(4 + size);
  const auto begin = received_.begin() + static_cast<std::ptrdiff_t>(consumed_) + 4;
  std::vector<std::uint8_t> payload(begin, begin + static_cast<std::ptrdiff_t>(size));
  consumed_ += 4 + size;
  if (consumed_ == received_.size()) {
    received_.clear();
    consumed_ = 0;
  }
  return payload;
}

bool Framed::ends(std::chrono::milliseconds timeout) {
  return received_.size() == consumed_ && read_some(Clock::now() + timeout) == Got::end;
}

}  // namespace outrigger::test
