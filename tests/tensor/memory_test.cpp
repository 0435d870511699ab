#include "tensor/memory.hpp"

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace outrigger {
namespace {

constexpr std::size_t KiB = 1024;
constexpr std::size_t MiB = 1024 * KiB;

BufferPtr take(Memory& memory, std::size_t bytes) {
  auto buffer = memory.allocate(bytes);
  EXPECT_TRUE(buffer) << bytes;
  return buffer ? *buffer : nullptr;
}

TEST(MemoryTest, BuffersAreAlignedAndCounted) {
  Memory memory;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{64}, 255 * KiB,
                                  256 * KiB, 3 * MiB, 5 * MiB + 1}) {
    const BufferPtr buffer = take(memory, bytes);
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data()) % 64, 0U) << bytes;
    EXPECT_EQ(buffer->bytes(), bytes);
    EXPECT_TRUE(buffer->unique());
    EXPECT_GE(memory.used(), bytes);
    EXPECT_LE(memory.used(), bytes + bytes / 8 + 64) << "rounding is to be at most an eighth";
    if (bytes > 0) std::memset(buffer->data(), 0xA5, bytes);
  }
  EXPECT_EQ(memory.used(), 0U);
}

TEST(MemoryTest, CopiesShareAndTheLastOneFrees) {
  Memory memory;
  BufferPtr first = take(memory, 100);
  BufferPtr second = first;
  EXPECT_FALSE(first->unique());
  first.reset();
  EXPECT_TRUE(second->unique());
  EXPECT_GT(memory.used(), 0U);
  second.reset();
  EXPECT_EQ(memory.used(), 0U);
}

TEST(MemoryTest, PeakStaysAndUsedFalls) {
  Memory memory;
  {
    const BufferPtr a = take(memory, MiB);
    const BufferPtr b = take(memory, MiB);
  }
  const BufferPtr c = take(memory, MiB);
  EXPECT_EQ(memory.peak(), 2 * MiB);
  EXPECT_EQ(memory.used(), MiB);
}

TEST(MemoryTest, LargeBuffersComeBackFromThePool) {
  Memory memory;
  const std::byte* where = take(memory, 4 * MiB)->data();
  EXPECT_EQ(memory.pooled(), 4 * MiB);
  const BufferPtr again = take(memory, 4 * MiB - 100);
  EXPECT_EQ(again->data(), where) << "a similar size takes the pooled buffer";
  EXPECT_EQ(memory.pooled(), 0U);
  take(memory, KiB);
  EXPECT_EQ(memory.pooled(), 0U) << "small ones do not go to the pool";
}

TEST(MemoryTest, TrimGivesBack) {
  Memory memory;
  take(memory, MiB);
  ASSERT_EQ(memory.pooled(), MiB);
  memory.trim();
  EXPECT_EQ(memory.pooled(), 0U);
  const BufferPtr buffer = take(memory, MiB);
  EXPECT_EQ(buffer->data()[0], std::byte{0}) << "fresh from the system";
}

TEST(MemoryTest, RefusesWhatExceedsTheLimit) {
  Memory memory(MiB);
  const BufferPtr half = take(memory, 512 * KiB);
  EXPECT_TRUE(memory.fits(512 * KiB));
  EXPECT_FALSE(memory.fits(512 * KiB + 1));
  const auto refused = memory.allocate(768 * KiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(refused.error().text,
            "768.0 KiB more are needed, but 512.0 KiB of the limit of 1.0 MiB are in use");
  EXPECT_EQ(memory.used(), 512 * KiB);
  EXPECT_TRUE(memory.allocate(512 * KiB)) << "exactly the limit fits";
}

TEST(MemoryTest, HugeSizesAreRefusedNotWrapped) {
  Memory limited(MiB);
  Memory unlimited;
  for (Memory* memory : {&limited, &unlimited}) {
    for (const std::size_t bytes : {std::size_t{1} << 62, (std::size_t{1} << 62) - 1}) {
      const auto refused = memory->allocate(bytes);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
    }
    EXPECT_EQ(memory->used(), 0U);
  }
  EXPECT_FALSE(limited.fits(~std::uint64_t{0}));
}

TEST(MemoryTest, ARefusalOfTheSystemLeavesThePeakAlone) {
  Memory memory;
  ASSERT_FALSE(memory.allocate(std::size_t{1} << 61));
  EXPECT_EQ(memory.peak(), 0U) << "nothing was ever held";
}

TEST(MemoryTest, UsedAndPooledTogetherStayWithinTheLimit) {
  Memory memory(2 * MiB);
  take(memory, MiB + 512 * KiB);  // the buffer is in the pool from now on
  std::vector<BufferPtr> small;
  for (int i = 0; i < 1500; ++i) small.push_back(take(memory, KiB));
  EXPECT_LE(memory.used() + memory.pooled(), memory.limit());
}

TEST(MemoryTest, ThePoolGivesWayToOtherSizes) {
  Memory memory(8 * MiB);
  take(memory, 6 * MiB);
  ASSERT_EQ(memory.pooled(), 6 * MiB);
  const BufferPtr other = take(memory, 5 * MiB);
  EXPECT_LE(memory.used() + memory.pooled(), memory.limit());
}

TEST(MemoryTest, ThreadsTakeAndGive) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  constexpr std::uint64_t limit = 64 * MiB;
  {
    Memory memory(limit);
    std::vector<std::thread> threads;
    std::atomic<bool> broken{false};
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(seed + t);
        std::vector<BufferPtr> mine;
        for (int i = 0; i < 2000; ++i) {
          if (mine.size() > 6 || (!mine.empty() && random() % 3 == 0)) {
            const std::size_t at = random() % mine.size();
            if (mine[at]->data()[0] != std::byte(t)) broken = true;
            mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(at));
          } else if (auto buffer =
                         memory.allocate(1 + random() % (random() % 2 == 0 ? 4 * MiB : KiB))) {
            (*buffer)->data()[0] = std::byte(t);
            mine.push_back(*buffer);
          }
          if (memory.used() > limit) broken = true;
          if (i % 500 == 0) memory.trim();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(broken);
    EXPECT_EQ(memory.used(), 0U);
    EXPECT_LE(memory.peak(), limit);
  }
}

TEST(MemoryTest, APartCountsInTheWholeToo) {
  Memory whole(16 * MiB);
  Memory part(whole, 4 * MiB, "app");
  Memory other(whole, 0, "other");
  {
    const BufferPtr large = take(part, 3 * MiB);
    const BufferPtr small = take(part, 64);
    const BufferPtr foreign = take(other, 12 * MiB);
    EXPECT_EQ(part.used(), 3 * MiB + 64);
    EXPECT_EQ(whole.used(), 15 * MiB + 64);
    EXPECT_TRUE(large->counts_in(part));
    EXPECT_FALSE(large->counts_in(whole));
    EXPECT_FALSE(foreign->counts_in(part));
    // The limit of the part, and then that of the whole.
    const auto refused = part.allocate(2 * MiB);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
    EXPECT_NE(refused.error().text.find("quota `bytes` of the token app"), std::string::npos);
    EXPECT_FALSE(other.fits(2 * MiB));
    const auto full = other.allocate(2 * MiB);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().text.find("quota"), std::string::npos) << full.error().text;
    EXPECT_EQ(whole.used(), 15 * MiB + 64) << "what was refused counts nowhere";
    EXPECT_FALSE(part.charge(MiB));
    EXPECT_TRUE(part.charge(MiB, MiB)) << "a charge that may exceed it";
    part.discharge(MiB);
  }
  EXPECT_EQ(part.used(), 0U);
  EXPECT_EQ(other.used(), 0U);
  EXPECT_EQ(whole.used(), 0U);
  EXPECT_EQ(whole.pooled(), part.pooled());
  EXPECT_GT(whole.pooled(), 0U) << "the pool is the whole's";
  EXPECT_EQ(&part.kept(), &whole.kept());
}

TEST(MemoryTest, WhatIsPromisedIsNotForOthers) {
  Memory whole(16 * MiB);
  Memory part(whole, 8 * MiB, "app");
  Memory other(whole, 0, "other");
  {
    const Memory::Promise promise(part, 6 * MiB);
    EXPECT_FALSE(part.fits(3 * MiB));
    EXPECT_FALSE(part.allocate(3 * MiB));
    EXPECT_FALSE(other.allocate(11 * MiB));
    EXPECT_TRUE(other.allocate(10 * MiB));
    EXPECT_EQ(whole.used(), 0U);
  }
  EXPECT_TRUE(part.allocate(8 * MiB));
  EXPECT_TRUE(other.allocate(16 * MiB));
}

TEST(MemoryTest, AnAbsenceLeavesTheWatermarkOfTheRun) {
  Memory memory;
  memory.reset_watermark();
  const BufferPtr own = take(memory, MiB);
  BufferPtr of_guest = take(memory, 2 * MiB);
  of_guest.reset();
  memory.reset_watermark();
  BufferPtr kept;
  {
    const Memory::Absence absence(memory);
    memory.reset_watermark();
    kept = take(memory, 3 * MiB);
    const BufferPtr gone = take(memory, 8 * MiB);
  }
  EXPECT_EQ(memory.foreign(), 3 * MiB);
  EXPECT_EQ(memory.watermark() - memory.foreign(), MiB);
  EXPECT_EQ(memory.used() - memory.foreign(), MiB);
  {
    const Memory::Absence absence(memory);
    kept.reset();
  }
  EXPECT_EQ(memory.foreign(), 0U);
  const BufferPtr more = take(memory, MiB);
  EXPECT_EQ(memory.watermark() - memory.foreign(), 2 * MiB);
}

TEST(MemoryTest, BytesForPeople) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(std::uint64_t{3} << 30), "3.0 GiB");
  EXPECT_EQ(format_bytes(~std::uint64_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace outrigger
