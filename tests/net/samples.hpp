#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/program.hpp"

// Addresses, tokens and programs of the tests of servers.
namespace outrigger::testing {

inline const std::string any_port = "tcp://127.0.0.1:0";
inline const std::string token_secret(32, 's');

inline Instruction instruction(std::string op, std::vector<Operand> in, ValueId out) {
  Instruction made;
  made.op = std::move(op);
  made.in = std::move(in);
  made.out = {out};
  return made;
}

/// x + number.
inline Program add(std::int64_t number) {
  return {{0}, {instruction("add", {ValueId{0}, Number(number)}, 1)}, {1}};
}

/// Counts up for longer than any test waits.
inline Program counting_up() {
  Instruction start = instruction("constant", {}, 0);
  start.attrs = {{"value", Number(std::int64_t{0})},
                 {"type", std::string("s64")},
                 {"shape", std::vector<std::int64_t>{}}};
  Instruction loop = instruction("while", {ValueId{0}}, 1);
  loop.regions = {{{2}, {instruction("less", {ValueId{2}, Number(std::int64_t{1} << 60)}, 3)}, {3}},
                  {{4}, {instruction("add", {ValueId{4}, Number(std::int64_t{1})}, 5)}, {5}}};
  return {{}, {start, loop}, {1}};
}

}  // namespace outrigger::testing
