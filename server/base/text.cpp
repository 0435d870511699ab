#include "base/text.hpp"

namespace outrigger {

std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
  const unsigned first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  if (!continues(1) || first < 0xC2 || first > 0xF4) return 0;
  // C1 control characters; then overlong forms, surrogates, and what is beyond U+10FFFF.
  if (first < 0xE0) return first == 0xC2 && at(1) < 0xA0 ? 0 : 2;
  if (!continues(2) || (first == 0xE0 && at(1) < 0xA0) || (first == 0xED && at(1) >= 0xA0))
    return 0;
  if (first < 0xF0) return 3;
  if (!continues(3) || (first == 0xF0 && at(1) < 0x90) || (first == 0xF4 && at(1) >= 0x90))
    return 0;
  return 4;
}

bool is_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string as_text(std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    if (bytes > 0) {
      out += text.substr(0, bytes);
    } else {
      const auto byte = static_cast<unsigned char>(text.front());
      out += {'\\', 'x', hex[byte >> 4U], hex[byte & 15U]};
    }
    text.remove_prefix(bytes > 0 ? bytes : 1);
  }
  return out;
}

}  // namespace outrigger
