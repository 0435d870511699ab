#include "files/npy.hpp"

#include <complex>
#include <numeric>

#include "files/npy_header.hpp"
#include "files/support.hpp"

namespace outrigger::files {
namespace {

using testing::contains;
using testing::data_path;
using testing::Folder;
using testing::npy_bytes;
using testing::outcome;
using testing::values;

constexpr std::string_view three_bytes = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}";

std::vector<std::int32_t> counting(std::int32_t n) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST(LoadNpy, ReadsEveryDtypeInBothByteOrders) {
  constexpr const char* codes[] = {"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"};
  for (std::size_t i = 0; i < kernel_dtypes.size(); ++i) {
    for (const char* order : {"_little.npy", "_big.npy"}) {
      Memory memory;
      const auto tensor = load_npy(memory, data_path(std::string(codes[i]) + order));
      ASSERT_EQ(outcome(tensor), std::string(name_of(kernel_dtypes.at(i))) + "[2][3]");
      with_type(tensor->dtype(), [&](auto tag) {
        using T = typename decltype(tag)::type;
        std::vector<T> expected(6);
        for (std::int64_t k = 0; k < 6; ++k) expected[k] = static_cast<T>(k * 37 + 1);
        EXPECT_EQ(values<T>(*tensor), expected) << codes[i] << order;
      });
    }
  }
}

TEST(LoadNpy, ReadsHalvesAndComplexNumbersInBothByteOrders) {
  for (const char* order : {"_little.npy", "_big.npy"}) {
    Memory memory;
    const auto half = load_npy(memory, data_path(std::string("f2") + order));
    ASSERT_EQ(outcome(half), "f16[2][3]");
    EXPECT_EQ(values<std::uint16_t>(*half),
              (std::vector<std::uint16_t>{0x3c00, 0xc100, 0x0001, 0x7bff, 0x7c00, 0x8000}))
        << order;
    const auto single = load_npy(memory, data_path(std::string("c8") + order));
    ASSERT_EQ(outcome(single), "c64[2]");
    EXPECT_EQ(values<std::complex<float>>(*single),
              (std::vector<std::complex<float>>{{1, -2.5F}, {0, 1e30F}}))
        << order;
    const auto pair = load_npy(memory, data_path(std::string("c16") + order));
    ASSERT_EQ(outcome(pair), "c128[2]");
    EXPECT_EQ(values<std::complex<double>>(*pair),
              (std::vector<std::complex<double>>{{1, -2.5}, {0, 1e300}}))
        << order;
  }
}

TEST(LoadNpy, ReadsEveryVersionAndOrderAsTheSameTensor) {
  for (const char* name :
       {"fortran.npy", "fortran_big_endian.npy", "version2.npy", "version3.npy"}) {
    Memory memory;
    const auto tensor = load_npy(memory, data_path(name));
    ASSERT_EQ(outcome(tensor), "s32[2][3][4]") << name;
    EXPECT_EQ(values<std::int32_t>(*tensor), counting(24)) << name;
  }
}

TEST(LoadNpy, ReadsBooleansScalarsAndNothing) {
  Memory memory;
  const auto boolean = load_npy(memory, data_path("bool.npy"));
  ASSERT_EQ(outcome(boolean), "u8[3]");
  EXPECT_EQ(values<std::uint8_t>(*boolean), (std::vector<std::uint8_t>{1, 0, 1}));
  const auto scalar = load_npy(memory, data_path("scalar.npy"));
  ASSERT_EQ(outcome(scalar), "f64");
  EXPECT_EQ(values<double>(*scalar), (std::vector<double>{2.5}));
  EXPECT_EQ(outcome(load_npy(memory, data_path("empty.npy"))), "f32[3][0][2]");
}

TEST(LoadNpy, ReadsHandWrittenBytes) {
  const Folder folder;
  Memory memory;
  const std::string_view dict = "{'shape': (2,), 'fortran_order': False, 'descr': '>u2'}";
  for (const char version : {'\1', '\2', '\3'}) {
    const auto path = folder.write("x.npy", npy_bytes(dict, {"\x01\x02\xff\x00", 4}, version));
    const auto tensor = load_npy(memory, path);
    ASSERT_EQ(outcome(tensor), "u16[2]");
    EXPECT_EQ(values<std::uint16_t>(*tensor), (std::vector<std::uint16_t>{0x0102, 0xff00}));
  }
}

TEST(LoadNpy, ReadsSwappedArraysOverSeveralChunks) {
  const Folder folder;
  constexpr std::int32_t count = (3 << 20) / 4 + 5;
  std::string data;
  for (std::int32_t i = 0; i < count; ++i) {
    for (int shift = 24; shift >= 0; shift -= 8) data += static_cast<char>(i >> shift & 0xFF);
  }
  const std::string dict =
      "{'descr': '>i4', 'fortran_order': False, 'shape': (" + std::to_string(count) + ",)}";
  Memory memory;
  const auto tensor = load_npy(memory, folder.write("x.npy", npy_bytes(dict, data)));
  ASSERT_TRUE(tensor) << outcome(tensor);
  EXPECT_EQ(values<std::int32_t>(*tensor), counting(count));
}

struct BadFile {
  std::string bytes;
  const char* part;  ///< a part of the error's text
};

std::vector<BadFile> malformed_files() {
  const std::string good = npy_bytes(three_bytes, "abc");
  const std::string magic("\x93NUMPY");
  const std::string huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}";
  const std::string long_dict = std::string(three_bytes) + std::string(npy_header_bytes_max, ' ');
  return {
      {"", "is not a .npy file: it is empty"},
      {"hello, world", "it begins with \"hello, w\""},
      {magic, "cut short"},
      {magic + "\1", "cut short"},
      {magic + std::string("\1\0\x05", 3), "cut short"},
      {magic + std::string("\2\0\x05\0\0", 5), "cut short"},
      {magic + std::string("\0\0\1\0 ", 5), "version 0.0"},
      {magic + std::string("\1\1\1\0 ", 5), "version 1.1"},
      {magic + std::string("\4\0\1\0 ", 5), "version 4.0"},
      {magic + std::string("\xff\xff\1\0 ", 5), "version 255.255"},
      {magic + std::string("\1\0\xff\xff{}", 6), "cut short"},
      {magic + std::string("\2\0\xff\xff\xff\xff{}", 8),
       "a header of 4294967295 bytes; at most 65536"},
      {npy_bytes(long_dict, "abc", 2), "at most 65536"},
      {npy_bytes("", "abc"), "expected '{'"},
      {npy_bytes(three_bytes, ""), "has 0 bytes of data, but u8[3] takes 3"},
      {npy_bytes(three_bytes, "ab"), "has 2 bytes of data, but u8[3] takes 3"},
      {npy_bytes(three_bytes, "abcd"), "has 4 bytes of data, but u8[3] takes 3"},
      {npy_bytes(huge, "abcdefgh"),
       "has 8 bytes of data, but f64[1000000][1000000] takes 8000000000000"},
      {npy_bytes("{'descr': '<f8', 'fortran_order': True, 'shape': (4294967296, 4294967296)}",
                 "abcdefgh"),
       "too large"},
      {npy_bytes("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", "ab"), "\"<f3\""},
      {good.substr(0, good.size() - 4), "cut short"},
  };
}

TEST(LoadNpy, RefusesMalformedFilesWithoutTakingMemory) {
  const Folder folder;
  for (const BadFile& row : malformed_files()) {
    Memory memory;
    const auto path = folder.write("bad file.npy", row.bytes);
    const std::string got = outcome(load_npy(memory, path));
    EXPECT_TRUE(got.starts_with("bad_file: \"" + path + "\" ")) << got;
    EXPECT_TRUE(contains(got, row.part)) << "not " << row.part << ":\n" << got;
    EXPECT_EQ(memory.peak(), 0U) << got;
  }
}

TEST(LoadNpy, EveryTruncationIsRefusedWithoutTakingMemory) {
  const Folder folder;
  const std::string bytes = testing::read_bytes(data_path("fortran_big_endian.npy"));
  Memory memory;
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto tensor = load_npy(memory, folder.write("x.npy", bytes.substr(0, n)));
    ASSERT_FALSE(tensor) << n;
    EXPECT_EQ(tensor.error().code, ErrorCode::bad_file);
  }
  EXPECT_EQ(memory.peak(), 0U);
}

TEST(LoadNpy, NamesUnsupportedDtypes) {
  Memory memory;
  EXPECT_TRUE(
      contains(outcome(load_npy(memory, data_path("longdouble.npy"))), "the dtype \"<f16\""));
  EXPECT_TRUE(contains(outcome(load_npy(memory, data_path("object.npy"))), "the dtype \"|O\""));
  EXPECT_TRUE(contains(outcome(load_npy(memory, data_path("fields.npy"))), "[('größe', '<f4')"));
  EXPECT_EQ(memory.peak(), 0U);
}

TEST(LoadNpy, KeepsToTheBudget) {
  const Folder folder;
  const std::string dict = "{'descr': '|u1', 'fortran_order': True, 'shape': (64, 64)}";
  const auto path = folder.write("x.npy", npy_bytes(dict, std::string(4096, 'x')));
  Memory small(4095);
  EXPECT_TRUE(outcome(load_npy(small, path)).starts_with("out_of_memory: "));
  EXPECT_EQ(small.peak(), 0U);
  // The copy to C order needs the same amount again.
  Memory one_copy(6000);
  EXPECT_TRUE(outcome(load_npy(one_copy, path)).starts_with("out_of_memory: "));
  EXPECT_EQ(one_copy.used(), 0U);
  Memory both(8192);
  EXPECT_EQ(outcome(load_npy(both, path)), "u8[64][64]");
}

}  // namespace
}  // namespace outrigger::files
