#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "support/client.hpp"
#include "support/golden.hpp"

namespace outrigger::test {

/// What came of running a program on uploaded arguments.
struct Outcome {
  Reply reply;
  std::vector<Data> outputs;
  /// What the arguments' handles hold afterwards.
  std::vector<Data> args;
};

/// Uploads the arguments, runs, downloads, and releases everything.
Outcome carry_out(Client& client, const Program& program, std::span<const Data> args);

// Each of the following carries a case out in one way, and gives null or what is wrong.

/// As it stands: the expected results or error, and the arguments unchanged.
std::optional<std::string> check_case(Client& client, const Case& test);

/// Inside of a longer program, with element-wise ops before and after: the same bits as when every
/// instruction is run alone. Only for cases of one op without an error.
std::optional<std::string> check_fused(Client& client, const Case& test);

/// With `in_place`, if the op has such a form: the same result, which the operand then holds, while
/// another handle of the same value keeps the old one; or a refusal where the types forbid it.
std::optional<std::string> check_in_place(Client& client, const Case& test);

/// In place with one handle for all operands of the written operand's type.
std::optional<std::string> check_aliased(Client& client, const Case& test);

}  // namespace outrigger::test
