#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outrigger::ctl {

/// `512 B`, `1.5 GiB`: with one decimal, in the largest unit that gives 1 or more.
std::string bytes_text(std::uint64_t bytes);

/// `250 ms`, `12 s`, `3 min 5 s`, `4 h 10 min`, `12 d 3 h`.
std::string duration_text(std::uint64_t milliseconds);

/// `35 µs`, `1.2 ms`, `3.4 s`, and longer times as duration_text() writes them.
std::string microseconds_text(std::uint64_t microseconds);

/// A text from the server with its control characters replaced, so that a terminal shows it as it
/// is.
std::string printable(std::string_view text);

/// Lines of a name and a value, the values below each other.
std::string table(const std::vector<std::pair<std::string, std::string>>& rows);

/// Rows of as many texts each, in columns.
std::string columns(const std::vector<std::vector<std::string>>& rows);

}  // namespace outrigger::ctl
