#include "wire/request.hpp"

#include <array>
#include <string_view>

#include <msgpack.hpp>

#include "base/text.hpp"
#include "wire/fields.hpp"
#include "wire/kernel_unit.hpp"
#include "wire/program.hpp"
#include "wire/value.hpp"

namespace outrigger::wire {

namespace {

using Body = decltype(Request::body);

/// The arguments of each reader of a request; `kind` is the request's name, for error texts.
struct Context {
  std::string_view kind;
  Value map;
  const Limits& limits;

  Result<Fields> fields(std::initializer_list<std::string_view> keys) const {
    return Fields::read(kind, map, keys);
  }
};

Result<Body> read_hello(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "protocol", "client"}));
  Hello out;
  OUTRIGGER_TRY(out.protocol, fields.integer("protocol"));
  OUTRIGGER_TRY(out.client, fields.string("client"));
  return out;
}

/// Error texts contain no part of the token.
Result<Body> read_auth(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "token"}));
  Auth out;
  OUTRIGGER_TRY(out.token, fields.string("token"));
  if (out.token.empty() || out.token.size() > Limits::token_bytes_max) {
    return fail(ErrorCode::bad_request, "auth: a token has 1 to " +
                                            std::to_string(Limits::token_bytes_max) +
                                            " bytes, got " + std::to_string(out.token.size()));
  }
  return out;
}

/// Reads a request without keys of its own.
template <typename T>
Result<Body> read_empty(const Context& context) {
  OUTRIGGER_CHECK(context.fields({"id", "do"}));
  return T{};
}

Result<Body> read_info(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "handle"}));
  Info out;
  OUTRIGGER_TRY(out.handle, fields.optional_integer("handle", 1));
  return out;
}

Result<Body> read_upload(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "handle", "dtype", "shape", "offset", "data"}));
  Upload out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.dtype, fields.string("dtype"));
  OUTRIGGER_TRY(out.shape, fields.shape("shape"));
  OUTRIGGER_TRY(out.offset, fields.integer("offset"));
  OUTRIGGER_TRY(out.data, fields.binary("data"));
  return out;
}

Result<Body> read_download(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "handle", "offset", "length"}));
  Download out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.offset, fields.integer("offset"));
  OUTRIGGER_TRY(out.length, fields.integer("length"));
  return out;
}

Result<Body> read_load(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "handle", "path", "member"}));
  Load out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.path, fields.string("path"));
  OUTRIGGER_TRY(out.member, fields.optional_string("member"));
  return out;
}

Result<Body> read_load_raw(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "handle", "path", "dtype", "shape", "offset"}));
  LoadRaw out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.path, fields.string("path"));
  OUTRIGGER_TRY(out.dtype, fields.string("dtype"));
  OUTRIGGER_TRY(out.shape, fields.shape("shape"));
  OUTRIGGER_TRY(const auto offset, fields.optional_integer("offset"));
  out.offset = offset.value_or(0);
  return out;
}

Result<Body> read_load_csv(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "handle", "path", "dtype", "separator", "header"}));
  LoadCsv out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.path, fields.string("path"));
  OUTRIGGER_TRY(out.dtype, fields.string("dtype"));
  OUTRIGGER_TRY(const auto separator, fields.optional_string("separator"));
  out.separator = separator.value_or(",");
  OUTRIGGER_TRY(out.header, fields.boolean_or("header", false));
  return out;
}

Result<Body> read_save(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "handle", "path"}));
  Save out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.path, fields.string("path"));
  return out;
}

Result<Body> read_save_npz(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "handles", "names", "path", "compress"}));
  SaveNpz out;
  OUTRIGGER_TRY(out.handles, fields.handles("handles", Limits::npz_members_max));
  OUTRIGGER_TRY(out.names, fields.strings("names"));
  if (out.names.size() != out.handles.size()) {
    return fail(ErrorCode::bad_request, "save_npz: " + std::to_string(out.names.size()) +
                                            " names for " + std::to_string(out.handles.size()) +
                                            " handles");
  }
  OUTRIGGER_TRY(out.path, fields.string("path"));
  OUTRIGGER_TRY(out.compress, fields.boolean_or("compress", false));
  return out;
}

bool has_maps(Value array) {
  for (const Value item : array.items()) {
    if (item.is(Kind::map)) return true;
  }
  return false;
}

/// Reads arguments, of which some are numbers.
Result<void> read_arguments(const Fields& fields, Value array, const Limits& limits, Run& out) {
  if (array.size() > limits.handles_max) {
    return fail(ErrorCode::limit_exceeded, "key \"args\" has " + std::to_string(array.size()) +
                                               " arguments, at most " +
                                               std::to_string(limits.handles_max) + " are allowed");
  }
  out.args.reserve(array.size());
  for (const Value item : array.items()) {
    if (item.is(Kind::map)) {
      OUTRIGGER_TRY(const Number number, read_literal(item));
      out.numbers.emplace_back(static_cast<std::uint32_t>(out.args.size()), number);
      out.args.push_back(0);
    } else if (item.is(Kind::unsigned_integer) && item.natural() > 0 &&
               item.natural() <= integer_max) {
      out.args.push_back(item.natural());
    } else {
      return fields.mistyped("args", "an array of handles and literals", item);
    }
  }
  return {};
}

/// Reads the keys that `run` and `call` share.
Result<Run> read_execution(const Fields& fields, const Limits& limits) {
  Run out;
  const Value* args = fields.find("args");
  if (args != nullptr && args->is(Kind::array) && has_maps(*args)) {
    OUTRIGGER_CHECK(read_arguments(fields, *args, limits, out));
  } else {
    OUTRIGGER_TRY(out.args, fields.handles("args", limits.handles_max));
  }
  OUTRIGGER_TRY(out.results, fields.handles("results", limits.results_max));
  OUTRIGGER_TRY(out.atomic, fields.boolean_or("atomic", false));
  OUTRIGGER_TRY(out.deadline_ms, fields.optional_integer("deadline_ms", 0, UINT64_MAX));
  OUTRIGGER_TRY(out.profile, fields.boolean_or("profile", false));
  OUTRIGGER_TRY(out.donated, fields.optional_handles("donated", limits.handles_max));
  return out;
}

Result<Body> read_run(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "program", "args", "results", "atomic", "deadline_ms",
                                "profile", "donated"}));
  OUTRIGGER_TRY(Run out, read_execution(fields, context.limits));
  OUTRIGGER_TRY(const Value program, fields.map("program"));
  OUTRIGGER_TRY(out.program, read_program(context.kind, program, context.limits));
  return out;
}

Result<Body> read_call(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "program_id", "args", "results", "atomic",
                                "deadline_ms", "profile", "donated"}));
  OUTRIGGER_TRY(Run out, read_execution(fields, context.limits));
  OUTRIGGER_TRY(out.program_id, fields.integer("program_id", 1));
  return out;
}

Result<Body> read_prepare(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "program_id", "program", "handle"}));
  Prepare out;
  OUTRIGGER_TRY(out.program_id, fields.integer("program_id", 1));
  OUTRIGGER_TRY(out.handle, fields.optional_integer("handle", 1));
  if (out.handle) {
    if (fields.find("program") == nullptr) return out;
    return fail(ErrorCode::bad_request,
                R"(prepare: the keys "program" and "handle" exclude each other)");
  }
  OUTRIGGER_TRY(const Value program, fields.map("program"));
  OUTRIGGER_TRY(out.program, read_program(context.kind, program, context.limits));
  return out;
}

Result<Body> read_forget(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "program_id"}));
  Forget out;
  OUTRIGGER_TRY(out.program_id, fields.integer("program_id", 1));
  return out;
}

Result<Body> read_define_kernel(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "kernel_id", "unit"}));
  DefineKernel out;
  OUTRIGGER_TRY(out.kernel_id, fields.integer("kernel_id", 1));
  OUTRIGGER_TRY(const Value unit, fields.map("unit"));
  OUTRIGGER_TRY(out.unit, read_kernel_unit(unit));
  return out;
}

Result<Body> read_forget_kernel(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "kernel_id"}));
  ForgetKernel out;
  OUTRIGGER_TRY(out.kernel_id, fields.integer("kernel_id", 1));
  return out;
}

Result<Body> read_release(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "handles"}));
  Release out;
  OUTRIGGER_TRY(out.handles, fields.handles("handles", context.limits.handles_max));
  return out;
}

Result<void> check_name(std::string_view kind, std::string_view name) {
  if (!name.empty() && name.size() <= Limits::name_bytes_max && is_text(name)) return {};
  return fail(ErrorCode::bad_request,
              std::string(kind) + ": a name has 1 to " + std::to_string(Limits::name_bytes_max) +
                  " bytes of UTF-8 without control characters, got " + quoted(name));
}

Result<std::string> read_name(const Context& context, const Fields& fields) {
  OUTRIGGER_TRY(std::string name, fields.string("name"));
  OUTRIGGER_CHECK(check_name(context.kind, name));
  return name;
}

Result<Body> read_publish(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "handle", "name", "expect", "ttl_ms"}));
  Publish out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.name, read_name(context, fields));
  OUTRIGGER_TRY(out.expect, fields.optional_integer("expect"));
  OUTRIGGER_TRY(out.ttl_ms, fields.optional_integer("ttl_ms", 1));
  return out;
}

Result<Body> read_open(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "handle", "name", "version", "live"}));
  Open out;
  OUTRIGGER_TRY(out.handle, fields.handle("handle"));
  OUTRIGGER_TRY(out.name, read_name(context, fields));
  OUTRIGGER_TRY(out.version, fields.optional_integer("version", 1));
  OUTRIGGER_TRY(out.live, fields.boolean_or("live", false));
  return out;
}

Result<Body> read_names(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "prefix", "after", "limit"}));
  ListNames out;
  OUTRIGGER_TRY(const auto prefix, fields.optional_string("prefix"));
  out.prefix = prefix.value_or("");
  OUTRIGGER_TRY(out.after, fields.optional_string("after"));
  OUTRIGGER_TRY(const auto limit, fields.optional_integer("limit", 1, Limits::names_listed_max));
  out.limit = limit.value_or(Limits::names_listed_max);
  return out;
}

Result<Body> read_unpublish(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "name", "expect"}));
  Unpublish out;
  OUTRIGGER_TRY(out.name, read_name(context, fields));
  OUTRIGGER_TRY(out.expect, fields.optional_integer("expect", 1));
  return out;
}

Result<Body> read_subscribe(const Context& context) {
  OUTRIGGER_TRY(const Fields fields,
                context.fields({"id", "do", "subscription", "name", "prefix"}));
  Subscribe out;
  OUTRIGGER_TRY(out.subscription, fields.integer("subscription", 1));
  out.prefix = fields.find("prefix") != nullptr;
  if (out.prefix == (fields.find("name") != nullptr)) {
    return fail(ErrorCode::bad_request,
                R"(subscribe: exactly one of the keys "name" and "prefix" must be there)");
  }
  if (!out.prefix) {
    OUTRIGGER_TRY(out.pattern, read_name(context, fields));
    return out;
  }
  OUTRIGGER_TRY(out.pattern, fields.string("prefix"));
  if (out.pattern.size() > Limits::name_bytes_max)
    return fail(ErrorCode::bad_request, "subscribe: a prefix has at most " +
                                            std::to_string(Limits::name_bytes_max) + " bytes");
  return out;
}

Result<Body> read_unsubscribe(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "subscription"}));
  Unsubscribe out;
  OUTRIGGER_TRY(out.subscription, fields.integer("subscription", 1));
  return out;
}

Result<Body> read_cancel(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "request", "session"}));
  Cancel out;
  OUTRIGGER_TRY(out.request, fields.integer("request", 1, UINT64_MAX));
  OUTRIGGER_TRY(out.session, fields.optional_integer("session", 1));
  return out;
}

Result<Body> read_sessions(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "after", "limit"}));
  ListSessions out;
  OUTRIGGER_TRY(const auto after, fields.optional_integer("after"));
  OUTRIGGER_TRY(const auto limit, fields.optional_integer("limit", 1, sessions_listed_max));
  out.after = after.value_or(0);
  out.limit = limit.value_or(sessions_listed_max);
  return out;
}

Result<Body> read_slowlog(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "limit"}));
  OUTRIGGER_TRY(const auto limit, fields.optional_integer("limit", 1, slow_entries_max));
  return SlowLog{limit.value_or(slow_entries_max)};
}

Result<Body> read_monitor(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "on"}));
  Monitor out;
  OUTRIGGER_TRY(out.on, fields.boolean_or("on", true));
  return out;
}

Result<Body> read_kick(const Context& context) {
  OUTRIGGER_TRY(const Fields fields, context.fields({"id", "do", "session"}));
  Kick out;
  OUTRIGGER_TRY(out.session, fields.integer("session", 1));
  return out;
}

struct KindRow {
  std::string_view name;
  Result<Body> (*read)(const Context&);
};

constexpr std::array kinds{
    KindRow{"run", read_run},
    KindRow{"call", read_call},
    KindRow{"release", read_release},
    KindRow{"upload", read_upload},
    KindRow{"download", read_download},
    KindRow{"ping", read_empty<Ping>},
    KindRow{"info", read_info},
    KindRow{"prepare", read_prepare},
    KindRow{"forget", read_forget},
    KindRow{"define_kernel", read_define_kernel},
    KindRow{"forget_kernel", read_forget_kernel},
    KindRow{"cancel", read_cancel},
    KindRow{"load_raw", read_load_raw},
    KindRow{"load_csv", read_load_csv},
    KindRow{"load", read_load},
    KindRow{"save", read_save},
    KindRow{"save_npz", read_save_npz},
    KindRow{"hello", read_hello},
    KindRow{"bye", read_empty<Bye>},
    KindRow{"auth", read_auth},
    KindRow{"publish", read_publish},
    KindRow{"open", read_open},
    KindRow{"names", read_names},
    KindRow{"unpublish", read_unpublish},
    KindRow{"subscribe", read_subscribe},
    KindRow{"unsubscribe", read_unsubscribe},
    KindRow{"checkpoint", read_empty<Checkpoint>},
    KindRow{"sessions", read_sessions},
    KindRow{"stats", read_empty<Stats>},
    KindRow{"slowlog", read_slowlog},
    KindRow{"monitor", read_monitor},
    KindRow{"kick", read_kick},
};

/// The first entry under `key`, if there is one. A repeated key is found when the request is read.
std::optional<Value> look_up(Value map, std::string_view key) {
  for (const auto [name, value] : map.entries()) {
    if (name == key) return value;
  }
  return std::nullopt;
}

Refusal malformed(std::string_view problem) {
  return {0, Error{ErrorCode::bad_frame, "the frame " + std::string(problem)}};
}

Result<Body> read_body(Value map, const Limits& limits) {
  const auto kind = look_up(map, "do");
  if (!kind) return fail(ErrorCode::bad_request, R"(key "do" is missing)");
  if (!kind->is(Kind::string)) {
    return fail(ErrorCode::bad_request, R"(key "do" must be a string, got )" + describe(*kind));
  }
  for (const KindRow& row : kinds) {
    if (row.name == kind->string()) return row.read({row.name, map, limits});
  }
  return fail(ErrorCode::bad_request, "unknown kind of request " + quoted(kind->string()));
}

tl::expected<Request, Refusal> read_request(Value map, const Limits& limits) {
  if (!map.is(Kind::map)) {
    return tl::make_unexpected(malformed("must hold a map, not " + describe(map)));
  }
  const auto id = look_up(map, "id");
  if (!id) return tl::make_unexpected(malformed(R"(has no key "id")"));
  if (!id->is(Kind::unsigned_integer) || id->natural() == 0) {
    return tl::make_unexpected(
        malformed(R"(has no usable "id": it must be an integer from 1, got )" + describe(*id)));
  }
  auto body = read_body(map, limits);
  if (!body) return tl::make_unexpected(Refusal{id->natural(), std::move(body).error()});
  return Request{id->natural(), *std::move(body)};
}

}  // namespace

struct Decoder::Impl {
  Limits limits;
  ValueParser parser;
};

Decoder::Decoder(const Limits& limits) : impl_(new Impl{limits, ValueParser(limits)}) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

void Decoder::trim() { impl_->parser = ValueParser(impl_->limits); }

namespace {

/// Finds the value of "id" in the outermost map.
class IdFinder : public msgpack::null_visitor {
 public:
  std::uint64_t id = 0;

  bool start_map_key() {
    at_key_ = depth_ == 1;
    return true;
  }
  bool end_map_key() {
    at_key_ = false;
    return true;
  }
  bool start_map_value() { return true; }
  bool visit_str(const char* bytes, std::uint32_t size) {
    if (at_key_) at_id_ = std::string_view(bytes, size) == "id";
    return true;
  }
  bool visit_positive_integer(std::uint64_t value) {
    if (at_id_ && depth_ == 1) id = value;
    return id == 0;
  }
  bool start_map(std::uint32_t) { return ++depth_ <= depth_max; }
  bool end_map() { return --depth_ >= 0; }
  bool start_array(std::uint32_t) { return ++depth_ <= depth_max; }
  bool end_array() { return --depth_ >= 0; }

 private:
  /// The limit for nesting, because the stack of msgpack grows with it.
  static constexpr int depth_max = 1 << 10;
  int depth_ = 0;
  bool at_key_ = false;
  bool at_id_ = false;
};

}  // namespace

std::uint64_t Decoder::find_id(std::span<const std::uint8_t> payload) {
  IdFinder finder;
  std::size_t offset = 0;
  try {
    msgpack::parse(reinterpret_cast<const char*>(payload.data()), payload.size(), offset, finder);
  } catch (const msgpack::unpack_error&) {
    return 0;
  }
  return finder.id;
}

std::uint64_t held_bytes(const Body& body) {
  const auto list = [](const auto& items) { return items.capacity() * sizeof(items[0]); };
  if (const auto* run = std::get_if<Run>(&body)) {
    return list(run->args) + list(run->results) + list(run->donated) + list(run->numbers) +
           (run->program ? held_bytes(*run->program) : 0);
  }
  if (const auto* prepare = std::get_if<Prepare>(&body))
    return prepare->program ? held_bytes(*prepare->program) : 0;
  if (const auto* define = std::get_if<DefineKernel>(&body)) return held_bytes(define->unit);
  if (const auto* release = std::get_if<Release>(&body)) return list(release->handles);
  if (const auto* save = std::get_if<SaveNpz>(&body)) {
    std::uint64_t bytes = list(save->handles) + list(save->names);
    for (const std::string& name : save->names) bytes += name.capacity();
    return bytes;
  }
  return 0;
}

tl::expected<Request, Refusal> Decoder::decode(std::span<const std::uint8_t> payload) {
  const auto value = impl_->parser.parse(payload);
  if (!value) return tl::make_unexpected(malformed(value.error()));
  return read_request(*value, impl_->limits);
}

}  // namespace outrigger::wire
