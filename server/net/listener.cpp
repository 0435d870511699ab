#include "net/listener.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/last_memory.hpp"

namespace outrigger::net {

namespace {

/// The loop's other events wait for so many connections at most.
constexpr int accepts_per_wake_up_max = 16;
constexpr std::chrono::seconds retry_time{1};

void set(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof value);
}

/// Frames are written whole: nothing is gained by waiting for more. A peer whose machine is gone is
/// found out within two minutes.
void configure_tcp(int socket) {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

std::string unix_peer(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return "unix";
  return "pid " + std::to_string(who.pid) + " uid " + std::to_string(who.uid);
}

/// Takes the number, as the text of an address may change errno.
tl::unexpected<Error> failed(const Address& address, int error) {
  return fail(ErrorCode::io_error, address.text() + ": " + std::strerror(error));
}

Result<void> bind_ip(int socket, const Address& address) {
  set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  // [::] stands for the IPv6 addresses alone, on every system.
  if (address.socket.ss_family == AF_INET6) set(socket, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&address.socket), address.socket_bytes) != 0)
    return failed(address, errno);
  return {};
}

/// True for an error of one connection or of its network: the next connection may be good.
bool passes(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
      return true;
    default:
      return false;
  }
}

}  // namespace

Listener::Listener(boost::asio::io_context& io, Address address, int socket,
                   std::unique_ptr<SocketFile> file)
    : address_(std::move(address)), socket_(io, socket), retry_(io), file_(std::move(file)) {}

Listener::~Listener() { close(); }

Result<std::shared_ptr<Listener>> Listener::open(boost::asio::io_context& io,
                                                 const Address& address) {
  const bool local = address.transport == Transport::unix_socket;
  const int family = local ? AF_UNIX : address.socket.ss_family;
  std::unique_ptr<SocketFile> file;
  if (local) {
    OUTRIGGER_TRY(file, SocketFile::claim(address.path));
  }
  const int socket = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return failed(address, errno);
  // Owns the socket from here on.
  std::shared_ptr<Listener> self(new Listener(io, address, socket, std::move(file)));
  OUTRIGGER_CHECK(local ? self->file_->bind(socket) : bind_ip(socket, address));
  if (::listen(socket, SOMAXCONN) != 0) return failed(address, errno);
  if (!local) {
    socklen_t size = sizeof self->address_.socket;
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&self->address_.socket), &size);
  }
  return self;
}

void Listener::start(Accept accept) {
  accept_ = std::move(accept);
  wait();
}

void Listener::wait() {
  with_last_memory([this] {
    socket_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                       [self = shared_from_this()](const boost::system::error_code& error) {
                         if (!error) self->accept_some();
                       });
  });
}

void Listener::accept_some() {
  for (int i = 0; i < accepts_per_wake_up_max && socket_.is_open(); ++i) {
    if (!accept_one()) break;
  }
  if (socket_.is_open() && !paused_) wait();
}

/// False if there is no other one now.
bool Listener::accept_one() {
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  const int socket = ::accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&from), &size,
                               SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket < 0) {
    if (passes(errno)) return true;
    if (errno != EAGAIN) pause(errno);
    return false;
  }
  if (address_.transport == Transport::unix_socket) {
    accept_(socket, unix_peer(socket));
  } else {
    configure_tcp(socket);
    accept_(socket, host_and_port(from));
  }
  return true;
}

/// The listening socket stays ready for reading: waiting for it would keep the thread busy.
void Listener::pause(int error) {
  paused_ = true;
  spdlog::warn("{}: accepts nothing for now: {}", address_.text(), std::strerror(error));
  retry_.expires_after(retry_time);
  with_last_memory([this] {
    retry_.async_wait([self = shared_from_this()](const boost::system::error_code& failed) {
      if (!failed) self->resume();
    });
  });
}

void Listener::resume() {
  if (!paused_ || !socket_.is_open()) return;
  paused_ = false;
  retry_.cancel();
  wait();
}

void Listener::close() {
  retry_.cancel();
  boost::system::error_code ignored;
  socket_.close(ignored);
  file_.reset();
}

}  // namespace outrigger::net
