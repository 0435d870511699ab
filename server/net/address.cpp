#include "net/address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstring>
#include <optional>

#include <boost/asio/ip/address.hpp>

namespace outrigger::net {

namespace {

using boost::asio::ip::address;
using boost::asio::ip::address_v4;
using boost::asio::ip::address_v6;

std::string_view scheme_of(Transport transport) {
  switch (transport) {
    case Transport::unix_socket:
      return "unix:";
    case Transport::tcp:
      return "tcp://";
    case Transport::tls:
      return "tls://";
  }
  return {};
}

address host_of(const sockaddr_storage& socket) {
  if (socket.ss_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &socket, sizeof four);
    return address_v4(ntohl(four.sin_addr.s_addr));
  }
  sockaddr_in6 six{};
  std::memcpy(&six, &socket, sizeof six);
  address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), &six.sin6_addr, bytes.size());
  return address_v6(bytes, six.sin6_scope_id);
}

void set_socket(Address& out, const address& host, std::uint16_t port) {
  if (host.is_v4()) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    four.sin_addr.s_addr = htonl(host.to_v4().to_uint());
    std::memcpy(&out.socket, &four, sizeof four);
    out.socket_bytes = sizeof four;
    return;
  }
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  const auto bytes = host.to_v6().to_bytes();
  std::memcpy(&six.sin6_addr, bytes.data(), bytes.size());
  six.sin6_scope_id = static_cast<std::uint32_t>(host.to_v6().scope_id());
  std::memcpy(&out.socket, &six, sizeof six);
  out.socket_bytes = sizeof six;
}

tl::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(ErrorCode::bad_value, "\"" + std::string(text) + "\": " + std::string(why));
}

Result<Address> parse_path(std::string_view text, std::string_view path) {
  if (path.empty() || path.front() != '/') return bad(text, "the path must be absolute");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return bad(text, "a path of a socket has at most " +
                         std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
  }
  if (path.find('\0') != std::string_view::npos) return bad(text, "the path has a zero byte");
  Address out;
  out.transport = Transport::unix_socket;
  out.path = path;
  return out;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return port;
}

Result<Address> parse_host_and_port(std::string_view text, std::string_view rest) {
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return bad(text, "a port is missing, e.g. 127.0.0.1:7171");
  std::string_view host = rest.substr(0, colon);
  const auto port = parse_port(rest.substr(colon + 1));
  if (!port) return bad(text, "the port must be a number from 0 to 65535");
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  const address parsed = boost::asio::ip::make_address(std::string(host), error);
  if (error || parsed.is_v6() != brackets) {
    return bad(text, "the host must be an IPv4 address, or an IPv6 address in brackets");
  }
  Address out;
  set_socket(out, parsed, *port);
  return out;
}

}  // namespace

std::string_view name_of(Transport transport) {
  switch (transport) {
    case Transport::unix_socket:
      return "unix";
    case Transport::tcp:
      return "tcp";
    case Transport::tls:
      return "tls";
  }
  return {};
}

bool Address::local() const {
  if (transport == Transport::unix_socket) return true;
  const address host = host_of(socket);
  if (host.is_v6() && host.to_v6().is_v4_mapped()) {
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, host.to_v6()).is_loopback();
  }
  return host.is_loopback();
}

std::string Address::text() const {
  const std::string rest = transport == Transport::unix_socket ? path : host_and_port(socket);
  return std::string(scheme_of(transport)) + rest;
}

Result<Address> parse_address(std::string_view text) {
  for (const Transport transport : {Transport::unix_socket, Transport::tcp, Transport::tls}) {
    const std::string_view scheme = scheme_of(transport);
    if (text.substr(0, scheme.size()) != scheme) continue;
    const std::string_view rest = text.substr(scheme.size());
    if (transport == Transport::unix_socket) return parse_path(text, rest);
    OUTRIGGER_TRY(Address out, parse_host_and_port(text, rest));
    out.transport = transport;
    return out;
  }
  return bad(text, "an address begins with unix:, tcp:// or tls://");
}

std::string host_and_port(const sockaddr_storage& socket) {
  const address host = host_of(socket);
  in_port_t port = 0;
  // The port has the same place in both families.
  std::memcpy(&port, reinterpret_cast<const char*>(&socket) + offsetof(sockaddr_in, sin_port),
              sizeof port);
  const std::string text = host.to_string();
  return (host.is_v6() ? "[" + text + "]" : text) + ":" + std::to_string(ntohs(port));
}

}  // namespace outrigger::net
