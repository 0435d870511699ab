#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "wire/value.hpp"

namespace outrigger::wire {

/// The largest handle, offset or size: such an integer also fits a signed 64-bit integer.
constexpr std::uint64_t integer_max = (1ULL << 63) - 1;

/// `text` in double quotes, cut to 64 bytes. Each byte that is not printable ASCII is escaped, so
/// that the text is safe in a reply.
std::string quoted(std::string_view text);

/// The value in an error text, e.g. "a string" or "the integer -3".
std::string describe(Value value);

/// The entries of a message's map, by the keys that the message may have. read() refuses unknown
/// and repeated keys. Each getter refuses a key that is missing (unless it is optional) or that has
/// a value of another type. All errors are bad_request and name `where` and the key: `run: key
/// "args" must be …`.
class Fields {
 public:
  static constexpr std::size_t keys_max = 9;

  /// `where` and the texts of `keys` must outlive the Fields.
  static Result<Fields> read(std::string_view where, Value map,
                             std::initializer_list<std::string_view> keys);

  /// The value, or null if the key is absent. `key` must be one of the keys of read().
  const Value* find(std::string_view key) const;

  Result<std::uint64_t> integer(std::string_view key, std::uint64_t min = 0,
                                std::uint64_t max = integer_max) const;
  Result<std::uint64_t> handle(std::string_view key) const { return integer(key, 1); }
  Result<std::string> string(std::string_view key) const;
  Result<std::vector<std::string>> strings(std::string_view key) const;
  Result<std::span<const std::uint8_t>> binary(std::string_view key) const;
  Result<std::vector<std::uint64_t>> handles(std::string_view key, std::uint64_t count_max) const;
  /// The handles, or nothing if the key is absent.
  Result<std::vector<std::uint64_t>> optional_handles(std::string_view key,
                                                      std::uint64_t count_max) const;
  Result<std::vector<std::int64_t>> shape(std::string_view key) const;
  Result<std::vector<std::uint32_t>> value_ids(std::string_view key) const;
  Result<Value> required(std::string_view key) const { return require(key); }
  Result<Value> map(std::string_view key) const;
  Result<Value> array(std::string_view key) const;

  Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  Result<std::optional<std::uint64_t>> optional_integer(std::string_view key, std::uint64_t min = 0,
                                                        std::uint64_t max = integer_max) const;
  Result<std::optional<std::string>> optional_string(std::string_view key) const;

  /// The error of a key whose value is not `expected`.
  tl::unexpected<Error> mistyped(std::string_view key, std::string_view expected, Value got) const;

 private:
  Result<Value> require(std::string_view key) const;
  Result<Value> require(std::string_view key, Kind kind, std::string_view expected) const;
  template <typename T>
  Result<std::vector<T>> integers(std::string_view key, std::string_view expected,
                                  std::uint64_t min, std::uint64_t max) const;

  std::string_view where_;
  std::array<std::string_view, keys_max> keys_;
  std::array<std::optional<Value>, keys_max> values_;
  std::size_t count_ = 0;
};

}  // namespace outrigger::wire
