#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace outrigger::ctl {

/// A value in msgpack.
struct Packed {
  explicit Packed(std::string packed) : bytes(std::move(packed)) {}
  std::string bytes;
};

/// The entries of a request's map, beside its id and kind. Binaries are not copied: they must stay
/// until the request is sent.
class Arguments {
 public:
  using Binary = std::span<const std::byte>;
  using Value =
      std::variant<std::uint64_t, std::string, Binary, std::vector<std::uint64_t>, Packed>;

  Arguments() = default;
  Arguments(std::initializer_list<std::pair<std::string_view, Value>> entries)
      : entries_(entries) {}

  Arguments& add(std::string_view key, Value value) {
    entries_.emplace_back(key, std::move(value));
    return *this;
  }

  const std::vector<std::pair<std::string_view, Value>>& entries() const { return entries_; }

 private:
  std::vector<std::pair<std::string_view, Value>> entries_;
};

}  // namespace outrigger::ctl
