#pragma once

#include <map>

#include "engine/builder.hpp"

namespace outrigger::engine::test {

inline std::vector<std::uint8_t> bytes_of(const Tensor& tensor) {
  std::vector<std::uint8_t> all(static_cast<std::size_t>(byte_count(tensor.type)));
  if (!all.empty()) ops::read_elements(tensor, 0, tensor.size(), all.data());
  return all;
}

/// Runs the program's instructions, without regions, one by one. Each output must be equal to that
/// of the run, bit for bit.
inline void expect_same_alone(Runner& runner, const Program& program,
                              const std::vector<Tensor>& arguments, const Outcome& together) {
  ASSERT_TRUE(succeeded(together));
  std::map<ValueId, Tensor> known;
  for (std::size_t i = 0; i < arguments.size(); ++i) known.emplace(program.params[i], arguments[i]);
  for (const Instruction& instruction : program.body) {
    Program alone{{}, {instruction}, instruction.out};
    std::vector<Tensor> operands;
    for (const Operand& operand : instruction.in) {
      const auto* id = std::get_if<ValueId>(&operand);
      if (id == nullptr || std::count(alone.params.begin(), alone.params.end(), *id) > 0) continue;
      alone.params.push_back(*id);
      operands.push_back(known.at(*id));
    }
    const Outcome outcome = runner.run(alone, operands, 1);
    ASSERT_TRUE(succeeded(outcome)) << instruction.op;
    known.emplace(instruction.out[0], outcome.results[0]);
  }
  for (std::size_t i = 0; i < program.outputs.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "output " << i);
    const Tensor& expected = known.at(program.outputs[i]);
    ASSERT_EQ(together.results[i].type, expected.type);
    EXPECT_EQ(bytes_of(together.results[i]), bytes_of(expected));
  }
}

}  // namespace outrigger::engine::test
