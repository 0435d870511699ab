#include "ctl/text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace outrigger::ctl {

namespace {

/// UTF-8 has one byte for each character that does not continue another.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto count = static_cast<double>(bytes);
  std::size_t unit = 0;
  // From here on, "%.1f" would write 1024.0.
  while (count >= 1023.95 && unit + 1 < units.size()) {
    count /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", count, units[unit]);
  return text;
}

std::string duration_text(std::uint64_t milliseconds) {
  struct Unit {
    std::uint64_t milliseconds;
    const char* name;
  };
  constexpr std::array<Unit, 5> units{
      {{86'400'000, "d"}, {3'600'000, "h"}, {60'000, "min"}, {1000, "s"}, {1, "ms"}}};
  constexpr std::size_t seconds = 3;
  std::size_t unit = 0;
  while (unit + 1 < units.size() && milliseconds < units[unit].milliseconds) ++unit;
  std::string out =
      std::to_string(milliseconds / units[unit].milliseconds) + " " + units[unit].name;
  if (unit >= seconds) return out;
  const std::uint64_t rest = milliseconds % units[unit].milliseconds / units[unit + 1].milliseconds;
  return rest == 0 ? out : out + " " + std::to_string(rest) + " " + units[unit + 1].name;
}

std::string microseconds_text(std::uint64_t microseconds) {
  if (microseconds < 1000) return std::to_string(microseconds) + " µs";
  if (microseconds >= 60'000'000) return duration_text(microseconds / 1000);
  const bool seconds = microseconds >= 999'950;
  char text[32];
  std::snprintf(text, sizeof text, seconds ? "%.1f s" : "%.1f ms",
                static_cast<double>(microseconds) / (seconds ? 1e6 : 1e3));
  return text;
}

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

std::string table(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t width = 0;
  for (const auto& [name, value] : rows) width = std::max(width, name.size());
  std::string out;
  for (const auto& [name, value] : rows)
    out.append(name).append(width + 2 - name.size(), ' ').append(value).append(1, '\n');
  return out;
}

std::string columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line.append(row[i]).append(widths[i] + 2 - width_of(row[i]), ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

}  // namespace outrigger::ctl
