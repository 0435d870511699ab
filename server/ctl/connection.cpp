#include "ctl/connection.hpp"

#include <utility>
#include <variant>

#include <msgpack.hpp>

#include "base/overloaded.hpp"
#include "ctl/deadline.hpp"

namespace outrigger::ctl {

namespace {

constexpr std::uint64_t protocol = 1;
const std::string client_name = "outriggerctl " OUTRIGGER_VERSION;

constexpr std::size_t read_bytes = std::size_t{1} << 16;

using Bytes = std::vector<std::uint8_t>;
using Packer = msgpack::packer<msgpack::sbuffer>;

void pack(Packer& packer, std::uint64_t number) { packer.pack(number); }
void pack(Packer& packer, const std::string& text) { packer.pack(text); }
void pack(Packer& packer, const std::vector<std::uint64_t>& numbers) { packer.pack(numbers); }
void pack(Packer& packer, Arguments::Binary bytes) {
  packer.pack_bin(static_cast<std::uint32_t>(bytes.size()));
  packer.pack_bin_body(reinterpret_cast<const char*>(bytes.data()),
                       static_cast<std::uint32_t>(bytes.size()));
}

void append_request(Bytes& out, std::uint64_t id, std::string_view kind,
                    const Arguments& arguments) {
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_map(static_cast<std::uint32_t>(2 + arguments.entries().size()));
  packer.pack("id");
  packer.pack(id);
  packer.pack("do");
  packer.pack(kind);
  for (const auto& [key, value] : arguments.entries()) {
    packer.pack(key);
    std::visit(Overloaded{[&](const Packed& packed) {
                            buffer.write(packed.bytes.data(), packed.bytes.size());
                          },
                          [&](const auto& plain) { pack(packer, plain); }},
               value);
  }
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
  if (!text_of(find(*value, "event")).empty())
    return Reply(std::move(frame), std::move(parser), *value);
  if (!id || !id->is(wire::Kind::unsigned_integer) || text_of(find(*value, "status")).empty())
    return not_outrigger("a reply has no id or no status");
  return Reply(std::move(frame), std::move(parser), *value);
}

std::uint64_t Reply::id() const { return is_event() ? 0 : find(value_, "id")->natural(); }

Result<void> Reply::verdict() const {
  const std::string status = text_of(find(value_, "status"));
  if (status == "ok" || is_event()) return {};
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
  if (token) append_request(requests, ++last_id_, "auth", {{"token", *token}});
  append_request(requests, ++last_id_, "hello", {{"protocol", protocol}, {"client", client_name}});
  write(requests);
  for (std::uint64_t id = 1; id <= last_id_; ++id) {
    OUTRIGGER_TRY(hello_, reply_to(id));
  }
  return {};
}

/// A server that turns a client away reads nothing, and tells why. So a failed write is no error:
/// the next read is one, or gives the reason.
void Connection::write(std::span<const std::uint8_t> bytes) {
  static_cast<void>(link_.write(bytes));
}

std::uint64_t Connection::send(std::string_view kind, const Arguments& arguments) {
  Bytes bytes;
  append_request(bytes, ++last_id_, kind, arguments);
  write(bytes);
  return last_id_;
}

Result<Reply> Connection::request(std::string_view kind, const Arguments& arguments) {
  now_doing("waiting for a reply");
  return reply_to(send(kind, arguments));
}

Result<Reply> Connection::reply_to(std::uint64_t id) {
  OUTRIGGER_TRY(const auto frame, next_frame());
  OUTRIGGER_TRY(Reply reply, Reply::parse(frame));
  OUTRIGGER_CHECK(reply.verdict());
  if (reply.id() != id) return not_outrigger("a reply has another id than its request");
  return reply;
}

Result<Reply> Connection::next_event() {
  now_doing("waiting for an event");
  OUTRIGGER_TRY(const auto frame, next_frame());
  OUTRIGGER_TRY(Reply reply, Reply::parse(frame));
  OUTRIGGER_CHECK(reply.verdict());
  if (!reply.is_event()) return not_outrigger("a reply came without a request");
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
  buffer_.resize(read_bytes);
  for (;;) {
    auto frame = frames_.take(received_);
    if (!frame) return not_outrigger(frame.error().text);
    if (*frame) return std::shared_ptr<wire::Frame>(*std::move(frame));
    OUTRIGGER_TRY(const std::size_t count, link_.read(buffer_));
    if (count == 0) return closed();
    heard_ = true;
    received_ = std::span(buffer_).first(count);
  }
}

}  // namespace outrigger::ctl
