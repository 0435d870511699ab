#include "ctl/json.hpp"

#include <cmath>
#include <cstdio>

namespace outrigger::ctl {

namespace {

void append(std::string& out, wire::Value value);

void append_real(std::string& out, double real) {
  if (!std::isfinite(real)) {
    out += "null";
    return;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", real);
  out += text;
}

void append_array(std::string& out, wire::Value array) {
  out += '[';
  const char* separator = "";
  for (const wire::Value item : array.items()) {
    out += separator;
    append(out, item);
    separator = ", ";
  }
  out += ']';
}

void append_map(std::string& out, wire::Value map) {
  out += '{';
  const char* separator = "";
  for (const auto& [key, value] : map.entries()) {
    out += separator + json_string(key) + ": ";
    append(out, value);
    separator = ", ";
  }
  out += '}';
}

void append(std::string& out, wire::Value value) {
  switch (value.kind()) {
    case wire::Kind::boolean:
      out += value.boolean() ? "true" : "false";
      return;
    case wire::Kind::unsigned_integer:
      out += std::to_string(value.natural());
      return;
    case wire::Kind::negative_integer:
      out += std::to_string(value.negative());
      return;
    case wire::Kind::real:
      return append_real(out, value.real());
    case wire::Kind::string:
      out += json_string(value.string());
      return;
    case wire::Kind::array:
      return append_array(out, value);
    case wire::Kind::map:
      return append_map(out, value);
    case wire::Kind::nil:
    case wire::Kind::binary:
      break;
  }
  out += "null";
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string to_json(wire::Value value) {
  std::string out;
  append(out, value);
  return out;
}

}  // namespace outrigger::ctl
