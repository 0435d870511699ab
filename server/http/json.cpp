#include "http/json.hpp"

#include <cmath>
#include <cstdio>

namespace outrigger::http {

void JsonWriter::separate() {
  if (!first_) out_ += ',';
  first_ = false;
}

void JsonWriter::begin(char bracket) {
  separate();
  out_ += bracket;
  first_ = true;
}

void JsonWriter::end(char bracket) {
  out_ += bracket;
  first_ = false;
}

void JsonWriter::quote(std::string_view text) {
  out_ += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      out_ += code;
    } else {
      out_ += c;
    }
  }
  out_ += '"';
}

void JsonWriter::key(std::string_view name) {
  separate();
  quote(name);
  out_ += ':';
  first_ = true;
}

void JsonWriter::text(std::string_view text) {
  separate();
  quote(text);
}

void JsonWriter::number(std::uint64_t number) {
  separate();
  out_ += std::to_string(number);
}

void JsonWriter::real(double number) {
  if (!std::isfinite(number)) return nil();
  separate();
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.17g", number);
  out_ += digits;
}

void JsonWriter::boolean(bool value) {
  separate();
  out_ += value ? "true" : "false";
}

void JsonWriter::nil() {
  separate();
  out_ += "null";
}

}  // namespace outrigger::http
