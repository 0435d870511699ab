#include "support/reply.hpp"

#include <msgpack.hpp>
#include <stdexcept>
#include <string_view>

namespace outrigger::test {
namespace {

using Object = msgpack::object;

void place_of(const Object& map, Reply::Error& error) {
  for (const auto& [key, value] : map.via.map) {
    const auto name = key.as<std::string_view>();
    if (name == "file")
      error.file = value.as<std::string>();
    else if (name == "line")
      error.line = value.as<std::uint32_t>();
    else
      throw std::runtime_error("unknown key in a place: " + std::string(name));
  }
}

Reply::Error error_of(const Object& map) {
  Reply::Error error;
  for (const auto& [key, value] : map.via.map) {
    const auto name = key.as<std::string_view>();
    if (name == "code")
      error.code = value.as<std::string>();
    else if (name == "text")
      error.text = value.as<std::string>();
    else if (name == "op")
      error.op = value.as<std::string>();
    else if (name == "index")
      error.index = value.as<std::vector<std::uint32_t>>();
    else if (name == "written")
      error.written = value.as<std::vector<std::uint64_t>>();
    else if (name == "at")
      place_of(value, error);
    else if (name == "cause")
      error.cause.push_back(error_of(value));
    else
      throw std::runtime_error("unknown key in an error: " + std::string(name));
  }
  return error;
}

Reply::Result result_of(const Object& map) {
  Reply::Result result;
  for (const auto& [key, value] : map.via.map) {
    const auto name = key.as<std::string_view>();
    if (name == "handle")
      result.handle = value.as<std::uint64_t>();
    else if (name == "dtype")
      result.dtype = value.as<std::string>();
    else if (name == "shape")
      result.shape = value.as<std::vector<std::int64_t>>();
    else
      throw std::runtime_error("unknown key in a result: " + std::string(name));
  }
  return result;
}

Reply::Name name_of(const Object& map) {
  Reply::Name out;
  for (const auto& [key, value] : map.via.map) {
    const auto name = key.as<std::string_view>();
    if (name == "name")
      out.name = value.as<std::string>();
    else if (name == "version")
      out.version = value.as<std::uint64_t>();
    else if (name == "dtype")
      out.dtype = value.as<std::string>();
    else if (name == "shape")
      out.shape = value.as<std::vector<std::int64_t>>();
    else if (name == "bytes")
      out.bytes = value.as<std::uint64_t>();
    else if (name == "token")
      out.token = value.as<std::string>();
    else if (name != "ttl_ms")
      throw std::runtime_error("unknown key of a name: " + std::string(name));
    else if (!value.is_nil())
      out.ttl_ms = value.as<std::uint64_t>();
  }
  return out;
}

void read(Reply& reply, const std::string& key, const Object& value) {
  if (key == "id") {
    reply.id = value.as<std::uint64_t>();
  } else if (key == "status") {
    reply.status = value.as<std::string>();
  } else if (key == "error") {
    reply.error = error_of(value);
  } else if (key == "results") {
    for (const Object& result : value.via.array) reply.results.push_back(result_of(result));
  } else if (key == "names") {
    for (const Object& name : value.via.array) reply.names.push_back(name_of(name));
  } else if (key == "tenants") {
    for (const Object& tenant : value.via.array) {
      std::string token;
      for (const auto& [inner, text] : tenant.via.map) {
        if (inner.as<std::string_view>() == "token") token = text.as<std::string>();
      }
      read(reply, "tenants." + token, tenant);
    }
  } else if (value.type == msgpack::type::ARRAY &&
             (key == "sessions" || key == "kinds" || key == "entries")) {
    for (std::uint32_t i = 0; i < value.via.array.size; ++i) {
      const Object& item = value.via.array.ptr[i];
      std::string name = std::to_string(i);
      for (const auto& [inner, text] : item.via.map) {
        const auto label = inner.as<std::string_view>();
        if (key == "sessions" && label == "session") name = std::to_string(text.via.u64);
        if (key == "kinds" && label == "kind") name = text.as<std::string>();
      }
      read(reply, key + "." + name, item);
    }
  } else if (key == "shape") {
    reply.shape = value.as<std::vector<std::int64_t>>();
  } else if (value.type == msgpack::type::BIN) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(value.via.bin.ptr);
    reply.data.assign(begin, begin + value.via.bin.size);
  } else if (value.type == msgpack::type::POSITIVE_INTEGER) {
    reply.numbers[key] = value.via.u64;
  } else if (value.type == msgpack::type::BOOLEAN) {
    reply.flags[key] = value.via.boolean;
  } else if (value.type == msgpack::type::STR) {
    reply.strings[key] = value.as<std::string>();
  } else if (key.ends_with("rights")) {
    for (const Object& right : value.via.array)
      reply.strings[key] += (reply.strings[key].empty() ? "" : ",") + right.as<std::string>();
  } else if (value.type == msgpack::type::MAP) {
    for (const auto& [inner, number] : value.via.map) {
      read(reply, key + "." + inner.as<std::string>(), number);
    }
  }
}

}  // namespace

std::string Reply::text() const {
  if (!error) return status;
  std::string out = status + " " + error->code + " in " + error->op + "[";
  for (std::size_t i = 0; i < error->index.size(); ++i) {
    out += (i > 0 ? ", " : "") + std::to_string(error->index[i]);
  }
  return out + "]: " + error->text;
}

Reply decode_reply(std::span<const std::uint8_t> payload) {
  const auto handle =
      msgpack::unpack(reinterpret_cast<const char*>(payload.data()), payload.size());
  if (handle.get().type != msgpack::type::MAP) throw std::runtime_error("a reply that is no map");
  Reply reply;
  for (const auto& [key, value] : handle.get().via.map) {
    read(reply, key.as<std::string>(), value);
  }
  return reply;
}

}  // namespace outrigger::test
