#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/program.hpp"
#include "wire/value.hpp"

namespace outrigger::wire {

/// Reads a program (PROTOCOL.md section 5) and checks its form. It does not check that its value
/// ids and ops agree with each other. `where` is the kind of request, for error texts. An error in
/// an instruction has its `path` and, once it is known, its `op`. Limits::nesting_max limits the
/// recursion, and Limits::program_data_max the memory.
Result<Program> read_program(std::string_view where, Value map, const Limits& limits);

/// A program that a client has sent as the bytes of one msgpack map, with at most program_bytes_max
/// bytes.

/// The number of its msgpack values. Errors: bad_request if the bytes are not msgpack, or nest too
/// deeply; limit_exceeded if there are too many.
Result<std::size_t> count_program_values(std::span<const std::uint8_t> bytes, const Limits& limits);
/// `nodes` has space for count_program_values() nodes. Errors: those of count_program_values and
/// read_program.
Result<Program> decode_program(std::span<const std::uint8_t> bytes, std::span<Node> nodes,
                               const Limits& limits);

/// Reads a literal, {"number": number}. Errors: bad_request.
Result<Number> read_literal(Value map);

}  // namespace outrigger::wire
