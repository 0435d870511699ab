// The work before a run takes time in proportion to the request: sixteen times the size takes less
// than a hundred times the processor time (larger memory is slower), while quadratic work takes 256
// times. This work also notices a cancel.

#include <ctime>

#include <algorithm>
#include <array>
#include <numeric>

#include "engine/builder.hpp"
#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;

/// The processor seconds of all threads of this process. Other processes do not count.
double processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The ratio of the times of work(16n) and work(n): the smallest of several tries.
template <typename Work>
double growth(std::size_t n, const Work& work) {
  const auto least = [&](std::size_t size) {
    double best = 1e9;
    for (int attempt = 0; attempt < 3; ++attempt) {
      const double before = processor_time();
      work(size);
      best = std::min(best, processor_time() - before);
    }
    return best;
  };
  work(n);  // the first call has extra costs
  const double small = least(n);
  return least(16 * n) / small;
}

constexpr double linear = 100;

std::vector<ValueId> ids(std::size_t count, ValueId first = 0) {
  std::vector<ValueId> all(count);
  std::iota(all.begin(), all.end(), first);
  return all;
}

std::vector<Operand> operands(const std::vector<ValueId>& of) { return {of.begin(), of.end()}; }

ValueId id(std::size_t n) { return static_cast<ValueId>(n); }

Attrs axis_0() { return {{"axis", Number{std::int64_t{0}}}}; }

/// n vectors as rows of a matrix: n views, then one op with n operands, which all have their last
/// use there.
Program stack(std::size_t n) {
  Program program{ids(n), {}, {id(2 * n)}};
  for (std::size_t i = 0; i < n; ++i)
    program.body.push_back(op("reshape", {v(id(i))}, id(n + i), {{"shape", List{1, 2}}}));
  program.body.push_back(op("concatenate", operands(ids(n, id(n))), id(2 * n), axis_0()));
  return program;
}

/// n instructions one after the other.
Program chain_of(std::size_t n) {
  Program program{{0}, {}, {id(n)}};
  for (std::size_t i = 0; i < n; ++i)
    program.body.push_back(op("cumulative_sum", {v(id(i))}, id(i + 1)));
  return program;
}

/// A loop that carries n values.
Program carrying(std::size_t n) {
  Region condition{ids(n, id(n)), {op("less", {v(id(n)), number(3)}, id(2 * n))}, {id(2 * n)}};
  Region body{ids(n, id(3 * n)), {}, ids(n, id(4 * n))};
  for (std::size_t i = 0; i < n; ++i)
    body.body.push_back(op("add", {v(id(3 * n + i)), number(1)}, id(4 * n + i)));
  return Program{ids(n),
                 {loop(operands(ids(n)), ids(n, id(5 * n)), std::move(condition), std::move(body))},
                 {id(5 * n)}};
}

/// A cond whose regions return n captured values.
Program choosing(std::size_t n) {
  return Program{ids(n),
                 {branch(v(0), ids(n, id(n)), Region{{}, {}, ids(n)}, Region{{}, {}, ids(n)})},
                 {id(n)}};
}

/// n values that are each much larger than their operands.
Program spreading(std::size_t n) {
  Program program{{0}, {}, {id(2 * n)}};
  for (std::size_t i = 0; i < n; ++i) {
    program.body.push_back(op("broadcast", {v(0)}, id(2 * i + 1), {{"shape", List{64}}}));
    program.body.push_back(op("sum", {v(id(2 * i + 1))}, id(2 * i + 2)));
  }
  return program;
}

/// n mutable views and writes through them.
Program writing(std::size_t n) {
  Program program{ids(n), {}, {0}};
  for (std::size_t i = 0; i < n; ++i) {
    program.body.push_back(
        in_place(op("reshape", {v(id(i))}, id(n + 2 * i), {{"shape", List{1}}})));
    program.body.push_back(in_place(op("add", {v(id(n + 2 * i)), number(1)}, id(n + 2 * i + 1))));
  }
  return program;
}

/// A reduction whose region has n instructions.
Program long_region(std::size_t n) {
  Region region{{1, 2}, {op("add", {v(1), v(2)}, 3)}, {id(n + 3)}};
  for (std::size_t i = 0; i < n; ++i)
    region.body.push_back(op("add", {v(id(i + 3)), number(0)}, id(i + 4)));
  Program program{{0}, {}, {id(n + 10)}};
  program.body.push_back(
      Instruction{"reduce", {v(0), number(0)}, {id(n + 10)}, {}, {std::move(region)}, false});
  return program;
}

struct LinearCase {
  const char* name;
  std::size_t n;
  Program (*make)(std::size_t n);
  bool one_argument;
  TensorType argument;
};

class Linear : public testing::TestWithParam<LinearCase> {};

TEST_P(Linear, Planning) {
  const LinearCase& c = GetParam();
  Runner runner;
  const auto plan = [&](std::size_t n) {
    const auto program = std::make_shared<const Program>(c.make(n));
    const std::vector<TensorType> types(c.one_argument ? 1 : n, c.argument);
    const auto made = make_plan(runner.memory, program, types, {.threads = 2});
    ASSERT_TRUE(made) << made.error().text;
    static_cast<void>(held_bytes(**made));
  };
  EXPECT_LE(growth(c.n, plan), linear);
}

INSTANTIATE_TEST_SUITE_P(Programs, Linear,
                         testing::Values(LinearCase{"stack", 1000, stack, false, {f32, {2}}},
                                         LinearCase{"carrying", 1000, carrying, false, {s32, {}}},
                                         LinearCase{"choosing", 2000, choosing, false, {s32, {}}},
                                         LinearCase{"spreading", 1000, spreading, true, {f32, {}}},
                                         LinearCase{"writing", 1000, writing, false, {f32, {1}}},
                                         LinearCase{
                                             "long_region", 2000, long_region, true, {f32, {8}}}),
                         [](const auto& test) { return std::string(test.param.name); });

class LinearSession : public SessionTestBase {
 protected:
  /// The handles of n tensors, or n times the handle of one.
  Handles make(std::size_t n, bool distinct) {
    const std::size_t wanted = distinct ? n : 1;
    while (made_ < wanted) {
      // The requests are few, because all replies are kept.
      Handles more(std::min<std::size_t>(1000, wanted - made_));
      std::iota(more.begin(), more.end(), base_ + made_);
      const Program one{{}, {iota(0, "f32", {2})}, std::vector<ValueId>(more.size(), 0)};
      EXPECT_TRUE(caller_.run(one, {}, more).ok());
      made_ += more.size();
    }
    Handles handles(wanted);
    std::iota(handles.begin(), handles.end(), base_);
    handles.resize(n, base_);
    return handles;
  }
  /// The handles that were made are released.
  void begin_anew() {
    base_ += made_;
    made_ = 0;
  }
  std::uint64_t result() { return next_result_++; }

  Caller caller_{engine_};
  std::uint64_t base_ = 1;
  std::size_t made_ = 0;
  std::uint64_t next_result_ = std::uint64_t{1} << 40;
};

TEST_F(LinearSession, ArgumentsThatAreDifferent) {
  EXPECT_LE(growth(1000,
                   [&](std::size_t n) {
                     Program program{ids(n), {op("add", {v(0), v(1)}, id(n))}, {id(n)}};
                     const Reply reply = caller_.run(std::move(program), make(n, true), {result()});
                     ASSERT_TRUE(reply.ok()) << reply.text();
                   }),
            linear);
}

TEST_F(LinearSession, OneArgumentManyTimes) {
  make(1, false);
  EXPECT_LE(growth(4000,
                   [&](std::size_t n) {
                     Program program{ids(n), {op("add", {v(0), v(1)}, id(n))}, {id(n)}};
                     ASSERT_TRUE(caller_.run(std::move(program), make(n, false), {result()}).ok());
                   }),
            linear);
}

TEST_F(LinearSession, WritesOfArguments) {
  EXPECT_LE(
      growth(500,
             [&](std::size_t n) {
               Program program{ids(n), {}, {}};
               for (std::size_t i = 0; i < n; ++i) {
                 program.body.push_back(in_place(op("add", {v(id(i)), number(1)}, id(n + i))));
               }
               ASSERT_TRUE(caller_.run(std::move(program), make(n, true), {}).ok());
             }),
      linear);
}

TEST_F(LinearSession, DonatedArguments) {
  EXPECT_LE(growth(500,
                   [&](std::size_t n) {
                     wire::Run run{Program{ids(n), {op("add", {v(0), v(1)}, id(n))}, {id(n)}},
                                   {},
                                   make(n, true),
                                   {result()},
                                   false,
                                   {}};
                     run.donated = run.args;
                     begin_anew();
                     const Reply reply = caller_.ask(std::move(run));
                     ASSERT_TRUE(reply.ok()) << reply.text();
                   }),
            linear);
}

TEST(Planning, HearsACancel) {
  Runner runner;
  runner.interrupt.cancel();
  for (const auto make : {stack, carrying, choosing, writing}) {
    const std::size_t n = 200;
    const auto program = std::make_shared<const Program>(make(n));
    const std::vector<TensorType> types(n, make == stack     ? TensorType{f32, {2}}
                                           : make == writing ? TensorType{f32, {1}}
                                                             : TensorType{s32, {}});
    const auto made = make_plan(runner.memory, program, types, {.interrupt = &runner.interrupt});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::cancelled);
  }
}

TEST(Planning, SeesADeadlineThatPasses) {
  Runner runner;
  ops::Interrupt interrupt;
  interrupt.set_deadline(ops::Interrupt::Clock::now() + Milliseconds(1));
  const auto late = make_plan(runner.memory, std::make_shared<const Program>(chain_of(60'000)),
                              std::array{TensorType{s64, {2}}}, {.interrupt = &interrupt});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::deadline_exceeded);
}

/// Tests of the thread that makes replies.
class ThreadOfReplies : public SessionTestBase {
 protected:
  ThreadOfReplies() {
    caller_.outbox->before_reply = [this] { last_ = std::this_thread::get_id(); };
  }
  /// True if this thread makes the reply to a request while the engine's thread is idle.
  template <typename Body>
  bool here(Body body) {
    while (!engine_->try_claim()) std::this_thread::yield();
    const Reply reply = caller_.ask(std::move(body));
    EXPECT_TRUE(reply.ok()) << reply.text();
    return last_ == std::this_thread::get_id();
  }
  Caller caller_{engine_};
  std::thread::id last_;
};

TEST_F(ThreadOfReplies, WhatTakesLongToPlanIsNotPlannedOnTheCallersThread) {
  caller_.upload(1, "u8", {1}, std::vector<std::uint8_t>(1));
  EXPECT_TRUE(here(wire::Run{chain_of(4), {}, {1}, {2}, false, {}}));
  EXPECT_FALSE(here(wire::Run{chain_of(200), {}, {1}, {3}, false, {}}));
  ASSERT_TRUE(here(wire::Prepare{1, chain_of(40)}));
  EXPECT_FALSE(here(wire::Run{{}, 1, {1}, {4}, false, {}})) << "planned first";
  EXPECT_TRUE(here(wire::Run{{}, 1, {1}, {5}, false, {}})) << "the plan is known";
  EXPECT_FALSE(here(wire::Prepare{2, chain_of(2000)}));
  EXPECT_FALSE(here(wire::Forget{2}));
  const Handles many(1000, 1);
  Program wide{ids(1000), {op("add", {v(0), v(1)}, 1000)}, {1000}};
  EXPECT_FALSE(here(wire::Run{wide, {}, many, {6}, false, {}}));
  EXPECT_FALSE(here(wire::Release{Handles(1000, 7)}));
  EXPECT_TRUE(here(wire::Release{{1, 2}}));
}

}  // namespace
}  // namespace outrigger::engine::test
