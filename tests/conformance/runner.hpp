#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "support/client.hpp"
#include "support/golden.hpp"

namespace outrigger::test {

/// The outcome of a program on uploaded arguments.
struct Outcome {
  Reply reply;
  std::vector<Data> outputs;
  /// The contents of the arguments' handles after the run.
  std::vector<Data> args;
};

/// Uploads the arguments, runs the program, downloads the results, and releases all handles.
Outcome carry_out(Client& client, const Program& program, std::span<const Data> args);

// Each of the following functions runs a case in one way. It returns null, or a text that describes
// the failure.

/// The case itself: the results or the error must be as expected, and the arguments must not
/// change.
std::optional<std::string> check_case(Client& client, const Case& test);

/// The case inside of a longer program, with elementwise ops before and after it: the bits must be
/// those of the instructions run one by one. Only for cases of one op without an error.
std::optional<std::string> check_fused(Client& client, const Case& test);

/// The case with `in_place`, if the op has such a form: the result must be the same, the operand
/// must then have it, and another handle of the same value must keep the old value. If the types
/// forbid the form, the daemon must refuse it.
std::optional<std::string> check_in_place(Client& client, const Case& test);

/// The case in place, with one handle for all operands that have the type of the written operand.
std::optional<std::string> check_aliased(Client& client, const Case& test);

}  // namespace outrigger::test
