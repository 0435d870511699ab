#include "files/csv.hpp"

#include <cmath>

#include "files/support.hpp"

namespace outrigger::files::testing {
namespace {

Result<void> one_after_the_other(std::int64_t n, const std::function<void(std::int64_t)>& f) {
  for (std::int64_t i = 0; i < n; ++i) f(i);
  return {};
}

class CsvTest : public ::testing::Test {
 protected:
  Result<Tensor> load(std::string_view text, DType dtype = DType::f32, bool header = false,
                      char separator = ',') {
    const std::string path = folder_.write("t.csv", text);
    return load_csv(memory_, path, {dtype, separator, header}, one_after_the_other);
  }

  Folder folder_;
  Memory memory_;
};

TEST_F(CsvTest, ReadsLinesAndColumns) {
  const auto tensor = load("1,2.5\n-3e2,+4\n");
  ASSERT_EQ(outcome(tensor), "f32[2][2]");
  EXPECT_EQ(values<float>(*tensor), (std::vector<float>{1, 2.5, -300, 4}));
  EXPECT_EQ(outcome(load("7")), "f32[1][1]");
  EXPECT_EQ(outcome(load("7,8")), "f32[1][2]");
}

TEST_F(CsvTest, LeavesOutEmptyLinesNamesAndWhatStandsAround) {
  const auto tensor =
      load("\xEF\xBB\xBF\n a ; \"b;c\" \r\n\r\n \"1\" ;\t2 \r\n  \n3;4", DType::s16, true, ';');
  ASSERT_EQ(outcome(tensor), "s16[2][2]");
  EXPECT_EQ(values<std::int16_t>(*tensor), (std::vector<std::int16_t>{1, 2, 3, 4}));
  EXPECT_EQ(outcome(load("a,b,c\n", DType::u8, true)), "u8[0][3]");
}

TEST_F(CsvTest, MissingNumbersAreNaN) {
  const auto tensor = load("1,,NA\nnan,inf,-INF\n,,\n", DType::f64);
  ASSERT_EQ(outcome(tensor), "f64[3][3]");
  const auto all = values<double>(*tensor);
  for (const std::size_t i : {1, 2, 3, 6, 7, 8}) EXPECT_TRUE(std::isnan(all[i])) << i;
  EXPECT_EQ(all[4], INFINITY);
  EXPECT_EQ(all[5], -INFINITY);
}

TEST_F(CsvTest, RoundsDecimalNumbersOnce) {
  // Halfway between two floats, and a little more than that beyond what f64 sees.
  const auto single = load("1.00000005960464477539062500001\n1e39\n1e-60\n16777217");
  ASSERT_TRUE(single);
  EXPECT_EQ(values<float>(*single),
            (std::vector<float>{std::nextafterf(1, 2), INFINITY, 0, 16777216}));
  const auto wide = load("0.1\n1e999\n4.9e-324\n-1e-999\n", DType::f64);
  ASSERT_TRUE(wide);
  EXPECT_EQ(values<double>(*wide), (std::vector<double>{0.1, INFINITY, 4.9e-324, 0}));
  const auto small = load("1e9,0.1", DType::f8_e4m3fn);
  ASSERT_TRUE(small);
  EXPECT_EQ(values<std::uint8_t>(*small), (std::vector<std::uint8_t>{0x7E, 0x1D}));
}

TEST_F(CsvTest, IntegersOfEveryWidth) {
  const auto limits = load("18446744073709551615,0", DType::u64);
  ASSERT_TRUE(limits);
  EXPECT_EQ(values<std::uint64_t>(*limits)[0], UINT64_MAX);
  const auto low = load("-9223372036854775808", DType::s64);
  ASSERT_TRUE(low);
  EXPECT_EQ(values<std::int64_t>(*low)[0], INT64_MIN);
  EXPECT_EQ(outcome(load("-2,1", DType::s2)), "s2[1][2]");
  const std::string name = "bad_file: \"" + folder_.path("t.csv") + "\" ";
  EXPECT_EQ(outcome(load("1\n2", DType::s2)), name + "line 2, column 1: \"2\" does not fit s2");
  EXPECT_EQ(outcome(load("256", DType::u8)), name + "line 1, column 1: \"256\" does not fit u8");
  EXPECT_EQ(outcome(load("-1", DType::u8)), name + "line 1, column 1: \"-1\" is no integer");
  EXPECT_EQ(outcome(load("9999999999999999999999", DType::s64)),
            name + "line 1, column 1: \"9999999999999999999999\" does not fit s64");
}

TEST_F(CsvTest, MistakesAreToldWithLineAndColumn) {
  const std::string name = "bad_file: \"" + folder_.path("t.csv") + "\" ";
  EXPECT_EQ(outcome(load("x,y\n\n1,2\n3,4.5.6\n7,z\n", DType::f32, true)),
            name + "line 4, column 2: \"4.5.6\" is no number");
  EXPECT_EQ(outcome(load("1,2\n3\n")), name + "line 2 has 1 columns, the first has 2");
  EXPECT_EQ(outcome(load("1,2\n3,4,5\n")), name + "line 2 has 3 columns, the first has 2");
  EXPECT_EQ(outcome(load("1,\n", DType::s32)),
            name + "line 1, column 2: a number is missing; only floats have NaN for that");
  EXPECT_EQ(outcome(load("1.0\n", DType::s32)), name + "line 1, column 1: \"1.0\" is no integer");
  EXPECT_EQ(outcome(load("1 2\n")), name + "line 1, column 1: \"1 2\" is no number");
  EXPECT_EQ(outcome(load("0x10\n")), name + "line 1, column 1: \"0x10\" is no number");
  EXPECT_EQ(outcome(load("+-1\n")), name + "line 1, column 1: \"+-1\" is no number");
  EXPECT_EQ(outcome(load("")), name + "is empty");
  EXPECT_EQ(outcome(load(" \n\r\n")), name + "has no lines");
  EXPECT_TRUE(contains(outcome(load("1", DType::c64)), "bad_dtype"));
}

TEST_F(CsvTest, ManyChunks) {
  // Several MiB, so that lines are cut at other places than chunks.
  std::string text;
  const std::int64_t lines = 300'000;
  for (std::int64_t i = 0; i < lines; ++i) {
    text += std::to_string(i) + "," + std::to_string(-i) + (i % 3 == 0 ? "\r\n" : "\n");
    if (i % 1000 == 0) text += "\n";
  }
  const auto tensor = load(text, DType::s64);
  ASSERT_EQ(outcome(tensor), "s64[300000][2]");
  const std::int64_t* all = tensor->as<std::int64_t>();
  for (std::int64_t i = 0; i < lines; ++i) {
    ASSERT_EQ(all[2 * i], i);
    ASSERT_EQ(all[2 * i + 1], -i);
  }
  EXPECT_TRUE(contains(outcome(load(text + "1,x\n" + text, DType::s64)), "line 300301, column 2"));
}

TEST_F(CsvTest, TheTeamsErrorEndsIt) {
  const std::string path = folder_.write("t.csv", "1\n");
  const Team cancelled = [](std::int64_t,
                            const std::function<void(std::int64_t)>&) -> Result<void> {
    return fail(ErrorCode::cancelled, "no");
  };
  EXPECT_EQ(outcome(load_csv(memory_, path, {}, cancelled)), "cancelled: no");
  EXPECT_EQ(memory_.used(), 0U);
}

}  // namespace
}  // namespace outrigger::files::testing
