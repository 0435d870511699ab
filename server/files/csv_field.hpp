#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "files/csv_text.hpp"
#include "tensor/dtype.hpp"

namespace outrigger::files {

/// The largest length of a field that contains a number, in bytes.
inline constexpr std::size_t number_bytes_max = 4096;

/// Removes the next line from a text, and returns it without its LF.
std::string_view next_line(std::string_view& text, Scan& scan);

/// True if a line has no contents of a field and no separator.
bool is_blank(std::string_view line, char separator, Scan& scan);

/// Removes the next field and its separator from a line, and returns the field. A field may begin
/// with double quotes. Inside them, a separator is a part of the contents, and two quotes are one
/// quote. After the last field, the rest of the line is null (not only empty). `open` is true
/// before the call if the line begins inside quotes, and true after it if the line ended inside
/// quotes.
std::string_view next_field(std::string_view& line, char separator, Scan& scan, bool& open);

/// The number of fields in a line.
std::int64_t count_fields(std::string_view line, char separator, Scan& scan);

/// Writes the number of a field as an element of `dtype`, which must not be complex. Spaces and
/// quotes may be around the number. Returns a text for the user that describes the mistake, or an
/// empty text.
std::string parse_field(std::string_view field, DType dtype, std::byte* element);

}  // namespace outrigger::files
