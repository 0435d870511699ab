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

/// Reads a program (PROTOCOL.md section 5) and checks its form, but not whether its value ids and
/// ops fit together. `where` is the kind of request, for texts. An error in an instruction has its
/// `path` and, once known, its `op`. Recursion is bounded by Limits::nesting_max, memory by
/// Limits::program_data_max.
Result<Program> read_program(std::string_view where, Value map, const Limits& limits);

/// A program that a client has sent as the bytes of one msgpack map, of program_bytes_max at most.

/// The msgpack values in it. Errors: bad_request if it is not msgpack, or nests too deeply;
/// limit_exceeded if it is too long.
Result<std::size_t> count_program_values(std::span<const std::uint8_t> bytes, const Limits& limits);
/// `nodes`: room for count_program_values(). Errors: its, and read_program's.
Result<Program> decode_program(std::span<const std::uint8_t> bytes, std::span<Node> nodes,
                               const Limits& limits);

/// A literal, {"number": number}. Errors: bad_request.
Result<Number> read_literal(Value map);

}  // namespace outrigger::wire
