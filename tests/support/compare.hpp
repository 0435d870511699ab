#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace outrigger::test {

/// A tensor as bytes in C order, as the wire carries it.
struct Data {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;

  friend bool operator==(const Data&, const Data&) = default;
};

struct Tolerance {
  std::uint64_t ulp =
      0;           ///< floats that may lie between; 0: equal bits, but any NaN equals any NaN
  double abs = 0;  ///< a difference that is fine whatever the ulps
};

/// Bytes of a tensor on the wire; 0 for an unknown dtype.
std::size_t data_bytes(const std::string& dtype, const std::vector<std::int64_t>& shape);

/// "f32[2][3]"
std::string type_text(const std::string& dtype, const std::vector<std::int64_t>& shape);

/// The elements, the first `count_max` only, for people.
std::string value_text(const Data& data, std::size_t count_max = 8);

/// Null if equal within the tolerance, else a text that tells the first differences.
std::optional<std::string> difference(const Data& expected, const Data& actual,
                                      const Tolerance& tolerance = {});

}  // namespace outrigger::test
