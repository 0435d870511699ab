#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tensor/dtype.hpp"

namespace outrigger::files {

/// Takes the next field off a line: up to the separator, which goes too, but not one within double
/// quotes. What is left is null (not only empty) after the last field.
std::string_view next_field(std::string_view& line, char separator);

/// The field's content, without spaces and quotes around it.
std::string_view field_content(std::string_view field);

/// Writes a field's number as an element of `dtype`, which is not complex. Gives what is wrong with
/// it, for people; empty if nothing is.
std::string parse_field(std::string_view content, DType dtype, std::byte* element);

}  // namespace outrigger::files
