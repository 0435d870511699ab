#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Text for people, which may have bytes of a client in it: names of ops, paths.
namespace outrigger {

/// Bytes of the UTF-8 character that `text` begins with; 0 if it is none, or not printable.
std::size_t character_bytes(std::string_view text);

/// True if the text is UTF-8 without control characters.
bool is_text(std::string_view text);

/// `text` with \xNN for each byte that is no text.
std::string as_text(std::string_view text);

}  // namespace outrigger
