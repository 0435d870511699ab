#include "files/npy_header.hpp"

#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;

struct Good {
  const char* text;
  const char* type;
  bool fortran_order;
  bool swapped;
};

TEST(NpyHeader, ReadsWhatNumpyAndOthersWrite) {
  const Good table[] = {
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }   \n", "f64[3][4]", false,
       false},
      {"{'descr': '>f8', 'fortran_order': True, 'shape': (3, 4)}", "f64[3][4]", true, true},
      {R"({"shape":(7,),"fortran_order":False,"descr":"=i4"})", "s32[7]", false, false},
      {"\t{ 'shape' : ( ) , 'descr' : '|u8' , 'fortran_order' : True , }\n", "u64", true, false},
      {"{'descr': '>u1', 'fortran_order': False, 'shape': (0, 5)}", "u8[0][5]", false, false},
      {"{'descr': '|b1', 'fortran_order': False, 'shape': (2L, 3L)}", "u8[2][3]", false, false},
      {"{'descr': '<i2', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
       "s16[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1]", false, false},
  };
  for (const Good& row : table) {
    const auto header = parse_npy_header(row.text);
    ASSERT_TRUE(header) << row.text << ": " << header.error().text;
    EXPECT_EQ(to_string(header->type), row.type);
    EXPECT_EQ(header->fortran_order, row.fortran_order) << row.text;
    EXPECT_EQ(header->swapped, row.swapped) << row.text;
  }
}

struct Bad {
  std::string text;
  const char* part;  ///< a part of the error's text
};

std::vector<Bad> malformed() {
  const std::string open = "{'descr': '<f8', 'fortran_order': False, 'shape': ";
  const std::string shaped = ", 'fortran_order': False, 'shape': (2,)}";
  return {
      {"", "expected '{'"},
      {std::string(3, '\0'), "expected '{'"},
      {"{", "expected a key in quotes"},
      {"{}", "are needed"},
      {"{'descr': '<f8', 'shape': (1,)}", "are needed"},
      {"{,}", "a key in quotes"},
      {"{'descr'", "expected ':'"},
      {"{'descr': '<f8'", "a comma or '}'"},
      {"{'descr': '<f8' 'shape': (1,)}", "a comma or '}'"},
      {"{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
       "\"descr\" is unknown or"},
      {"{'DESCR': '<f8'}", "\"DESCR\" is unknown"},
      {"{'des\\x63r': '<f8'}", "a key in quotes"},
      {"{'descr: 3}", "a key in quotes"},
      {open + "(1,)} x", "only blanks"},
      {open + "(1,)}}", "only blanks"},
      {open + "(1,)" + std::string(1, '\0') + "}", "a comma or '}'"},
      {open + "3}", "a tuple"},
      {open + "[3]}", "a tuple"},
      {open + "(3)}", "a shape of one axis"},
      {open + "(,)}", "a non-negative integer"},
      {open + "(1,,2)}", "a non-negative integer"},
      {open + "(1 2)}", "a comma or ')'"},
      {open + "(-1,)}", "a non-negative integer"},
      {open + "(1.5,)}", "a comma or ')'"},
      {open + "(0x10,)}", "a comma or ')'"},
      {open + "(True,)}", "a non-negative integer"},
      {open + "(99999999999999999999,)}", "at most 63 bits"},
      {open + "(9223372036854775808,)}", "at most 63 bits"},
      {open + "(9223372036854775807,)}", "too large"},
      {open + "(4294967296, 4294967296)}", "too large"},
      {open + "(0, 9223372036854775807)}", "too large"},
      {open + "(" + std::string(51, '1') + ",)}", "at most 63 bits"},
      {open + "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}", "more than 16 axes"},
      {open + "(" + std::string(60000, '(') + ")}", "a non-negative integer"},
      {open + "(1,", "a non-negative integer"},
      {"{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}", "True or False"},
      {"{'descr': '<f8', 'fortran_order': Falsehood, 'shape': (1,)}", "a comma or '}'"},
      {"{'descr': '<f16'" + shaped, "the dtype \"<f16\", long doubles; supported are u1 u2 u4 u8"},
      {"{'descr': '<c32'" + shaped, "\"<c32\", long doubles;"},
      {"{'descr': '|O'" + shaped, "\"|O\", Python objects;"},
      {"{'descr': '<U5'" + shaped, "\"<U5\", strings;"},
      {"{'descr': '<M8[ns]'" + shaped, "\"<M8[ns]\", dates or times;"},
      {"{'descr': 'f8'" + shaped, "\"f8\""},
      {"{'descr': '<'" + shaped, "\"<\";"},
      {"{'descr': ''" + shaped, "\"\""},
      {"{'descr': '<f8 '" + shaped, "\"<f8 \";"},
      {"{'descr': '|S3'" + shaped, "\"|S3\", strings;"},
      {"{'descr': '<m8[s]'" + shaped, "\"<m8[s]\", dates or times;"},
      {"{'descr': '|V4'" + shaped, "\"|V4\", records;"},
      {"{'descr': [('x', '<f4')]" + shaped, "[('x', '<f4')]"},
      {"{'descr': [('x', '<f4')]" + shaped, ", records of named fields;"},
      {"{'descr': '\xff\x1b'" + shaped, "the dtype \"\\xff\\x1b\""},
  };
}

TEST(NpyHeader, RefusesMalformedDicts) {
  for (const Bad& row : malformed()) {
    const auto header = parse_npy_header(row.text);
    ASSERT_FALSE(header) << row.text;
    EXPECT_EQ(header.error().code, ErrorCode::bad_file);
    EXPECT_TRUE(contains(header.error().text, row.part)) << row.text << "\n" << header.error().text;
    EXPECT_LT(header.error().text.size(), 600U);
  }
}

TEST(NpyHeader, EveryPrefixOfAHeaderIsRefused) {
  const std::string text = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }";
  for (std::size_t n = 0; n < text.size(); ++n) {
    // The prefix is a copy, so that ASan finds a read past its end.
    const std::vector<char> prefix(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(parse_npy_header({prefix.data(), prefix.size()})) << n;
  }
  EXPECT_TRUE(parse_npy_header(text));
}

TEST(NpyHeader, EveryChangedByteIsReadOrRefused) {
  const std::string text = "{'descr': '>f8', 'fortran_order': False, 'shape': (3, 4), }";
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = text;
      changed[i] = static_cast<char>(byte);
      const auto header = parse_npy_header(changed);
      EXPECT_TRUE(!header || check_shape(header->type.shape, 8)) << changed;
    }
  }
}

TEST(NpyHeader, NumpyHasNoNameForSomeDtypes) {
  for (const DType dtype : {DType::u2, DType::s4, DType::f8, DType::f8_e4m3fn, DType::bf16}) {
    const auto preamble = npy_preamble({dtype, {3}});
    ASSERT_FALSE(preamble);
    EXPECT_EQ(preamble.error().code, ErrorCode::bad_dtype);
    EXPECT_TRUE(contains(preamble.error().text, std::string(name_of(dtype)) + "[3]"));
  }
}

TEST(NpyHeader, PreambleIsAlignedAndReadsBack) {
  const TensorType types[] = {{DType::f32, {}},          {DType::u8, {7}},  {DType::s64, {3, 0, 5}},
                              {DType::f64, Dims(16, 1)}, {DType::f16, {2}}, {DType::c64, {1}},
                              {DType::c128, {}}};
  for (const TensorType& type : types) {
    const std::string preamble = *npy_preamble(type);
    EXPECT_EQ(preamble.size() % 64, 0U);
    EXPECT_EQ(preamble.back(), '\n');
    EXPECT_TRUE(preamble.starts_with(std::string_view("\x93NUMPY\x01\x00", 8)));
    const auto header = parse_npy_header(preamble.substr(10));
    ASSERT_TRUE(header) << header.error().text;
    EXPECT_EQ(header->type, type);
    EXPECT_FALSE(header->fortran_order || header->swapped);
  }
}

}  // namespace
}  // namespace outrigger::files
