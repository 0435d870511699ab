#include "ctl/told.hpp"

#include <array>
#include <ctime>

#include "ctl/connection.hpp"
#include "ctl/text.hpp"

namespace outrigger::ctl {

using wire::Kind;
using wire::Value;

std::optional<Value> Told::at(std::string_view key) const {
  return map_ ? find(*map_, key) : std::nullopt;
}

std::string Told::text(std::string_view key) const {
  const auto value = at(key);
  return value && value->is(Kind::string) ? printable(value->string()) : "";
}

std::string Told::count(std::string_view key) const {
  const auto value = natural(key);
  return value ? std::to_string(*value) : "";
}

std::string Told::bytes(std::string_view key) const {
  const auto value = natural(key);
  return value ? bytes_text(*value) : "";
}

std::string Told::duration(std::string_view key) const {
  const auto value = natural(key);
  return value ? duration_text(*value) : "";
}

std::string Told::microseconds(std::string_view key) const {
  const auto value = natural(key);
  return value ? microseconds_text(*value) : "";
}

std::string Told::time(std::string_view key) const {
  const auto value = natural(key);
  if (!value) return "";
  const auto seconds = static_cast<std::time_t>(*value / 1000);
  std::tm parts{};
  std::array<char, 64> out{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return count(key) + " ms";
  std::strftime(out.data(), out.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return out.data();
}

std::string Told::list(std::string_view key) const {
  std::string out;
  const auto value = at(key);
  if (!value || !value->is(Kind::array)) return out;
  for (const Value item : value->items()) {
    if (!item.is(Kind::string)) continue;
    out += (out.empty() ? "" : ", ") + printable(item.string());
  }
  return out;
}

bool Told::flag(std::string_view key) const {
  const auto value = at(key);
  return value && value->is(Kind::boolean) && value->boolean();
}

std::optional<std::uint64_t> Told::natural(std::string_view key) const {
  const auto value = at(key);
  if (!value || !value->is(Kind::unsigned_integer)) return std::nullopt;
  return value->natural();
}

}  // namespace outrigger::ctl
