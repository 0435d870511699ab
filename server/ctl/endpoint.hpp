#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "net/address.hpp"

namespace outrigger::ctl {

/// Where a server is. Unlike the address that a server listens at, it may have a host's name.
struct Endpoint {
  net::Transport transport = net::Transport::tcp;
  std::string path;  ///< of a Unix socket
  std::string host;  ///< of TCP and TLS: a name, or an address without brackets
  std::string port;
};

/// Reads `unix:/run/outrigger.sock`, `tcp://127.0.0.1:7171`, `tls://compute.example:7171`,
/// `tls://[::1]:7171`. The text of an error, a bad_value, has the address.
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace outrigger::ctl
