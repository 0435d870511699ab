#include "ctl/endpoint.hpp"

#include <charconv>
#include <cstdint>

namespace outrigger::ctl {

namespace {

tl::unexpected<Error> bad(std::string_view text, std::string_view why) {
  return fail(ErrorCode::bad_value, "\"" + std::string(text) + "\": " + std::string(why));
}

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port != 0;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  Endpoint out;
  std::string_view rest;
  if (text.starts_with("tcp://") || text.starts_with("tls://")) {
    out.transport = text.starts_with("tls") ? net::Transport::tls : net::Transport::tcp;
    rest = text.substr(6);
  } else {
    OUTRIGGER_TRY(net::Address address, net::parse_address(text));
    out.transport = address.transport;
    out.path = std::move(address.path);
    return out;
  }
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return bad(text, "a port is missing, e.g. :7171");
  std::string_view host = rest.substr(0, colon);
  out.port = rest.substr(colon + 1);
  if (!is_port(out.port)) return bad(text, "the port must be a number from 1 to 65535");
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  if (host.empty()) return bad(text, "a host is missing");
  if (!brackets && host.find(':') != std::string_view::npos)
    return bad(text, "an IPv6 address stands in brackets");
  if (host.find_first_of(std::string_view("/[]\0", 4)) != std::string_view::npos)
    return bad(text, "the host must be a name or an address");
  out.host = host;
  return out;
}

}  // namespace outrigger::ctl
