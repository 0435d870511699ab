#pragma once

#include <string>
#include <vector>

#include "base/program.hpp"
#include "model/reference.hpp"
#include "support/program_text.hpp"
#include "support/random.hpp"

namespace outrigger::test {

/// A random type of at most 60 elements, rank 0 to 3, no axis of size 0.
ValueType random_type(Random& random);
/// Whole numbers from -50 (0 for u8) to 50.
Value random_value(Random& random, const ValueType& type);

/// What a program may take: its type, and which arguments share memory (equal numbers).
struct Argument {
  ValueType type;
  int memory = 0;
  /// Whether each element has memory of its own, so that a mutable view can be taken: a constant's
  /// elements, for one, share theirs.
  bool dense = true;
};

struct GeneratorOptions {
  /// Whether indices may be out of bounds.
  bool may_fail = false;
  /// Whether one instruction is ill-typed, so that the whole program must be refused.
  bool ill_typed = false;
};

struct Generated {
  Program program;
  /// Which outputs are dense.
  std::vector<bool> dense = {};
  /// For an ill-typed program: the code and place of the error.
  std::string code;
  std::uint32_t index = 0;
};

/// A random program of a few instructions: functional ops, in-place ops, views of both kinds,
/// while and cond. Numbers stay whole and small, so that every float is exact.
Generated random_program(Random& random, const std::vector<Argument>& args,
                         const GeneratorOptions& options);

}  // namespace outrigger::test
