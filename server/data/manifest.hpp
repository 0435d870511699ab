#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::data {

/// A file with the elements of a published tensor. It never changes.
struct TensorFile {
  std::string name;  ///< in the folder
  std::string checksum;
};

/// The end of a name's lifetime. Clocks differ between two lives of a server, so both are kept.
struct Lifetime {
  std::int64_t ends_at_ms = 0;  ///< since 1970, by the system's clock
  std::int64_t left_ms = 0;     ///< when the checkpoint was taken

  /// The rest at a time of the system's clock. A clock that was set back lengthens no lifetime.
  std::int64_t left_at(std::int64_t now_ms) const;
};

struct Entry {
  std::string name;
  std::uint64_t version = 0;
  TensorType type;
  std::optional<Lifetime> lifetime = {};
  std::string token = {};  ///< the name of the token that published it
  TensorFile file = {};
};

/// The contents of a checkpoint. Its text has a line for each name, and its own checksum at the
/// end, so that people can read it, and no byte of it can change unnoticed.
struct Manifest {
  std::uint64_t checkpoint = 0;   ///< 1, 2, …; 0 before the first
  std::uint64_t last_change = 0;  ///< the last place in the sequence of changes of names
  std::int64_t taken_at_ms = 0;   ///< since 1970
  std::vector<Entry> entries;

  std::string text() const;
  /// Errors: bad_file, without the name of the file.
  static Result<Manifest> parse(std::string_view text);
};

/// "2,3" for a shape of two axes, "" for a scalar.
std::string shape_text(const Dims& shape);

}  // namespace outrigger::data
