// The memory of a session beside its tensors' elements is limited, and all of it is counted.

#include <malloc.h>

#include <array>
#include <atomic>
#include <cstring>
#include <numeric>

#include "engine/builder.hpp"
#include "engine/session/programs.hpp"
#include "engine/session/store.hpp"
#include "engine/session_support.hpp"
#include "support/encode.hpp"
#include "wire/request.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;

/// The bytes that malloc has allocated, with those that have their own pages.
std::uint64_t allocated() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

Handles range(std::uint64_t first, std::size_t count) {
  Handles handles(count);
  std::iota(handles.begin(), handles.end(), first);
  return handles;
}

class HeldTest : public SessionTestBase {
 protected:
  explicit HeldTest(std::uint64_t limit = 0, Limits limits = {}) : SessionTestBase(limit, limits) {}
  Caller caller_{engine_};
};

TEST_F(HeldTest, AnErrorIsCutWhenItIsMade) {
  const std::string name(900'000, 'x');
  const Reply reply = caller_.run(Program{{}, {op(name, {}, 0)}, {0}}, {}, {1});
  EXPECT_EQ(reply.code(), "unknown_op");
  ASSERT_TRUE(reply.error);
  EXPECT_LE(reply.error->text.size(), error_text_bytes_max);
  const auto cut = fail(ErrorCode::bad_value, name);
  EXPECT_EQ(cut.value().text.size(), error_text_bytes_max);
  EXPECT_LE(held_bytes(cut.value()), error_text_bytes_max + KiB);
  const Error there = located(Error{ErrorCode::bad_value, name}, std::array{1U}, name);
  EXPECT_EQ(there.op.size(), error_op_bytes_max);
  EXPECT_LE(held_bytes(there), error_text_bytes_max + KiB);
}

TEST_F(HeldTest, FailedHandlesOfARequestShareOneError) {
  const std::uint64_t before = allocated();
  for (std::uint64_t i = 0; i < 10; ++i) {
    const std::string name(100'000, 'x');
    EXPECT_EQ(
        caller_.run(Program{{}, {op(name, {}, 0)}, {0}}, {}, range(1 + i * 1000, 1000)).code(),
        "unknown_op");
  }
  // Ten errors, 10,000 entries.
  EXPECT_GE(used(), 10'000U * 64);
  EXPECT_LE(used(), 10'000U * 128 + 10 * 8 * KiB);
  EXPECT_LE(allocated() - before, 2 * used() + 512 * KiB);
  EXPECT_EQ(caller_.ask(wire::Download{5, 0, 0}).code(), "failed_operand");
  caller_.ask(wire::Release{range(1, 10'000)});
  EXPECT_EQ(used(), 0U);
}

TEST_F(HeldTest, AChainOfFailuresHoldsTheFirstCauseOnly) {
  caller_.run(Program{{}, {op("no_such", {}, 0)}, {0}}, {}, {1});
  const std::uint64_t one = used();
  for (std::uint64_t i = 1; i <= 1000; ++i)
    caller_.run(Program{{0}, {op("negate", {v(0)}, 1)}, {1}}, {i}, {i + 1});
  const Reply last = caller_.ask(wire::Download{1001, 0, 0});
  EXPECT_EQ(last.code(), "failed_operand");
  EXPECT_NE(last.text().find("no such op"), std::string::npos);
  EXPECT_LE(used(), one + 1000 * 128);
}

TEST_F(HeldTest, ACauseDoesNotSayWhatWasWritten) {
  // The request's own reply contained the error, which may be long.
  caller_.upload(1, "s32", {2}, std::vector<std::int32_t>{1, 2});
  const Program program{{0},
                        {in_place(op("add", {v(0), number(1)}, 1)), constant(2, 9, "s32", {1}),
                         op("take", {v(1), v(2)}, 3, {{"axis", Number{std::int64_t{0}}}})},
                        {3}};
  const Reply failed = caller_.run(program, {1, 1}, {2});
  EXPECT_EQ(failed.code(), "bad_program") << "one parameter";
  const Reply wrote = caller_.run(program, {1}, {3});
  EXPECT_EQ(wrote.code(), "bad_index");
  ASSERT_TRUE(wrote.error);
  EXPECT_EQ(wrote.error->written, Handles{1});
  const Reply later = caller_.ask(wire::Download{3, 0, 0});
  EXPECT_EQ(later.code(), "failed_operand");
  ASSERT_EQ(later.error->cause.size(), 1U);
  EXPECT_TRUE(later.error->cause[0].written.empty());
}

TEST(Store, HoldsATensorInNoMoreThanItCounts) {
  Memory memory;
  const Limits limits;
  Store store(memory, limits);
  constexpr std::uint64_t count = 20'000;
  for (const std::size_t rank : {std::size_t{0}, std::size_t{1}, std::size_t{4}, std::size_t{16}}) {
    const std::uint64_t before = allocated();
    for (std::uint64_t handle = 1; handle <= count; ++handle) {
      auto tensor = allocate_tensor(memory, TensorType{u8, Dims(rank, 0)});
      ASSERT_TRUE(tensor && store.put(handle, std::move(*tensor)));
    }
    EXPECT_LE(allocated() - before, memory.used() * 9 / 8) << "rank " << rank;
    EXPECT_GE(allocated() - before, memory.used() * 3 / 5) << "rank " << rank;
    EXPECT_LE(memory.used() / count, 320 + rank * 16) << "rank " << rank;
    store.clear();
    EXPECT_EQ(memory.used(), 0U);
  }
}

class SmallLimitTest : public HeldTest {
 protected:
  SmallLimitTest() : HeldTest(4 * MiB) {}
};

TEST_F(SmallLimitTest, HandlesOfNothingReachTheLimit) {
  const Program empty{{}, {iota(0, "u8", List(16, 0))}, std::vector<ValueId>(1000, 0)};
  std::string code;
  for (std::uint64_t i = 0; i < 100 && code.empty(); ++i) {
    const Reply reply = caller_.run(empty, {}, range(1 + i * 1000, 1000));
    if (!reply.ok()) code = reply.code();
    EXPECT_LE(used(), 4 * MiB + Limits::failures_bytes_beyond);
  }
  EXPECT_EQ(code, "out_of_memory");
  // Failures are remembered up to a little beyond the limit, and then not any more.
  for (std::uint64_t i = 100; i < 200; ++i) caller_.run(empty, {}, range(1 + i * 1000, 1000));
  EXPECT_LE(used(), 4 * MiB + Limits::failures_bytes_beyond);
  caller_.close();
  EXPECT_TRUE(becomes_unused());
}

/// A program whose instructions are not fused.
Program long_program(std::size_t instructions) {
  Program program{{0}, {}, {static_cast<ValueId>(instructions)}};
  for (ValueId i = 0; i < instructions; ++i)
    program.body.push_back(op("cumulative_sum", {v(i)}, i + 1));
  return program;
}

/// A stack of numbers, as a client makes it.
Program stack_of_numbers(std::size_t numbers) {
  Program program{{}, {}, {static_cast<ValueId>(2 * numbers)}};
  std::vector<Operand> parts;
  for (ValueId i = 0; i < numbers; ++i) {
    program.body.push_back(constant(2 * i, i, "s32", {}));
    program.body.push_back(op("reshape", {v(2 * i)}, 2 * i + 1, {{"shape", List{1}}}));
    parts.emplace_back(2 * i + 1);
  }
  program.body.push_back(op("concatenate", std::move(parts), static_cast<ValueId>(2 * numbers),
                            {{"axis", Number{std::int64_t{0}}}}));
  return program;
}

TEST(Plans, TakeWhatTheySayAndNotMuch) {
  Runner runner;
  const std::vector<Tensor> arguments{runner.empty(u8, {4})};
  const struct {
    const char* name;
    Program program;
    std::size_t arguments;
    std::uint64_t instruction_bytes;
  } cases[] = {{"cumulative sums", long_program(2000), 1, 640},
               {"a stack of numbers", stack_of_numbers(2000), 0, 640}};
  for (const auto& c : cases) {
    const auto shared = std::make_shared<const Program>(c.program);
    std::vector<TensorType> types(c.arguments, arguments[0].type);
    const std::uint64_t before = allocated();
    const auto plan = make_plan(runner.memory, shared, types, {});
    ASSERT_TRUE(plan) << plan.error().text;
    const std::uint64_t grown = allocated() - before;
    const std::uint64_t said = held_bytes(**plan) + runner.memory.used();
    EXPECT_LE(grown, said * 5 / 4) << c.name;
    EXPECT_GE(grown, said / 2) << c.name;
    EXPECT_LE(said / c.program.body.size(), c.instruction_bytes) << c.name;
  }
}

TEST_F(SmallLimitTest, PlansAndProgramsShareOneBudget) {
  const std::uint64_t limit = engine_->memory().kept().limit();
  EXPECT_EQ(limit, Limits::kept_bytes_min);
  const std::uint64_t before = allocated();
  for (std::uint64_t id = 1; id <= 60; ++id) {
    ASSERT_TRUE(caller_.ask(wire::Prepare{id, long_program(1000)}).ok());
    for (std::int64_t n = 1; n <= 4; ++n) {
      const std::uint64_t handle = id * 100 + static_cast<std::uint64_t>(n);
      caller_.upload(handle, "u8", {n}, std::vector<std::uint8_t>(static_cast<std::size_t>(n)));
      const Reply reply = caller_.ask(wire::Run{{}, id, {handle}, {handle + 50}, false, {}});
      ASSERT_TRUE(reply.ok()) << reply.text();
      const auto info = caller_.ask(wire::Info{});
      EXPECT_LE(info.numbers.at("memory.kept"), limit);
      EXPECT_EQ(info.numbers.at("memory.kept_limit"), limit);
    }
  }
  // Without the budget, 60 programs with four plans each would take about 130 MB.
  EXPECT_LE(allocated() - before, 2 * limit);
  EXPECT_GE(caller_.ask(wire::Info{}).numbers.at("memory.kept"), limit / 2);
  caller_.close();
  EXPECT_TRUE(becomes_unused());
  EXPECT_EQ(engine_->memory().kept().bytes(), 0U);
}

TEST_F(SmallLimitTest, ProgramsGoAfterAllThatTheDaemonCanMakeAgain) {
  // Programs of 250 kB each are called with many types: their plans are evicted, and the programs
  // stay.
  for (std::uint64_t id = 1; id <= 8; ++id)
    ASSERT_TRUE(caller_.ask(wire::Prepare{id, long_program(1000)}).ok());
  for (std::int64_t n = 1; n <= 8; ++n) {
    const auto handle = static_cast<std::uint64_t>(n);
    caller_.upload(handle, "u8", {n}, std::vector<std::uint8_t>(handle));
    for (std::uint64_t id = 1; id <= 8; ++id)
      EXPECT_TRUE(caller_.ask(wire::Run{{}, id, {handle}, {100 * id + handle}, false, {}}).ok());
  }
  EXPECT_EQ(caller_.ask(wire::Info{}).numbers.at("programs"), 8U);
}

TEST_F(SmallLimitTest, APlanThatIsTooLargeIsRefusedBeforeItIsMade) {
  const Reply reply = caller_.run(stack_of_numbers(20'000), {}, {1});
  EXPECT_EQ(reply.code(), "out_of_memory");
  EXPECT_NE(reply.text().find("instructions"), std::string::npos) << reply.text();
}

/// Two lists share one budget.
TEST(Kept, TheLeastRecentlyUsedGoesFirst) {
  Kept kept(1);
  std::vector<int> evicted;
  struct Thing final : Kept::Item {
    Thing(std::vector<int>& to, int number, Kept& in, std::uint64_t bytes, From from)
        : Item(from), evicted(to), id(number), charge(in, bytes) {}
    void evict() noexcept override {
      evicted.push_back(id);
      charge = {};
    }
    std::vector<int>& evicted;
    int id;
    Kept::Charge charge;
  };
  const std::uint64_t third = kept.limit() / 3;
  Thing program(evicted, 1, kept, third, Kept::Item::From::client);
  Thing a(evicted, 2, kept, third, Kept::Item::From::daemon);
  Thing b(evicted, 3, kept, third, Kept::Item::From::daemon);
  for (Thing* thing : {&program, &a, &b}) kept.use(*thing);
  kept.use(a);
  EXPECT_TRUE(kept.make_room(third));
  EXPECT_EQ(evicted, std::vector<int>{3});
  EXPECT_TRUE(kept.make_room(kept.limit()));
  EXPECT_EQ(evicted, (std::vector<int>{3, 2, 1}));
  EXPECT_FALSE(kept.make_room(kept.limit() + 1));
  EXPECT_EQ(kept.bytes(), 0U);
}

/// Compares an argument that is a number with the same number as a literal.
class NumberArgumentTest : public HeldTest {
 protected:
  Reply call(std::uint64_t id, Handles args, std::vector<NumberArgument> numbers, Handles results) {
    wire::Run run{{}, id, std::move(args), std::move(results), false, {}};
    run.numbers = std::move(numbers);
    return caller_.ask(std::move(run));
  }
};

TEST_F(NumberArgumentTest, GivesWhatTheLiteralGives) {
  const std::vector<Number> numbers{std::int64_t{0},
                                    std::int64_t{1},
                                    std::int64_t{-1},
                                    std::int64_t{-2},
                                    std::int64_t{-3},
                                    std::int64_t{3},
                                    std::int64_t{200},
                                    std::int64_t{-200},
                                    std::int64_t{70'000},
                                    std::int64_t{1} << 40,
                                    std::uint64_t{1} << 63,
                                    0.5,
                                    1e30,
                                    std::complex<double>{1, 2}};
  std::uint64_t next = 1;
  std::uint64_t id = 1;
  for (const char* type :
       {"u2", "u8", "s8", "s32", "u64", "f8_e4m3fn", "bf16", "f32", "f64", "c64"}) {
    const std::uint64_t x = next++;
    ASSERT_TRUE(caller_.run(Program{{}, {iota(0, type, {3})}, {0}}, {}, {x}).ok());
    for (const char* name : {"add", "multiply", "equal", "logical_and"}) {
      ASSERT_TRUE(
          caller_.ask(wire::Prepare{++id, Program{{0, 1}, {op(name, {v(0), v(1)}, 2)}, {2}}}).ok());
      for (const Number& number : numbers) {
        SCOPED_TRACE(testing::Message() << type << ' ' << name << ' ' << number.index());
        const std::uint64_t a = next++;
        const std::uint64_t b = next++;
        const Reply literal =
            caller_.run(Program{{0}, {op(name, {v(0), Operand{number}}, 1)}, {1}}, {x}, {a});
        const Reply argument = call(id, {x, 0}, {{1, number}}, {b});
        ASSERT_TRUE(literal.ok() && argument.ok()) << literal.text() << argument.text();
        EXPECT_EQ(argument.results[0].dtype, literal.results[0].dtype);
        const auto bytes = caller_.ask(wire::Info{a}).numbers.at("bytes");
        EXPECT_EQ(caller_.download<std::uint8_t>(a, bytes),
                  caller_.download<std::uint8_t>(b, bytes));
      }
    }
  }
}

TEST(Numbers, OfOneClassShareAPlan) {
  Memory memory;
  const Limits limits;
  kernel::Compiler compiler({});
  Kernels kernels(memory, limits, compiler);
  Programs programs(memory, limits, kernels, 1);
  ASSERT_TRUE(programs.prepare(1, Program{{0, 1}, {op("multiply", {v(0), v(1)}, 2)}, {2}}));
  const auto plan = [&](const Number& number) {
    const std::array types{TensorType{f32, {2}}, TensorType{infer_dtype(number), {}}};
    const std::array numbers{NumberArgument{1, number}};
    return programs.plan(1, {types, numbers})->get();
  };
  const Plan* first = plan(1.0001);
  EXPECT_EQ(plan(1.0002), first);
  EXPECT_EQ(plan(-1e300), first);
  EXPECT_NE(plan(std::int64_t{1}), first);
  EXPECT_EQ(plan(std::int64_t{5}), plan(std::int64_t{7}));
  EXPECT_NE(plan(std::int64_t{5}), plan(std::int64_t{300}));
}

TEST_F(NumberArgumentTest, CannotBeWrittenAndMayBeAResult) {
  const Program program{{0}, {in_place(op("negate", {v(0)}, 1))}, {1}};
  ASSERT_TRUE(caller_.ask(wire::Prepare{1, program}).ok());
  EXPECT_EQ(call(1, {0}, {{0, Number{2.5}}}, {1}).code(), "bad_program");
  const Program same{{0}, {}, {0, 0}};
  ASSERT_TRUE(caller_.ask(wire::Prepare{2, same}).ok());
  ASSERT_TRUE(call(2, {0}, {{0, Number{2.5}}}, {2, 3}).ok());
  EXPECT_EQ(caller_.download<float>(2, 1), std::vector<float>{2.5F});
  EXPECT_EQ(caller_.download<float>(3, 1), std::vector<float>{2.5F});
}

/// An outbox that can report that it is full.
class Fillable : public Collector {
 public:
  bool full() const override { return full_.load(); }
  std::atomic<bool> full_{false};
};

TEST_F(HeldTest, NoRepliesAreMadeWhileNobodyTakesThem) {
  const auto outbox = std::make_shared<Fillable>();
  const auto session = open_session(engine_, outbox);
  const auto frame = std::make_shared<const wire::Frame>(64);
  session->submit({1, wire::Hello{1, "test"}}, frame);
  // The first request is long, so that the others wait in the queue.
  session->submit({2, wire::Run{endless(), {}, {}, {1}, false, 300}}, frame);
  std::uint64_t info = 1000;
  do {
    session->submit({++info, wire::Info{}}, frame);
  } while (outbox->wait(info).numbers["running"] != 2 && info < 100'000);
  for (std::uint64_t id = 3; id < 100; ++id) session->submit({id, wire::Download{9, 0, 0}}, frame);
  outbox->full_ = true;
  EXPECT_EQ(outbox->wait(2).status, "deadline_exceeded");
  session->submit({100, wire::Ping{}}, frame);
  EXPECT_TRUE(outbox->wait(100).ok());
  EXPECT_EQ(outbox->wait(3, Milliseconds(100)).status, "none");
  EXPECT_LE(session->pending_requests(), 97U);
  outbox->full_ = false;
  session->replies_taken();
  EXPECT_EQ(outbox->wait(99).code(), "bad_handle");
  session->close();
}

TEST_F(HeldTest, WhatWaitsIsItsFrame) {
  const std::uint64_t busy = caller_.run_later(endless(), {}, {1});
  // A program that takes a dozen times the memory of its frame.
  Program program{{}, {iota(300, "u8", {1})}, {1}};
  program.body.push_back(op("concatenate", std::vector<Operand>(20'000, Operand{ValueId{300}}), 1,
                            {{"axis", Number{std::int64_t{0}}}}));
  const Limits limits;
  wire::Decoder decoder(limits);
  std::uint64_t frames = 0;
  const std::uint64_t before = allocated();
  std::uint64_t id = caller_.next_id;
  for (int i = 0; i < 100; ++i, ++id) {
    const Handles results{100 + id};
    auto frame =
        std::make_shared<const wire::Frame>(outrigger::test::encode_run(id, program, {}, results));
    frames += frame->size();
    auto request = decoder.decode(*frame);
    ASSERT_TRUE(request);
    caller_.session->submit(std::move(*request), frame);
  }
  caller_.next_id = id;
  EXPECT_LE(allocated() - before, 2 * frames + MiB);
  EXPECT_GE(caller_.session->pending_bytes(), frames);
  caller_.ask(wire::Cancel{busy});
  EXPECT_TRUE(caller_.outbox->wait(id - 1).ok());
}

}  // namespace
}  // namespace outrigger::engine::test
