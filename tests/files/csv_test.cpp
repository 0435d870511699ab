#include "files/csv.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "files/csv_field.hpp"
#include "files/support.hpp"
#include "support/random.hpp"

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
    return load_csv(memory_, path, {dtype, separator, header}, one_after_the_other, nullptr);
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

TEST_F(CsvTest, ASeparatorIsSomethingOnALine) {
  for (const char separator : {'\t', ' '}) {
    SCOPED_TRACE(static_cast<int>(separator));
    const std::string s(1, separator);
    const std::string text = "1" + s + "2\n" + s + "\n\n\r\n3" + s + "4\n" + s;
    const auto tensor = load(text, DType::f64, false, separator);
    ASSERT_EQ(outcome(tensor), "f64[4][2]");
    const auto all = values<double>(*tensor);
    EXPECT_TRUE(std::isnan(all[2]) && std::isnan(all[3]) && std::isnan(all[6]));
    EXPECT_EQ(all[4], 3);
    EXPECT_EQ(outcome(load(text, DType::s32, false, separator)),
              "bad_file: \"" + folder_.path("t.csv") +
                  "\" line 2, column 1: a number is missing; only float dtypes have NaN for that");
    const auto first = load(s + "\n5" + s + "6\n", DType::f32, true, separator);
    ASSERT_EQ(outcome(first), "f32[1][2]") << "the header's names are empty";
    EXPECT_EQ(values<float>(*first), (std::vector<float>{5, 6}));
  }
  EXPECT_EQ(outcome(load("1,2\n \t \n3,4\n")), "f32[2][2]") << "spaces alone are nothing";
  EXPECT_EQ(outcome(load("1\t2\n  \n3\t4\n", DType::f32, false, '\t')), "f32[2][2]");
}

TEST_F(CsvTest, NamesInQuotesMayGoOverLines) {
  const std::string name = "bad_file: \"" + folder_.path("t.csv") + "\" ";
  const auto tensor = load("\n a, \"b\r\n,\"\"\n\n\" ,c\n1,2,3\n4,5,6\n", DType::u8, true);
  ASSERT_EQ(outcome(tensor), "u8[2][3]");
  EXPECT_EQ(values<std::uint8_t>(*tensor), (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(outcome(load("\"a\n\n\",b\n1,x\n", DType::f32, true)),
            name + "line 4, column 2: \"x\" is no number")
      << "lines are counted as the file has them";
  EXPECT_EQ(outcome(load("5\" pipe,b\n1,2\n", DType::u8, true)), "u8[1][2]")
      << "only a field that begins with a quote is quoted";
  EXPECT_EQ(outcome(load("\na,\"b,c\n1,2\n", DType::f32, true)),
            name + "line 2, column 2: the double quote at the beginning of the name is not closed");
  EXPECT_EQ(outcome(load("1,2\n\"3\n\",4\n")),
            name +
                "line 2, column 1: a double quote without another one on the line; only names "
                "may contain line ends");
}

TEST_F(CsvTest, ANumberHasSoManyBytes) {
  const std::string name = "bad_file: \"" + folder_.path("t.csv") + "\" ";
  const std::string longest = "0." + std::string(number_bytes_max - 3, '0') + "1";
  EXPECT_EQ(outcome(load(longest, DType::f64)), "f64[1][1]");
  for (const DType dtype : {DType::f32, DType::f16, DType::u8}) {
    EXPECT_EQ(outcome(load("1\n" + longest + "0\n", dtype)),
              name + "line 2, column 1: a field of 4097 bytes; a number has at most 4096");
  }
}

/// Texts whose lines or fields are as long as the file.
std::vector<std::pair<const char*, std::string>> long_texts(std::size_t bytes) {
  std::string fields;
  while (fields.size() < bytes) fields += "1.5,";
  std::string lines;
  while (lines.size() < bytes) lines += "12,-3\n";
  return {{"blank lines", std::string(bytes, '\n')},
          {"spaces", std::string(bytes, ' ')},
          {"digits", std::string(bytes, '1')},
          {"digits behind a number", "1\n" + std::string(bytes, '1')},
          {"fields", fields},
          {"fields behind a short line", "1\n" + fields},
          {"separators", std::string(bytes, ',')},
          {"lines", lines},
          {"quotes", "\"" + std::string(bytes, '\"')},
          {"a name", "\"" + std::string(bytes, '\n')}};
}

TEST_F(CsvTest, TheCheckIsAskedWithinLinesAndFields) {
  constexpr std::size_t bytes = std::size_t{4} << 20;
  for (const auto& [what, text] : long_texts(bytes)) {
    SCOPED_TRACE(what);
    const std::string path = folder_.write("t.csv", text);
    // A first Check is never raised, and counts its calls. Then a Check is raised at each of some
    // calls.
    std::size_t asks = 0;
    std::size_t raised_at = 0;
    const Check check = [&]() -> Result<void> {
      if (++asks == raised_at) return fail(ErrorCode::cancelled, "now");
      return {};
    };
    const CsvOptions options{DType::u8, ',', *what == 'a'};
    const auto whole = load_csv(memory_, path, options, one_after_the_other, check);
    EXPECT_GE(asks, bytes / Scan::step_bytes) << outcome(whole);
    const std::size_t all = asks;
    for (const std::size_t at : {std::size_t{1}, all / 3, all / 2, all}) {
      asks = 0;
      raised_at = at;
      EXPECT_EQ(outcome(load_csv(memory_, path, options, one_after_the_other, check)),
                "cancelled: now");
      EXPECT_EQ(asks, at) << "nothing goes on afterwards";
    }
    EXPECT_EQ(memory_.used(), 0U);
  }
}

/// A line of /proc/self/status, in bytes.
std::size_t status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  ADD_FAILURE() << "no " << key;
  return 0;
}

TEST_F(CsvTest, TheTextIsNeverInMemoryAsAWhole) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer adds memory of its own to that of the process";
#endif
  constexpr std::size_t bytes = std::size_t{64} << 20;
  for (auto& [what, text] : long_texts(bytes)) {
    SCOPED_TRACE(what);
    const std::string path = folder_.write("t.csv", text);
    text = std::string();
    const std::size_t before = status("VmRSS");
    std::ofstream("/proc/self/clear_refs") << "5";  // sets VmHWM to VmRSS
    const auto tensor =
        load_csv(memory_, path, {DType::s8, ',', *what == 'a'}, one_after_the_other, nullptr);
    const std::size_t result = tensor ? byte_count(tensor->type) : 0;
    EXPECT_LT(status("VmHWM"), before + result + (std::size_t{8} << 20)) << outcome(tensor);
  }
}

TEST_F(CsvTest, ReadsWhatPythonsCsvModuleReads) {
  constexpr int files = 400;
  const std::string seed = std::to_string(outrigger::test::new_seed());
  std::cout << "OUTRIGGER_SEED=" << seed << std::endl;
  const std::string command = "python3 " OUTRIGGER_SOURCE_DIR "/tests/files/csv_witness.py " +
                              seed + " " + folder_.path("") + " " + std::to_string(files);
  ASSERT_EQ(std::system(command.c_str()), 0);
  for (int i = 0; i < files; ++i) {
    const std::string path = folder_.path(std::to_string(i));
    std::ifstream expected(path + ".txt");
    int separator = 0;
    bool header = false;
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    expected >> separator >> header >> rows >> columns;
    const auto tensor =
        load_csv(memory_, path + ".csv", {DType::f64, static_cast<char>(separator), header},
                 one_after_the_other, nullptr);
    ASSERT_EQ(outcome(tensor), "f64[" + std::to_string(rows) + "][" + std::to_string(columns) + "]")
        << read_bytes(path + ".csv");
    for (const double x : values<double>(*tensor)) {
      std::string number;
      expected >> number;
      const double due = std::strtod(number.c_str(), nullptr);
      ASSERT_TRUE(x == due || (std::isnan(x) && std::isnan(due)))
          << x << " instead of " << due << " in\n"
          << read_bytes(path + ".csv");
    }
  }
}

TEST_F(CsvTest, RoundsDecimalNumbersOnce) {
  // The middle between two floats, and a number above it by less than the precision of f64.
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
            name + "line 1, column 2: a number is missing; only float dtypes have NaN for that");
  EXPECT_EQ(outcome(load("1.0\n", DType::s32)), name + "line 1, column 1: \"1.0\" is no integer");
  EXPECT_EQ(outcome(load("1 2\n")), name + "line 1, column 1: \"1 2\" is no number");
  EXPECT_EQ(outcome(load("0x10\n")), name + "line 1, column 1: \"0x10\" is no number");
  EXPECT_EQ(outcome(load("+-1\n")), name + "line 1, column 1: \"+-1\" is no number");
  EXPECT_EQ(outcome(load("")), name + "is empty");
  EXPECT_EQ(outcome(load(" \n\r\n")), name + "has no lines");
  EXPECT_TRUE(contains(outcome(load("1", DType::c64)), "bad_dtype"));
}

TEST_F(CsvTest, ManyChunks) {
  // The text has several MiB, so that line ends differ from chunk ends.
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
  EXPECT_EQ(outcome(load_csv(memory_, path, {}, cancelled, nullptr)), "cancelled: no");
  EXPECT_EQ(memory_.used(), 0U);
}

}  // namespace
}  // namespace outrigger::files::testing
