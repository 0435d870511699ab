#include "ctl/connection.hpp"

#include <array>
#include <utility>

#include <msgpack.hpp>

#include "ctl/deadline.hpp"

namespace outrigger::ctl {

namespace {

constexpr std::uint64_t protocol = 1;
constexpr const char* client_name = "outriggerctl " OUTRIGGER_VERSION;

using Bytes = std::vector<std::uint8_t>;
using Packer = msgpack::packer<msgpack::sbuffer>;

/// A request's frame; `pack` adds `entries` entries to its id and kind.
template <typename Pack>
void append_request(Bytes& out, std::uint64_t id, std::string_view kind, std::uint32_t entries,
                    Pack pack) {
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_map(2 + entries);
  packer.pack("id");
  packer.pack(id);
  packer.pack("do");
  packer.pack(kind);
  pack(packer);
  const auto size = static_cast<std::uint32_t>(buffer.size());
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(size >> shift));
  out.insert(out.end(), buffer.data(), buffer.data() + buffer.size());
}

tl::unexpected<Error> not_outrigger(const std::string& why) {
  return fail(ErrorCode::bad_frame, "the server does not speak Outrigger's protocol: " + why);
}

std::string text_of(std::optional<wire::Value> value) {
  return value && value->is(wire::Kind::string) ? std::string(value->string()) : std::string();
}

}  // namespace

std::optional<wire::Value> find(wire::Value map, std::string_view key) {
  if (!map.is(wire::Kind::map)) return std::nullopt;
  for (const auto& [name, value] : map.entries()) {
    if (name == key) return value;
  }
  return std::nullopt;
}

Result<Reply> Reply::parse(std::shared_ptr<const wire::Frame> frame) {
  auto parser = std::make_unique<wire::ValueParser>(Limits{});
  const auto value = parser->parse(*frame);
  if (!value) return not_outrigger(value.error());
  const auto id = find(*value, "id");
  if (!id || !id->is(wire::Kind::unsigned_integer) || text_of(find(*value, "status")).empty())
    return not_outrigger("a reply has no id or no status");
  return Reply(std::move(frame), std::move(parser), *value);
}

std::uint64_t Reply::id() const { return find(value_, "id")->natural(); }

Result<void> Reply::verdict() const {
  const std::string status = text_of(find(value_, "status"));
  if (status == "ok") return {};
  const auto error = find(value_, "error");
  const std::string code = error ? text_of(find(*error, "code")) : status;
  return fail(ErrorCode::bad_request, code + ": " + (error ? text_of(find(*error, "text")) : ""));
}

Result<Connection> Connection::open(const Target& target) {
  OUTRIGGER_TRY(Link link, Link::open(target.endpoint, target.tls, target.timeout));
  Connection connection(std::move(link));
  OUTRIGGER_CHECK(connection.greet(target.token));
  return connection;
}

Result<void> Connection::greet(const std::optional<std::string>& token) {
  now_doing("waiting for the reply to hello");
  Bytes requests;
  if (token) {
    append_request(requests, ++last_id_, "auth", 1, [&](Packer& packer) {
      packer.pack("token");
      packer.pack(*token);
    });
  }
  append_request(requests, ++last_id_, "hello", 2, [](Packer& packer) {
    packer.pack("protocol");
    packer.pack(protocol);
    packer.pack("client");
    packer.pack(client_name);
  });
  send(requests);
  for (std::uint64_t id = 1; id <= last_id_; ++id) {
    OUTRIGGER_TRY(hello_, reply_to(id));
  }
  return {};
}

/// A server that turns a client away reads nothing, and tells why. So a failed write is no error:
/// the next read is one, or gives the reason.
void Connection::send(std::span<const std::uint8_t> bytes) {
  static_cast<void>(link_.write(bytes));
}

Result<Reply> Connection::request(std::string_view kind) {
  now_doing("waiting for a reply");
  Bytes bytes;
  append_request(bytes, ++last_id_, kind, 0, [](Packer&) {});
  send(bytes);
  return reply_to(last_id_);
}

/// Fails with the error in the reply, too. A frame with id 0 is the last one of a connection.
Result<Reply> Connection::reply_to(std::uint64_t id) {
  OUTRIGGER_TRY(const auto frame, next_frame());
  OUTRIGGER_TRY(Reply reply, Reply::parse(frame));
  OUTRIGGER_CHECK(reply.verdict());
  if (reply.id() != id) return not_outrigger("a reply has another id than its request");
  return reply;
}

/// A server of TLS does not answer a client without TLS.
tl::unexpected<Error> Connection::closed() const {
  return fail(ErrorCode::io_error,
              heard_ || link_.encrypted()
                  ? "the server closed the connection"
                  : "the server closed the connection without an answer; if it serves TLS, its "
                    "address begins with tls://");
}

Result<std::shared_ptr<wire::Frame>> Connection::next_frame() {
  std::array<std::uint8_t, 4096> buffer;
  for (;;) {
    std::span<const std::uint8_t> bytes = received_;
    auto frame = frames_.take(bytes);
    if (!frame) return not_outrigger(frame.error().text);
    received_.erase(received_.begin(), received_.end() - static_cast<std::ptrdiff_t>(bytes.size()));
    if (*frame) return std::shared_ptr<wire::Frame>(*std::move(frame));
    OUTRIGGER_TRY(const std::size_t count, link_.read(buffer));
    if (count == 0) return closed();
    heard_ = true;
    received_.assign(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace outrigger::ctl
