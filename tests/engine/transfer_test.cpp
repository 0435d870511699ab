// Uploads in chunks and downloads of parts.

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using Octets = std::vector<std::uint8_t>;

class TransferTest : public SessionTestBase {
 protected:
  Caller caller_{engine_};
};

TEST_F(TransferTest, ChunksThatSplitElements) {
  const std::vector<std::uint8_t> all{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0};
  std::uint64_t offset = 0;
  for (const std::size_t size : {5, 0, 1, 6}) {
    const Octets part(all.begin() + static_cast<std::ptrdiff_t>(offset),
                      all.begin() + static_cast<std::ptrdiff_t>(offset + size));
    const Reply reply = caller_.upload(1, "s32", {3}, part, offset);
    ASSERT_TRUE(reply.ok()) << reply.text();
    offset += size;
    EXPECT_EQ(reply.results.size(), offset == all.size() ? 1U : 0U);
    EXPECT_EQ(caller_.ask(wire::Info{1}).code(), offset < all.size() ? "bad_handle" : "");
  }
  EXPECT_EQ(caller_.download<std::int32_t>(1, 3), (std::vector<std::int32_t>{1, 2, 3}));
}

TEST_F(TransferTest, EmptyTensorsAndScalars) {
  ASSERT_TRUE(caller_.upload(1, "f64", {3, 0}, Octets{}).ok());
  EXPECT_EQ(caller_.ask(wire::Info{1}).shape, (List{3, 0}));
  EXPECT_TRUE(caller_.ask(wire::Download{1, 0, 0}).ok());
  ASSERT_TRUE(caller_.upload(2, "u8", {}, Octets{7}).ok());
  EXPECT_EQ(caller_.download<std::uint8_t>(2, 1), Octets{7});
}

TEST_F(TransferTest, EachMistakeDiscardsTheUpload) {
  struct Mistake {
    const char* name;
    const char* dtype;
    List shape;
    std::uint64_t offset;
    Octets data;
    const char* code;
  };
  const std::vector<Mistake> mistakes{
      {"gap", "u8", {8}, 5, {1}, "bad_index"},
      {"overlap", "u8", {8}, 2, {1}, "bad_index"},
      {"too long", "u8", {8}, 4, Octets(5), "bad_index"},
      {"other dtype", "s8", {8}, 4, {1}, "bad_request"},
      {"other shape", "u8", {4, 2}, 4, {1}, "bad_request"},
      {"no dtype", "zz", {8}, 4, {1}, "bad_request"},
      {"huge offset", "u8", {8}, ~std::uint64_t{0} >> 1, {1}, "bad_index"},
  };
  std::uint64_t handle = 0;
  for (const Mistake& mistake : mistakes) {
    SCOPED_TRACE(mistake.name);
    ++handle;
    const std::uint64_t before = used();
    ASSERT_TRUE(caller_.upload(handle, "u8", {8}, Octets(4)).ok());
    EXPECT_EQ(
        caller_.upload(handle, mistake.dtype, mistake.shape, mistake.data, mistake.offset).code(),
        mistake.code);
    EXPECT_EQ(caller_.upload(handle, "u8", {8}, Octets(4), 4).code(), mistake.code)
        << "PROTOCOL: its later chunks get the same error";
    EXPECT_EQ(caller_.ask(wire::Download{handle, 0, 1}).code(), "failed_operand");
    caller_.ask(wire::Release{{handle}});
    EXPECT_EQ(used(), before) << "what had arrived is freed";
  }
}

TEST_F(TransferTest, MistakesInTheFirstChunk) {
  EXPECT_EQ(caller_.upload(1, "f24", {8}, Octets(4)).code(), "bad_dtype");
  EXPECT_EQ(caller_.upload(2, "u8", {-1}, Octets(4)).code(), "bad_shape");
  EXPECT_EQ(caller_.upload(3, "f64", {INT64_MAX, INT64_MAX}, Octets(4)).code(), "bad_shape");
  EXPECT_EQ(caller_.upload(4, "u8", List(17, 1), Octets(1)).code(), "bad_shape");
  EXPECT_EQ(caller_.upload(5, "u8", {3}, Octets(4)).code(), "bad_index") << "more than fits";
  EXPECT_EQ(caller_.upload(6, "u8", {3}, Octets(1), 1).code(), "bad_handle")
      << "does not begin at 0";
  EXPECT_EQ(caller_.upload(7, "f64", {std::int64_t{1} << 58}, Octets(4)).code(), "out_of_memory");
  EXPECT_EQ(caller_.upload(0, "u8", {1}, Octets(1)).code(), "bad_handle");
}

TEST_F(TransferTest, AReleaseEndsAnUpload) {
  ASSERT_TRUE(caller_.upload(1, "u8", {8}, Octets(4)).ok());
  ASSERT_TRUE(caller_.ask(wire::Release{{1}}).ok());
  EXPECT_EQ(used(), 0U);
  EXPECT_EQ(caller_.upload(1, "u8", {8}, Octets(4), 4).code(), "bad_handle");
}

TEST_F(TransferTest, UnfinishedUploadsAreCountedAndCleared) {
  const Limits limits;
  for (std::uint64_t i = 1; i <= limits.uploads_max; ++i)
    ASSERT_TRUE(caller_.upload(i, "u8", {2}, Octets(1)).ok());
  EXPECT_EQ(caller_.upload(1000, "u8", {2}, Octets(1)).code(), "limit_exceeded");
  ASSERT_TRUE(caller_.upload(1, "u8", {2}, Octets(1), 1).ok());
  EXPECT_TRUE(caller_.upload(1001, "u8", {2}, Octets(1)).ok());
  caller_.close();
  EXPECT_TRUE(becomes_unused());
}

TEST_F(TransferTest, DownloadsAtOddOffsetsOfAnyLayout) {
  std::vector<std::int32_t> data(30);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::int32_t>(0x01020300 + i);
  ASSERT_TRUE(caller_.upload(1, "s32", {5, 6}, data).ok());
  ASSERT_TRUE(
      caller_.run({{0}, {op("transpose", {v(0)}, 1), op("reverse", {v(1)}, 2)}, {2}}, {1}, {2})
          .ok());
  Octets expected;
  for (int column = 5; column >= 0; --column) {
    for (int row = 4; row >= 0; --row) {
      Octets element(4);
      std::memcpy(element.data(), &data[static_cast<std::size_t>(row * 6 + column)], 4);
      expected.insert(expected.end(), element.begin(), element.end());
    }
  }
  for (std::uint64_t offset = 0; offset <= 120; ++offset) {
    for (const std::uint64_t length : {0, 1, 2, 3, 4, 7, 40, 120}) {
      const Reply reply = caller_.ask(wire::Download{2, offset, length});
      if (offset + length > 120) {
        EXPECT_EQ(reply.code(), "bad_index");
        continue;
      }
      ASSERT_TRUE(reply.ok()) << reply.text();
      ASSERT_EQ(reply.data, Octets(expected.begin() + static_cast<std::ptrdiff_t>(offset),
                                   expected.begin() + static_cast<std::ptrdiff_t>(offset + length)))
          << offset << " + " << length;
    }
  }
}

TEST_F(TransferTest, DownloadLimits) {
  const Limits limits;
  ASSERT_TRUE(caller_.run({{}, {iota(0, "u8", {2 << 20})}, {0}}, {}, {1}).ok());
  EXPECT_TRUE(caller_.ask(wire::Download{1, 5, limits.frame_bytes_max - 1024}).ok());
  EXPECT_EQ(caller_.ask(wire::Download{1, 5, limits.frame_bytes_max - 1023}).code(),
            "limit_exceeded");
  EXPECT_EQ(caller_.ask(wire::Download{1, ~std::uint64_t{0} >> 1, ~std::uint64_t{0} >> 1}).code(),
            "bad_index");
  EXPECT_EQ(caller_.session->pending_bytes(), 0U);
}

TEST_F(TransferTest, TheFrameIsKeptUntilTheUploadIsDone) {
  // The upload waits in the queue behind a long run; its bytes must stay valid.
  const std::uint64_t busy = caller_.run_later(endless(), {}, {50});
  const std::uint64_t upload = caller_.upload_later(1, "u8", {4}, Octets{1, 2, 3, 4});
  caller_.ask(wire::Cancel{busy});
  ASSERT_TRUE(caller_.outbox->wait(upload).ok());
  EXPECT_EQ(caller_.download<std::uint8_t>(1, 4), (Octets{1, 2, 3, 4}));
}

}  // namespace
}  // namespace outrigger::engine::test
