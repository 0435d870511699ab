#pragma once

#include <string>
#include <vector>

#include "base/program.hpp"
#include "model/reference.hpp"
#include "support/program_text.hpp"
#include "support/random.hpp"

namespace outrigger::test {

/// A random type with at most 60 elements, rank 0 to 3, and no axis of size 0.
ValueType random_type(Random& random);
/// Integers from -50 (0 for u8) to 50.
Value random_value(Random& random, const ValueType& type);

/// An argument of a program: its type, and a number for its memory (arguments with equal numbers
/// share memory).
struct Argument {
  ValueType type;
  int memory = 0;
  /// True if each element has its own memory, so that a mutable view is possible. The elements of a
  /// constant, for example, share memory.
  bool dense = true;
};

struct GeneratorOptions {
  /// True if indices may be out of bounds.
  bool may_fail = false;
  /// True if one instruction has a wrong type, so that the whole program must be refused.
  bool ill_typed = false;
};

struct Generated {
  Program program;
  /// True for outputs that are dense.
  std::vector<bool> dense = {};
  /// For a program with a wrong type: the code and the place of the error.
  std::string code;
  std::uint32_t index = 0;
};

/// A random program of a few instructions: functional ops, in-place ops, views of both kinds, while
/// and cond. Numbers are small integers, so that each float is exact.
Generated random_program(Random& random, const std::vector<Argument>& args,
                         const GeneratorOptions& options);

}  // namespace outrigger::test
