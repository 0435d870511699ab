#include "net/byte_size.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace outrigger::net {

namespace {

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr std::array units{
    Unit{"", 1},         Unit{"b", 1},     Unit{"kib", 0x1p10}, Unit{"kb", 1e3},
    Unit{"mib", 0x1p20}, Unit{"mb", 1e6},  Unit{"gib", 0x1p30}, Unit{"gb", 1e9},
    Unit{"tib", 0x1p40}, Unit{"tb", 1e12},
};

std::optional<double> unit_bytes(std::string_view name, std::uint64_t whole) {
  if (name == "%") return static_cast<double>(whole) / 100;
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const Unit& unit : units) {
    if (unit.name == lower) return unit.bytes;
  }
  return std::nullopt;
}

/// The limit in a control group's file; none if the file is missing or says "max".
std::optional<std::uint64_t> limit_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::uint64_t bytes = 0;
  if (file >> bytes) return bytes;
  return std::nullopt;
}

/// The least limit of a group and of those above it. A container sees its own group at the top,
/// while the path may be the one outside: then only the top is there.
std::uint64_t least_limit(const std::filesystem::path& top, std::filesystem::path group,
                          const char* file) {
  auto least = std::numeric_limits<std::uint64_t>::max();
  for (;; group = group.parent_path()) {
    if (const auto limit = limit_in(top / group.relative_path() / file))
      least = std::min(least, *limit);
    if (!group.has_relative_path()) return least;
  }
}

/// The least limit of the control groups of this process, in version 1 or 2 of control groups.
std::uint64_t control_group_limit(const std::filesystem::path& root) {
  auto least = std::numeric_limits<std::uint64_t>::max();
  std::ifstream groups(root / "proc/self/cgroup");
  // A line: number ':' controllers, separated by commas; none in the second version ':' path
  for (std::string number, controllers, group; std::getline(groups, number, ':') &&
                                               std::getline(groups, controllers, ':') &&
                                               std::getline(groups, group);) {
    const std::filesystem::path top = root / "sys/fs/cgroup";
    if (controllers.empty())
      least = std::min(least, least_limit(top, group, "memory.max"));
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      least = std::min(least, least_limit(top / "memory", group, "memory.limit_in_bytes"));
  }
  return least;
}

}  // namespace

Result<std::uint64_t> parse_byte_size(std::string_view text, std::uint64_t whole) {
  const auto wrong = [text] {
    return fail(ErrorCode::bad_request,
                std::string(text) + " is no size; write for example 2GiB, 500MB or 80%");
  };
  double count = 0;
  const auto [end, problem] =
      std::from_chars(text.data(), text.data() + text.size(), count, std::chars_format::fixed);
  if (problem != std::errc() || !(count >= 0)) return wrong();
  std::string_view name(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (name.starts_with(' ')) name.remove_prefix(1);
  const auto unit = unit_bytes(name, whole);
  if (!unit || count * *unit > 0x1p62) return wrong();
  return static_cast<std::uint64_t>(count * *unit);
}

std::uint64_t available_memory_bytes(const std::string& root) {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const std::uint64_t machine = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::min(machine, control_group_limit(root));
}

}  // namespace outrigger::net
