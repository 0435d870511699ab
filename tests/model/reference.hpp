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

/// The model of a handle's memory. An in-place write to a value changes all values with the same
/// Storage, and no others.
struct Storage {
  /// The elements as int64, or as the bits of a double for f32 and f64.
  std::vector<std::int64_t> cells;
};

using Shape = std::vector<std::int64_t>;

/// The dtype is u8, s32, s64, f32 or f64.
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

/// A value with its own storage.
Value make_value(ValueType type, std::vector<std::int64_t> cells);
Value copy_of(const Value& value);
Data to_data(const Value& value);
/// An element of `dtype` from a small integer.
std::int64_t cell_of(const std::string& dtype, std::int64_t number);

/// The reason why a program stopped: the code and the instruction's path.
struct Stop {
  std::string code;
  std::vector<std::uint32_t> index;
};

struct Answer {
  std::optional<Stop> stop;
  /// The results: separate values, except for mutable views, which share their tensor's storage.
  std::vector<Value> outputs;
  /// The storages that in-place instructions wrote.
  std::set<const Storage*> written;
};

/// Runs a program, instruction by instruction, in the simplest way. The program must be well-typed;
/// the only error that is checked is an index out of bounds.
Answer interpret(const Program& program, const std::vector<Value>& args, bool atomic);

}  // namespace outrigger::test
