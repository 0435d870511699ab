#pragma once

#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/program.hpp"
#include "wire/value.hpp"

namespace outrigger::wire {

/// Reads a program (PROTOCOL.md section 5) and checks its form, but not whether its value ids and
/// ops fit together. `where` is the kind of request, for texts. An error in an instruction has its
/// `path` and, once known, its `op`. Recursion is bounded by the depth of `map`.
Result<Program> read_program(std::string_view where, Value map, const Limits& limits);

/// A literal, {"number": number}. Errors: bad_request.
Result<Number> read_literal(Value map);

}  // namespace outrigger::wire
