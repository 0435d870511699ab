#include "engine/session/store.hpp"

#include "engine/builder.hpp"
#include "engine/session/programs.hpp"
#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;

class StoreTest : public testing::Test {
 protected:
  StoreTest() { limits_.handles_max = 4; }
  void fail_handle(std::uint64_t handle, const Error& error) {
    store_.put_failures(std::span(&handle, 1), error);
  }
  Runner runner_;
  Limits limits_;
  Store store_{runner_.memory, limits_};
};

TEST_F(StoreTest, FindsWhatWasPut) {
  EXPECT_EQ(store_.find(1).error().code, ErrorCode::bad_handle);
  ASSERT_TRUE(store_.put(1, runner_.empty(s32, {2})));
  ASSERT_TRUE(store_.find(1));
  EXPECT_EQ((*store_.find(1))->type(), (TensorType{s32, {2}}));
  EXPECT_TRUE(store_.release(1));
  EXPECT_FALSE(store_.release(1));
  EXPECT_EQ(store_.find(1).error().code, ErrorCode::bad_handle);
  EXPECT_EQ(runner_.memory.used(), 0U);
}

TEST_F(StoreTest, HandlesHaveARange) {
  EXPECT_TRUE(store_.check_new(1));
  EXPECT_TRUE(store_.check_new((std::uint64_t{1} << 63) - 1));
  for (const std::uint64_t wrong : {std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    EXPECT_EQ(store_.check_new(wrong).error().code, ErrorCode::bad_handle) << wrong;
  }
}

TEST_F(StoreTest, FailuresKeepTheFirstCause) {
  fail_handle(1, {ErrorCode::bad_shape, "the cause"});
  const auto found = store_.find(1);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::failed_operand);
  EXPECT_NE(found.error().text.find("the cause"), std::string::npos);
  fail_handle(1, {ErrorCode::bad_axis, "another"});
  EXPECT_NE(store_.find(1).error().text.find("the cause"), std::string::npos);
  EXPECT_EQ(store_.check_new(1).error().code, ErrorCode::handle_in_use);
  ASSERT_TRUE(store_.put(2, runner_.empty(s32, {2})));
  fail_handle(2, {ErrorCode::bad_axis, "late"});
  EXPECT_TRUE(store_.find(2)) << "a failure never replaces a tensor";
  EXPECT_TRUE(store_.release(1));
}

TEST_F(StoreTest, IsBounded) {
  for (std::uint64_t handle = 1; handle <= 3; ++handle)
    ASSERT_TRUE(store_.put(handle, runner_.empty(s32, {})));
  fail_handle(4, {ErrorCode::bad_axis, "counts too"});
  EXPECT_EQ(store_.size(), 4U);
  EXPECT_EQ(store_.check_new(5).error().code, ErrorCode::limit_exceeded);
  fail_handle(5, {ErrorCode::bad_axis, "no room"});
  EXPECT_EQ(store_.size(), 4U);
  store_.clear();
  EXPECT_EQ(store_.size(), 0U);
}

class HandlesMaxTest : public SessionTestBase {
 protected:
  static Limits few() {
    Limits limits;
    limits.handles_max = 4;
    return limits;
  }
  HandlesMaxTest() : SessionTestBase(0, few()) {}
  Caller caller_{engine_};
};

TEST_F(HandlesMaxTest, HoldsForManyResultsOfOneRun) {
  EXPECT_EQ(
      caller_.run({{}, {iota(0, "s32", {1})}, {0, 0, 0, 0, 0, 0}}, {}, {1, 2, 3, 4, 5, 6}).code(),
      "limit_exceeded");
  EXPECT_LE(caller_.ask(wire::Info{}).numbers.at("tensors"), 4U);
}

TEST_F(HandlesMaxTest, HoldsForUnfinishedUploads) {
  for (std::uint64_t i = 1; i <= 6; ++i) caller_.upload(i, "u8", {2}, std::vector<std::uint8_t>(1));
  for (std::uint64_t i = 1; i <= 6; ++i)
    caller_.upload(i, "u8", {2}, std::vector<std::uint8_t>(1), 1);
  EXPECT_LE(caller_.ask(wire::Info{}).numbers.at("tensors"), 4U);
}

class ProgramsTest : public testing::Test {
 protected:
  ProgramsTest() {
    limits_.programs_max = 3;
    limits_.plans_per_program_max = 2;
  }
  Result<std::shared_ptr<const Plan>> plan(std::uint64_t id,
                                           std::span<const TensorType> arguments) {
    return programs_.plan(id, {arguments});
  }
  bool known(std::uint64_t id) { return plan(id, std::array{TensorType{s32, {}}}).has_value(); }
  Memory memory_;
  Limits limits_;
  kernel::Compiler compiler_{{}};
  Kernels kernels_{memory_, limits_, compiler_};
  Programs programs_{memory_, limits_, kernels_, 1};
};

TEST_F(ProgramsTest, TheLeastRecentlyUsedGoesFirst) {
  for (const std::uint64_t id : {1, 2, 3}) ASSERT_TRUE(programs_.prepare(id, increment));
  EXPECT_TRUE(known(1));  // 1 is used now, so that 2 is the oldest
  ASSERT_TRUE(programs_.prepare(4, increment));
  EXPECT_EQ(programs_.size(), 3U);
  EXPECT_FALSE(known(2));
  EXPECT_TRUE(known(1) && known(3) && known(4));
}

TEST_F(ProgramsTest, PreparingAgainReplaces) {
  ASSERT_TRUE(programs_.prepare(1, increment));
  ASSERT_TRUE(
      programs_.prepare(1, Program{{0}, {op("negate", {v(0)}, 1), op("sum", {v(1)}, 2)}, {1, 2}}));
  EXPECT_EQ(programs_.size(), 1U);
  EXPECT_EQ((*plan(1, std::array{TensorType{s32, {}}}))->results.size(), 2U);
  EXPECT_FALSE(programs_.prepare(1, Program{{}, {op("no_such", {}, 0)}, {}}));
  EXPECT_TRUE(known(1)) << "a refused program replaces nothing";
}

TEST_F(ProgramsTest, CallsOfARefusedProgramTellWhy) {
  EXPECT_FALSE(programs_.prepare(1, Program{{}, {op("no_such", {}, 0)}, {0}}));
  EXPECT_EQ(plan(1, {}).error().code, ErrorCode::unknown_op);
  ASSERT_TRUE(programs_.prepare(1, increment));
  EXPECT_TRUE(known(1));
}

TEST_F(ProgramsTest, PlansAreKeptByArgumentTypes) {
  ASSERT_TRUE(programs_.prepare(1, increment));
  const std::array a{TensorType{s32, {2}}};
  const std::array b{TensorType{f32, {2}}};
  const std::array c{TensorType{s32, {3}}};
  const Plan* first = plan(1, a)->get();
  const std::shared_ptr<const Plan> kept = *plan(1, a);
  EXPECT_EQ(kept.get(), first);
  EXPECT_NE(plan(1, b)->get(), first);
  EXPECT_EQ(plan(1, a)->get(), first);
  ASSERT_TRUE(plan(1, c));  // evicts b
  EXPECT_EQ(plan(1, a)->get(), first);
  EXPECT_EQ(plan(1, {}).error().code, ErrorCode::bad_program);
  EXPECT_EQ(plan(9, a).error().code, ErrorCode::unknown_program);
}

TEST_F(ProgramsTest, ClearFreesThePlansConstants) {
  ASSERT_TRUE(programs_.prepare(1, increment));
  ASSERT_TRUE(known(1));
  EXPECT_GT(memory_.used(), 0U);
  programs_.clear();
  EXPECT_EQ(memory_.used(), 0U);
}

}  // namespace
}  // namespace outrigger::engine::test
