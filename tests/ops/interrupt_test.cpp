// A cancel or a deadline ends a pass between two of its chunks.

#include <thread>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;
using Clock = Interrupt::Clock;
using std::chrono::milliseconds;

constexpr std::int64_t interrupt_size = std::int64_t{1} << 22;

/// A pass of about 0.4 s on one core.
Pass long_pass() {
  PassMaker maker({interrupt_size}, {f64});
  Pass::Register x = 0;
  for (int i = 0; i < 12; ++i) x = maker.apply("pow", f64, {x, 0});
  return maker.done({x});
}

class InterruptTest : public testing::TestWithParam<int> {
 protected:
  Result<void> run() {
    Context context = lab_.context(GetParam());
    started_ = Clock::now();
    auto result = run_pass(context, pass_, std::span(&in_, 1), std::span(&out_, 1));
    took_ = Clock::now() - started_;
    return result;
  }
  /// The time of the whole pass on this machine, with which an early end is compared.
  Clock::duration undisturbed() {
    EXPECT_TRUE(run());
    return took_;
  }
  Lab lab_;
  Pass pass_ = long_pass();
  Tensor in_ = lab_.tensor({interrupt_size},
                           std::vector<double>(static_cast<std::size_t>(interrupt_size), 0.999));
  Tensor out_ = lab_.empty(f64, {interrupt_size});
  Clock::time_point started_;
  Clock::duration took_{};
};

TEST_P(InterruptTest, RaisedBeforeTheStartNothingIsDone) {
  lab_.interrupt.cancel();
  const auto result = run();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  EXPECT_EQ(bytes(out_)[0], std::byte{0xCD});
}

TEST_P(InterruptTest, ACancelEndsARunningPass) {
  const Clock::duration whole = undisturbed();
  Clock::time_point cancelled;
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(20));
    cancelled = Clock::now();
    lab_.interrupt.cancel();
  });
  const auto result = run();
  const auto ended = Clock::now();
  other.join();
  ASSERT_FALSE(result) << "the pass was done before the cancel";
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  EXPECT_LT(ended - cancelled, whole / 2) << "one chunk takes some milliseconds";
}

TEST_P(InterruptTest, ADeadlineEndsARunningPass) {
  const Clock::duration whole = undisturbed();
  lab_.interrupt.set_deadline(Clock::now() + milliseconds(20));
  const auto result = run();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::deadline_exceeded);
  EXPECT_LT(took_, milliseconds(20) + whole / 2);
}

TEST_P(InterruptTest, ADeadlineInTheFutureChangesNothing) {
  lab_.interrupt.set_deadline(Clock::now() + std::chrono::hours(1));
  EXPECT_TRUE(run());
}

INSTANTIATE_TEST_SUITE_P(Threads, InterruptTest, testing::Values(1, 2));

TEST(ParallelTest, RangesCoverEverythingOnce) {
  Lab lab;
  for (const int threads : {1, 2, 5}) {
    const Context context = lab.context(threads);
    std::vector<std::atomic<int>> seen(100003);
    ASSERT_TRUE(parallel_ranges(
        context, 100003, 1000, 1 << 20, [&](int thread, std::int64_t begin, std::int64_t end) {
          EXPECT_LT(thread, threads);
          EXPECT_EQ(begin % 1000, 0) << "bounds do not depend on the number of threads";
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        }));
    EXPECT_TRUE(
        std::all_of(seen.begin(), seen.end(), [](const auto& count) { return count == 1; }));
  }
}

}  // namespace
}  // namespace outrigger::ops::test
