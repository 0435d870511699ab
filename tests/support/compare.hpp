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
      0;           ///< number of floats between the two; 0: equal bits, but any NaN equals any NaN
  double abs = 0;  ///< an absolute difference that is always allowed
};

/// The bytes of a tensor on the wire; 0 for an unknown dtype.
std::size_t data_bytes(const std::string& dtype, const std::vector<std::int64_t>& shape);

/// The type as a text, e.g. "f32[2][3]".
std::string type_text(const std::string& dtype, const std::vector<std::int64_t>& shape);

/// The first `count_max` elements as a text for people.
std::string value_text(const Data& data, std::size_t count_max = 8);

/// Null if equal within the tolerance, else a text that describes the first differences.
std::optional<std::string> difference(const Data& expected, const Data& actual,
                                      const Tolerance& tolerance = {});

}  // namespace outrigger::test
