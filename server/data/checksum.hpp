#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace outrigger::data {

/// The checksum XXH3 of 64 bits, of bytes that come in parts. It finds faults of disks, and
/// protects against no attacker.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text);
  /// The checksum of all bytes so far: 16 hexadecimal digits in lower case.
  std::string text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outrigger::data
