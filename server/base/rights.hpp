#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace outrigger {

/// A permission of a session. protocol/SOCKETS.md has the requests that need each right.
enum class Right : std::uint8_t { read, write, files, publish, admin };

inline constexpr std::array<std::string_view, 5> right_names{"read", "write", "files", "publish",
                                                             "admin"};

class Rights {
 public:
  static constexpr Rights all() {
    Rights rights;
    rights.bits_ = (1U << right_names.size()) - 1;
    return rights;
  }

  constexpr void grant(Right right) { bits_ |= bit(right); }
  constexpr bool has(Right right) const { return (bits_ & bit(right)) != 0; }
  constexpr bool operator==(const Rights&) const = default;

  std::vector<std::string_view> names() const {
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i < right_names.size(); ++i) {
      if (has(static_cast<Right>(i))) out.push_back(right_names[i]);
    }
    return out;
  }

 private:
  static constexpr std::uint32_t bit(Right right) {
    return 1U << static_cast<std::uint32_t>(right);
  }
  std::uint32_t bits_ = 0;
};

}  // namespace outrigger
