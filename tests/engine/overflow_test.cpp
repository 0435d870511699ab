// Programs whose sizes do not fit in 63 bits must be refused or run out of memory, and must never
// crash. Each one has its own process.

#include <unistd.h>

#include <cstdlib>

#include "engine/builder.hpp"

namespace outrigger::engine::test {
namespace {

constexpr std::int64_t huge = std::int64_t{1} << 61;

/// Exits with 0 if the program is refused, 1 if it runs.
void refuse(const Program& program) {
  ::alarm(10);  // a program that does not end fails, too
  Runner runner(64 << 20);
  std::_Exit(runner.run(program).error ? 0 : 1);
}

TEST(OverflowDeathTest, SizesThatDoNotFitAreRefused) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const Attrs f64{{"type", std::string("f64")}};
  const std::int64_t half = std::int64_t{1} << 40;
  const std::vector<std::pair<const char*, Program>> programs{
      {"a wider dtype", {{}, {constant(0, 1, "u8", {huge}), op("as_type", {v(0)}, 1, f64)}, {1}}},
      {"a cast of an operand",
       {{},
        {constant(0, 1, "u8", {huge}), constant(1, 1, "f64", {}), op("add", {v(0), v(1)}, 2)},
        {2}}},
      {"two long axes broadcast",
       {{},
        {constant(0, 1, "u8", {half, 1}), constant(1, 1, "u8", {1, half}),
         op("add", {v(0), v(1)}, 2),
         op("slice", {v(2), number(half / 2), number(half / 2)}, 3, {{"lengths", List{2, 2}}}),
         op("negate", {v(3)}, 4)},
        {4}}},
      {"eight long parts",
       {{},
        {constant(0, 1, "u8", {huge}), op("concatenate", std::vector<Operand>(8, v(0)), 1)},
        {1}}},
  };
  for (const auto& [name, program] : programs)
    EXPECT_EXIT(refuse(program), testing::ExitedWithCode(0), "") << name;
}

}  // namespace
}  // namespace outrigger::engine::test
