#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/program.hpp"
#include "support/compare.hpp"

namespace outrigger::test {

/// What the model knows of a handle's memory. Two values with the same Storage see each other's
/// in-place writes, all others never do.
struct Storage {
  /// Elements as int64, or as the bits of a double for f32 and f64.
  std::vector<std::int64_t> cells;
};

using Shape = std::vector<std::int64_t>;

/// dtype is one of u8, s32, s64, f32, f64.
struct ValueType {
  std::string dtype;
  Shape shape;
  friend bool operator==(const ValueType&, const ValueType&) = default;
};

std::int64_t count_of(const Shape& shape);

/// A tensor: for each element in C order, its place in the storage.
struct Value {
  ValueType type;
  std::shared_ptr<Storage> storage;
  std::vector<std::uint32_t> places;

  std::int64_t get(std::size_t i) const { return storage->cells[places[i]]; }
  void set(std::size_t i, std::int64_t cell) const { storage->cells[places[i]] = cell; }
  std::size_t size() const { return places.size(); }
};

/// A value with a storage of its own.
Value make_value(ValueType type, std::vector<std::int64_t> cells);
Value copy_of(const Value& value);
Data to_data(const Value& value);
/// An element of `dtype` from a small whole number.
std::int64_t cell_of(const std::string& dtype, std::int64_t number);

/// Why a program stopped: the code and the instruction's path.
struct Stop {
  std::string code;
  std::vector<std::uint32_t> index;
};

struct Answer {
  std::optional<Stop> stop;
  /// Results: values of their own, but for mutable views, which share their tensor's storage.
  std::vector<Value> outputs;
  /// Storages that in-place instructions wrote.
  std::set<const Storage*> written;
};

/// Carries a program out, instruction by instruction, in the plainest way. The program must be
/// well-typed; of errors, only indices out of bounds are looked for.
Answer interpret(const Program& program, const std::vector<Value>& args, bool atomic);

}  // namespace outrigger::test
