#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace outrigger::http {

/// Writes JSON, with the commas between items.
class JsonWriter {
 public:
  void begin_object() { begin('{'); }
  void end_object() { end('}'); }
  void begin_array() { begin('['); }
  void end_array() { end(']'); }
  void key(std::string_view name);
  void text(std::string_view text);
  void number(std::uint64_t number);
  void real(double number);
  void boolean(bool value);
  void nil();

  void entry(std::string_view name, std::string_view value) {
    key(name);
    text(value);
  }
  void entry(std::string_view name, std::uint64_t value) {
    key(name);
    number(value);
  }

  std::string take() { return std::move(out_); }

 private:
  void begin(char bracket);
  void end(char bracket);
  void separate();
  void quote(std::string_view text);

  std::string out_;
  bool first_ = true;  ///< nothing stands before the next item, or its key does
};

}  // namespace outrigger::http
