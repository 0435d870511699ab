#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "files/csv_text.hpp"
#include "tensor/dtype.hpp"

namespace outrigger::files {

/// Bytes of a field with a number in it, at most.
inline constexpr std::size_t number_bytes_max = 4096;

/// Takes the next line off a text, without its LF.
std::string_view next_line(std::string_view& text, Scan& scan);

/// Whether a line has neither a field's content nor a separator.
bool is_blank(std::string_view line, char separator, Scan& scan);

/// Takes the next field off a line: up to the separator, which goes too. Within double quotes,
/// which begin a field, separators count for nothing, and two quotes are one of the content. What
/// is left is null (not only empty) after the last field. `open` tells whether the line ended
/// within quotes, and, if it is true before, that the line begins there.
std::string_view next_field(std::string_view& line, char separator, Scan& scan, bool& open);

/// The fields of a line of numbers.
std::int64_t count_fields(std::string_view line, char separator, Scan& scan);

/// Writes the number of a field as an element of `dtype`, which is not complex; there may be spaces
/// and quotes around it. Gives what is wrong with it, for people; empty if nothing is.
std::string parse_field(std::string_view field, DType dtype, std::byte* element);

}  // namespace outrigger::files
