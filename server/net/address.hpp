#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace outrigger::net {

enum class Transport : std::uint8_t { unix_socket, tcp, tls };

/// `unix`, `tcp` or `tls`: the scheme of an address, and what `info` tells.
std::string_view name_of(Transport transport);

/// Where the daemon listens: `unix:/run/outrigger.sock`, `tcp://127.0.0.1:7171`, `tls://[::1]:0`.
struct Address {
  Transport transport = Transport::tcp;
  std::string path;              ///< of a Unix socket
  sockaddr_storage socket = {};  ///< of TCP and TLS
  socklen_t socket_bytes = 0;

  /// Only processes of this machine can connect.
  bool local() const;
  /// As it is written in an option.
  std::string text() const;
};

/// Hosts are numbers, in brackets for IPv6: a name may stand for several addresses, or for another
/// one tomorrow.
Result<Address> parse_address(std::string_view text);

/// `127.0.0.1:7171` or `[::1]:7171`.
std::string host_and_port(const sockaddr_storage& socket);

}  // namespace outrigger::net
