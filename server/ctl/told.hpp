#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/value.hpp"

namespace outrigger::ctl {

/// Entries of a map as texts; empty for those that the server does not tell.
class Told {
 public:
  explicit Told(std::optional<wire::Value> map) : map_(map) {}

  std::optional<wire::Value> at(std::string_view key) const;
  std::string text(std::string_view key) const;
  std::string count(std::string_view key) const;
  std::string bytes(std::string_view key) const;
  std::string duration(std::string_view key) const;
  /// The text of a duration in microseconds.
  std::string microseconds(std::string_view key) const;
  /// A time in milliseconds since 1970: "2026-11-30 12:00:00 UTC".
  std::string time(std::string_view key) const;
  std::string list(std::string_view key) const;
  /// False if the server does not tell it.
  bool flag(std::string_view key) const;
  std::optional<std::uint64_t> natural(std::string_view key) const;

 private:
  std::optional<wire::Value> map_;
};

}  // namespace outrigger::ctl
