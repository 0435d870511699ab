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

}  // namespace outrigger::testing
