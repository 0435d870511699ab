#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/program.hpp"
#include "support/compare.hpp"

namespace outrigger::test {

/// A golden case; protocol/golden/README.md documents the form.
struct Case {
  std::string name;
  /// The op under test; empty if the case is a whole program.
  std::string op;
  Program program;
  /// The programs, by id, that must be prepared before, in this order.
  std::vector<std::pair<std::uint64_t, Program>> prepared;
  std::vector<Data> args;
  /// The results, unless the case has an `error`, which is the code of an error.
  std::vector<Data> expected;
  std::string error;
  Tolerance tolerance;
};

/// The names of the files in protocol/golden/cases/, sorted.
std::vector<std::string> golden_families();

/// All cases of one file. If a case is malformed, throws a std::runtime_error with its name.
std::vector<Case> read_golden(const std::string& family);

}  // namespace outrigger::test
