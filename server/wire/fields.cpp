#include "wire/fields.hpp"

#include <algorithm>
#include <cassert>

namespace outrigger::wire {

namespace {

std::string in(std::string_view where, std::string_view key) {
  return std::string(where) + ": key " + quoted(key);
}

bool in_range(Value value, std::uint64_t min, std::uint64_t max) {
  return value.is(Kind::unsigned_integer) && value.natural() >= min && value.natural() <= max;
}

}  // namespace

std::string quoted(std::string_view text) {
  constexpr std::size_t shown_max = 64;
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text.substr(0, shown_max)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e || c == '"' || c == '\\') {
      out += {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
    } else {
      out += c;
    }
  }
  return out + (text.size() > shown_max ? "…\"" : "\"");
}

std::string describe(Value value) {
  switch (value.kind()) {
    case Kind::nil:
      return "nil";
    case Kind::boolean:
      return value.boolean() ? "true" : "false";
    case Kind::unsigned_integer:
      return "the integer " + std::to_string(value.natural());
    case Kind::negative_integer:
      return "the integer " + std::to_string(value.negative());
    case Kind::real:
      return "a float";
    case Kind::string:
      return "a string";
    case Kind::binary:
      return "a binary";
    case Kind::array:
      return "an array";
    case Kind::map:
      return "a map";
  }
  return "";
}

Result<Fields> Fields::read(std::string_view where, Value map,
                            std::initializer_list<std::string_view> keys) {
  assert(keys.size() <= keys_max && map.is(Kind::map));
  Fields fields;
  fields.where_ = where;
  fields.count_ = keys.size();
  std::copy(keys.begin(), keys.end(), fields.keys_.begin());
  for (const auto [key, value] : map.entries()) {
    const auto* const slot = std::find(keys.begin(), keys.end(), key);
    if (slot == keys.end()) {
      return fail(ErrorCode::bad_request, std::string(where) + ": unknown key " + quoted(key));
    }
    auto& stored = fields.values_[static_cast<std::size_t>(slot - keys.begin())];
    if (stored) return fail(ErrorCode::bad_request, in(where, key) + " appears twice");
    stored = value;
  }
  return fields;
}

const Value* Fields::find(std::string_view key) const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (keys_[i] == key) return values_[i] ? &*values_[i] : nullptr;
  }
  assert(false && "a key that read() was not told");
  return nullptr;
}

tl::unexpected<Error> Fields::mistyped(std::string_view key, std::string_view expected,
                                       Value got) const {
  return fail(ErrorCode::bad_request,
              in(where_, key) + " must be " + std::string(expected) + ", got " + describe(got));
}

Result<Value> Fields::require(std::string_view key) const {
  if (const Value* value = find(key)) return *value;
  return fail(ErrorCode::bad_request, in(where_, key) + " is missing");
}

Result<Value> Fields::require(std::string_view key, Kind kind, std::string_view expected) const {
  OUTRIGGER_TRY(const Value value, require(key));
  if (!value.is(kind)) return mistyped(key, expected, value);
  return value;
}

Result<std::uint64_t> Fields::integer(std::string_view key, std::uint64_t min,
                                      std::uint64_t max) const {
  OUTRIGGER_TRY(const Value value, require(key));
  if (!in_range(value, min, max)) {
    return mistyped(key, "an integer from " + std::to_string(min) + " to " + std::to_string(max),
                    value);
  }
  return value.natural();
}

Result<std::string> Fields::string(std::string_view key) const {
  OUTRIGGER_TRY(const Value value, require(key, Kind::string, "a string"));
  return std::string(value.string());
}

Result<std::vector<std::string>> Fields::strings(std::string_view key) const {
  constexpr std::string_view expected = "an array of strings";
  OUTRIGGER_TRY(const Value array, require(key, Kind::array, expected));
  std::vector<std::string> out;
  out.reserve(array.size());
  for (const Value item : array.items()) {
    if (!item.is(Kind::string)) return mistyped(key, expected, item);
    out.emplace_back(item.string());
  }
  return out;
}

Result<std::span<const std::uint8_t>> Fields::binary(std::string_view key) const {
  OUTRIGGER_TRY(const Value value, require(key, Kind::binary, "a binary"));
  return value.binary();
}

template <typename T>
Result<std::vector<T>> Fields::integers(std::string_view key, std::string_view expected,
                                        std::uint64_t min, std::uint64_t max) const {
  OUTRIGGER_TRY(const Value array, require(key, Kind::array, expected));
  std::vector<T> out;
  out.reserve(array.size());
  for (const Value item : array.items()) {
    if (!in_range(item, min, max)) {
      return fail(ErrorCode::bad_request, in(where_, key) + " must be " + std::string(expected) +
                                              ", got " + describe(item) + " at position " +
                                              std::to_string(out.size()));
    }
    out.push_back(static_cast<T>(item.natural()));
  }
  return out;
}

Result<std::vector<std::uint64_t>> Fields::handles(std::string_view key,
                                                   std::uint64_t count_max) const {
  OUTRIGGER_TRY(auto out, integers<std::uint64_t>(key, "an array of handles", 1, integer_max));
  if (out.size() > count_max) {
    return fail(ErrorCode::limit_exceeded, in(where_, key) + " has " + std::to_string(out.size()) +
                                               " handles, at most " + std::to_string(count_max) +
                                               " are allowed");
  }
  return out;
}

Result<std::vector<std::uint64_t>> Fields::optional_handles(std::string_view key,
                                                            std::uint64_t count_max) const {
  if (find(key) == nullptr) return std::vector<std::uint64_t>{};
  return handles(key, count_max);
}

Result<std::vector<std::int64_t>> Fields::shape(std::string_view key) const {
  return integers<std::int64_t>(key, "a shape (an array of non-negative integers)", 0, integer_max);
}

Result<std::vector<std::uint32_t>> Fields::value_ids(std::string_view key) const {
  return integers<std::uint32_t>(key, "an array of value ids (integers from 0 to 2^31 - 1)", 0,
                                 (1U << 31) - 1);
}

Result<Value> Fields::map(std::string_view key) const { return require(key, Kind::map, "a map"); }

Result<Value> Fields::array(std::string_view key) const {
  return require(key, Kind::array, "an array");
}

Result<bool> Fields::boolean_or(std::string_view key, bool otherwise) const {
  const Value* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is(Kind::boolean)) return mistyped(key, "true or false", *value);
  return value->boolean();
}

Result<std::optional<std::uint64_t>> Fields::optional_integer(std::string_view key,
                                                              std::uint64_t min,
                                                              std::uint64_t max) const {
  if (find(key) == nullptr) return std::nullopt;
  OUTRIGGER_TRY(const std::uint64_t value, integer(key, min, max));
  return value;
}

Result<std::optional<std::string>> Fields::optional_string(std::string_view key) const {
  if (find(key) == nullptr) return std::nullopt;
  OUTRIGGER_TRY(std::string value, string(key));
  return value;
}

}  // namespace outrigger::wire
