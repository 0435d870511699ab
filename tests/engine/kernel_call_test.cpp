// Kernels in a session: definition, calls in place and as values, errors with their line, atomic
// programs, cancel and deadline, limits. Kernels are interpreted, and run as machine code.

#include "engine/session_support.hpp"
#include "kernel/support_unit.hpp"
#include "support/kernel_units.hpp"

namespace outrigger::engine::test {
namespace {

using Longs = std::vector<std::int64_t>;

Instruction kernel(std::int64_t id, std::vector<Operand> in, Ids out) {
  Instruction made{"kernel", std::move(in), std::move(out), {}, {}, false};
  made.attrs.emplace_back("kernel_id", Number{id});
  return made;
}

KernelOptions kernel_options(bool compiled) {
  if (!compiled) return {};
  KernelOptions options;
  options.program = OUTRIGGER_KERNEL_COMPILER;
  options.library = find_llvm();
  return options;
}

class KernelCallTest : public SessionTestBase, public testing::WithParamInterface<bool> {
 protected:
  explicit KernelCallTest(std::uint64_t limit = 0, Limits limits = {})
      : SessionTestBase(limit, limits, kernel_options(GetParam())) {}
  void SetUp() override {
    if (GetParam() && find_llvm().empty())
      GTEST_SKIP() << "this machine has no libllvm19: kernels are interpreted here";
  }

  Reply define(std::uint64_t id, kernel::Unit unit) {
    return caller_.ask(wire::DefineKernel{id, std::move(unit)});
  }
  void upload(std::uint64_t handle, Longs values) {
    const auto n = static_cast<std::int64_t>(values.size());
    ASSERT_TRUE(caller_.upload(handle, "s64", {n}, values).ok());
  }
  Longs longs(std::uint64_t handle, std::size_t n) {
    return caller_.download<std::int64_t>(handle, n);
  }
  bool runs(std::uint64_t id) {
    for (int i = 0; i < 2000; ++i) {
      const Reply info = caller_.ask(wire::Info{});
      if (const auto found = info.numbers.find("running");
          found != info.numbers.end() && found->second == id)
        return true;
      std::this_thread::sleep_for(Milliseconds(1));
    }
    return false;
  }

  Caller caller_{engine_};
};

TEST_P(KernelCallTest, HelloAndInfoTellHowKernelsRun) {
  const std::string name = GetParam() ? "llvm 19" : "interpreted";
  EXPECT_EQ(caller_.outbox->wait(1).strings.at("kernels"), name);
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  const Reply info = caller_.ask(wire::Info{});
  EXPECT_EQ(info.numbers.at("kernels"), 1U);
  EXPECT_EQ(info.strings.at("kernel_code").find(name), 0U) << info.strings.at("kernel_code");
  upload(10, {1});
  const std::uint64_t code = info.numbers.at("code_bytes");
  const std::string expected = GetParam() ? "llvm 19.1.7: 1 compiled"
                                          : "interpreted: this daemon has no compiler of kernels";
  // On a busy machine, the first call may be interpreted.
  Reply later;
  for (int call = 0; call < 20 && later.strings["kernel_code"] != expected; ++call) {
    ASSERT_TRUE(
        caller_.run({{0}, {in_place(kernel(1, {v(0), number(1)}, {1}))}, {}}, {10}, {}).ok());
    later = caller_.ask(wire::Info{});
  }
  EXPECT_EQ(later.strings.at("kernel_code"), expected);
  EXPECT_EQ(later.numbers.at("code_bytes") > code, GetParam());
  ASSERT_TRUE(caller_.ask(wire::ForgetKernel{1}).ok());
  ASSERT_TRUE(caller_.ask(wire::ForgetKernel{1}).ok()) << "no error if it is gone already";
  EXPECT_EQ(caller_.ask(wire::Info{}).numbers.at("kernels"), 0U);
}

TEST_P(KernelCallTest, InPlaceEveryHolderSeesTheChange) {
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  upload(10, {1, 2, 3});
  // A value that was made before keeps its elements; a mutable view does not.
  ASSERT_TRUE(caller_.run({{0}, {op("reverse", {v(0)}, 1)}, {1}}, {10}, {11}).ok());
  ASSERT_TRUE(
      caller_
          .run({{0}, {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{2}}}))}, {1}},
               {10}, {12})
          .ok());
  const Reply reply =
      caller_.run({{0}, {in_place(kernel(1, {v(0), number(5)}, {1}))}, {1}}, {10}, {13});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_EQ(reply.results.at(0).dtype, "s64");
  EXPECT_TRUE(reply.results.at(0).shape.empty());
  EXPECT_EQ(longs(13, 1), Longs{10});
  EXPECT_EQ(longs(10, 3), (Longs{6, 7, 8}));
  EXPECT_EQ(longs(11, 3), (Longs{3, 2, 1}));
  EXPECT_EQ(longs(12, 2), (Longs{7, 8}));
  // Through the mutable view.
  ASSERT_TRUE(caller_.run({{0}, {in_place(kernel(1, {v(0), number(1)}, {1}))}, {}}, {12}, {}).ok());
  EXPECT_EQ(longs(10, 3), (Longs{6, 8, 9}));
}

TEST_P(KernelCallTest, AsValuesTheOperandStays) {
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  upload(10, {1, 2, 3});
  ASSERT_TRUE(
      caller_.run({{0}, {kernel(1, {v(0), number(5)}, {1, 2})}, {1, 2}}, {10}, {11, 12}).ok());
  EXPECT_EQ(longs(11, 1), Longs{10});
  EXPECT_EQ(longs(12, 3), (Longs{6, 7, 8}));
  EXPECT_EQ(longs(10, 3), (Longs{1, 2, 3}));
  // In a loop the value is taken over from turn to turn.
  const Program repeated{
      {0},
      {loop({v(0), number(0)}, {7, 8}, Region{{1, 2}, {op("less", {v(2), number(4)}, 3)}, {3}},
            Region{{1, 2},
                   {kernel(1, {v(1), number(1)}, {4, 5}), op("add", {v(2), number(1)}, 6)},
                   {5, 6}})},
      {7}};
  ASSERT_TRUE(caller_.run(repeated, {10}, {13}).ok());
  EXPECT_EQ(longs(13, 3), (Longs{5, 6, 7}));
  EXPECT_EQ(longs(10, 3), (Longs{1, 2, 3}));
  // A donated operand gives its memory.
  const std::uint64_t before = used();
  const Program once{{0}, {kernel(1, {v(0), number(1)}, {1, 2})}, {2}};
  wire::Run run{once, {}, {13}, {14}, false, {}};
  run.donated = {13};
  ASSERT_TRUE(caller_.ask(run).ok());
  EXPECT_EQ(longs(14, 3), (Longs{6, 7, 8}));
  EXPECT_EQ(used(), before);
}

TEST_P(KernelCallTest, NewTensorsAndScratch) {
  ASSERT_TRUE(define(1, outrigger::test::double_unit()).ok());
  upload(10, {1, -2, 3});
  const Program program{{0}, {kernel(1, {v(0)}, {1}), op("negate", {v(1)}, 2)}, {1, 2}};
  const Reply reply = caller_.run(program, {10}, {11, 12});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_EQ(reply.results.at(0).shape, List{3});
  EXPECT_EQ(longs(11, 3), (Longs{2, -4, 6}));
  EXPECT_EQ(longs(12, 3), (Longs{-2, 4, -6}));
  upload(20, {});
  ASSERT_TRUE(caller_.run(program, {20}, {21, 22}).ok());
  EXPECT_EQ(caller_.ask(wire::Info{}).numbers.at("memory.used"), used());
}

TEST_P(KernelCallTest, OperandsOfAnyLayout) {
  ASSERT_TRUE(define(1, outrigger::test::double_unit()).ok());
  upload(10, {1, 2, 3, 4, 5, 6});
  const Attrs every_second{{"lengths", List{5}}, {"strides", List{2}}};
  const Program program{
      {0},
      {op("slice", {v(0), number(1)}, 1, every_second), op("reverse", {v(1)}, 2),
       kernel(1, {v(2)}, {3}), constant(4, 7, "s64", {3}), kernel(1, {v(4)}, {5})},
      {3, 5}};
  const Reply reply = caller_.run(program, {10}, {11, 12});
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_EQ(longs(11, 3), (Longs{12, 8, 4}));
  EXPECT_EQ(longs(12, 3), (Longs{14, 14, 14}));
}

TEST_P(KernelCallTest, ErrorsNameTheLine) {
  ASSERT_TRUE(define(1, outrigger::test::at_unit()).ok());
  upload(10, {1, 2, 3});
  const Program program{{0}, {op("negate", {v(0)}, 1), kernel(1, {v(1), number(3)}, {2})}, {2}};
  const Reply outside = caller_.run(program, {10}, {11});
  EXPECT_EQ(outside.code(), "bad_index");
  ASSERT_TRUE(outside.error);
  EXPECT_EQ(outside.error->text, "A.at/2: index 3 of a is outside of 0..2");
  EXPECT_EQ(outside.error->op, "A.at/2");
  EXPECT_EQ(outside.error->index, std::vector<std::uint32_t>{1});
  EXPECT_EQ(outside.error->file, "lib/a.ex");
  EXPECT_EQ(outside.error->line, 4U);
  EXPECT_TRUE(outside.error->written.empty());
  const Reply later = caller_.ask(wire::Download{11, 0, 8});
  EXPECT_EQ(later.code(), "failed_operand");
  ASSERT_EQ(later.error->cause.size(), 1U);
  EXPECT_EQ(later.error->cause[0].line, 4U) << "the cause has the line, too";
}

TEST_P(KernelCallTest, AnErrorLeavesWhatIsWrittenUnlessTheProgramIsAtomic) {
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  upload(10, {1, 2});
  // The kernel stands in a loop, behind an op in place.
  const Program program{
      {0},
      {in_place(op("add", {v(0), number(100)}, 1)),
       loop({number(12)}, {9}, Region{{2}, {op("less", {v(2), number(20)}, 3)}, {3}},
            Region{{4},
                   {op("as_type", {v(4)}, 5, {{"type", std::string("s64")}}),
                    in_place(kernel(1, {v(0), v(5)}, {6})), op("add", {v(4), number(1)}, 7)},
                   {7}})},
      {}};
  const Reply undone = caller_.run(program, {10}, {}, true);
  EXPECT_EQ(undone.code(), "raised");
  ASSERT_TRUE(undone.error);
  EXPECT_EQ(undone.error->text, "A.bump/2: unlucky: 13");
  EXPECT_EQ(undone.error->line, 9U);
  EXPECT_TRUE(undone.error->written.empty());
  EXPECT_EQ(longs(10, 2), (Longs{1, 2}));
  const Reply kept = caller_.run(program, {10}, {});
  EXPECT_EQ(kept.code(), "raised");
  EXPECT_EQ(kept.error->written, Handles{10});
  EXPECT_EQ(longs(10, 2), (Longs{126, 127}));
}

TEST_P(KernelCallTest, OperandsThatDoNotFit) {
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  ASSERT_TRUE(define(2, outrigger::test::copy_unit()).ok());
  upload(10, {1, 2, 3});
  upload(11, {1, 2});
  ASSERT_TRUE(caller_.upload(12, "s32", {3}, std::vector<std::int32_t>{1, 2, 3}).ok());
  const auto fails = [&](std::vector<Operand> in, Handles args, std::string_view code,
                         std::string_view text, std::int64_t id = 1) {
    Ids params;
    for (std::size_t i = 0; i < args.size(); ++i) params.push_back(static_cast<ValueId>(i));
    const Ids out = id == 1 ? Ids{8} : Ids{};
    const Reply reply =
        caller_.run({params, {in_place(kernel(id, std::move(in), out))}, {}}, std::move(args), {});
    EXPECT_EQ(reply.code(), code);
    ASSERT_TRUE(reply.error);
    EXPECT_NE(reply.error->text.find(text), std::string::npos) << reply.error->text;
  };
  fails({v(0), number(1)}, {12}, "bad_dtype", "a must be a tensor of s64 with 1 axis, got s32[3]");
  fails({v(0), real(0.5)}, {10}, "bad_dtype", "operand 1 must be a number of s64");
  fails({number(3), number(1)}, {}, "bad_shape", "a must be a tensor of s64");
  fails({v(0), v(1)}, {10, 11}, "bad_shape", "operand 1 must be a number of s64, got s64[2]");
  fails({v(0)}, {10}, "bad_program", "takes 2 operands");
  fails({v(0), v(1)}, {10, 11}, "bad_shape", "axis 0 of to has the size 2, not 3", 2);
  fails({v(0), v(0)}, {10}, "bad_program", "share one memory", 2);
  fails({v(0), v(1)}, {10, 10}, "bad_program", "share one memory", 2);
  // As values, one memory is no matter.
  ASSERT_TRUE(caller_.run({{0}, {kernel(2, {v(0), v(0)}, {1})}, {1}}, {10}, {13}).ok());
  EXPECT_EQ(longs(13, 3), (Longs{1, 2, 3}));
  EXPECT_EQ(longs(10, 3), (Longs{1, 2, 3}));
  EXPECT_EQ(caller_.run({{0}, {kernel(1, {v(0), number(1)}, {1})}, {1}}, {10}, {14}).code(),
            "bad_program")
      << "not in place it has a result more";
}

TEST_P(KernelCallTest, NumbersOfACallShareAPlanByTheirClass) {
  ASSERT_TRUE(define(1, outrigger::test::at_unit()).ok());
  ASSERT_TRUE(
      caller_.ask(wire::Prepare{7, Program{{0, 1}, {kernel(1, {v(0), v(1)}, {2})}, {2}}}).ok());
  upload(10, {5, 6, 7});
  const auto call = [&](const Number& given, std::uint64_t result) {
    wire::Run run{{}, 7, {10, 0}, {result}, false, {}};
    run.numbers = {{1, given}};
    return caller_.ask(run);
  };
  ASSERT_TRUE(call(Number{std::int64_t{1}}, 11).ok());
  EXPECT_EQ(longs(11, 1), Longs{6});
  ASSERT_TRUE(call(Number{std::int64_t{0}}, 12).ok());
  EXPECT_EQ(longs(12, 1), Longs{5});
  EXPECT_EQ(call(Number{0.5}, 13).code(), "bad_dtype");
  EXPECT_EQ(call(Number{~std::uint64_t{0}}, 14).code(), "bad_dtype");
  EXPECT_EQ(call(Number{std::int64_t{-1}}, 15).code(), "bad_index");
}

TEST_P(KernelCallTest, AKernelIsBoundWhenTheProgramIsPrepared) {
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  const Program program{{0}, {kernel(1, {v(0), number(1)}, {1, 2})}, {2}};
  ASSERT_TRUE(caller_.ask(wire::Prepare{7, program}).ok());
  ASSERT_TRUE(caller_.ask(wire::ForgetKernel{1}).ok());
  upload(10, {1});
  ASSERT_TRUE(caller_.ask(wire::Run{{}, 7, {10}, {11}, false, {}}).ok());
  EXPECT_EQ(longs(11, 1), Longs{2});
  const Reply unknown = caller_.run(program, {10}, {12});
  EXPECT_EQ(unknown.code(), "unknown_kernel");
  ASSERT_TRUE(unknown.error);
  EXPECT_EQ(unknown.error->index, std::vector<std::uint32_t>{0});
  EXPECT_EQ(caller_.ask(wire::Prepare{8, program}).code(), "unknown_kernel");
  EXPECT_EQ(caller_.run({{}, {op("kernel", {}, 0)}, {0}}, {}, {13}).code(), "bad_attr");
}

TEST_P(KernelCallTest, ARefusedKernelStaysRefused) {
  kernel::Unit bad = outrigger::test::bump_unit();
  kernel::Node& sum = bad.kernels[0].nodes[3];
  ASSERT_EQ(sum.what, kernel::What::add);
  sum.operands[0] = 1000;
  sum.line = 5;
  const Reply refused = define(1, bad);
  EXPECT_EQ(refused.code(), "bad_kernel");
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->file, "lib/a.ex");
  EXPECT_EQ(refused.error->line, 5U);
  upload(10, {1});
  const Program program{{0}, {kernel(1, {v(0), number(1)}, {1, 2})}, {2}};
  EXPECT_EQ(caller_.run(program, {10}, {11}).code(), "bad_kernel")
      << "what the definition found, for clients that did not wait for its reply";
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  ASSERT_TRUE(caller_.run(program, {10}, {12}).ok());
  EXPECT_EQ(define(1, bad).code(), "bad_kernel");
  EXPECT_TRUE(caller_.run(program, {10}, {13}).ok()) << "a refused kernel replaces none";
}

TEST_P(KernelCallTest, AnEndlessKernelIsCancelled) {
  ASSERT_TRUE(define(1, outrigger::test::endless_unit()).ok());
  upload(10, {1, 2});
  const Program program{{0}, {in_place(kernel(1, {v(0)}, {}))}, {}};
  const std::uint64_t busy = caller_.run_later(program, {10}, {});
  ASSERT_TRUE(runs(busy));
  EXPECT_TRUE(caller_.ask(wire::Cancel{busy}).flags.at("found"));
  const Reply cancelled = caller_.outbox->wait(busy);
  EXPECT_EQ(cancelled.status, "cancelled");
  EXPECT_EQ(cancelled.error->written, Handles{10});
  EXPECT_EQ(longs(10, 2), (Longs{7, 2}));
  const Reply late = caller_.outbox->wait(caller_.run_later(program, {10}, {}, 20));
  EXPECT_EQ(late.status, "deadline_exceeded");
  upload(11, {3});
  const Reply atomic = caller_.ask(wire::Run{program, {}, {11}, {}, true, 20});
  EXPECT_EQ(atomic.status, "deadline_exceeded");
  EXPECT_EQ(longs(11, 1), Longs{3});
}

TEST_P(KernelCallTest, TheEndOfASessionEndsAnEndlessKernel) {
  ASSERT_TRUE(define(1, outrigger::test::endless_unit()).ok());
  upload(10, {1, 2});
  const std::uint64_t busy =
      caller_.run_later({{0}, {in_place(kernel(1, {v(0)}, {}))}, {}}, {10}, {});
  ASSERT_TRUE(runs(busy));
  caller_.close();
  EXPECT_TRUE(becomes_unused());
}

class SmallKernelCallTest : public KernelCallTest {
 protected:
  SmallKernelCallTest() : KernelCallTest(std::uint64_t{64} << 20, limits()) {}
  static Limits limits() {
    Limits limits;
    limits.kernels_max = 2;
    return limits;
  }
};

TEST_P(SmallKernelCallTest, TheLeastRecentlyUsedKernelGoesFirst) {
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  ASSERT_TRUE(define(2, outrigger::test::bump_unit()).ok());
  upload(10, {1});
  const auto program = [](std::int64_t id) {
    return Program{{0}, {in_place(kernel(id, {v(0), number(1)}, {1}))}, {}};
  };
  ASSERT_TRUE(caller_.run(program(1), {10}, {}).ok());
  ASSERT_TRUE(define(3, outrigger::test::bump_unit()).ok());
  EXPECT_EQ(caller_.run(program(2), {10}, {}).code(), "unknown_kernel");
  EXPECT_TRUE(caller_.run(program(1), {10}, {}).ok());
  EXPECT_TRUE(caller_.run(program(3), {10}, {}).ok());
}

TEST_P(SmallKernelCallTest, KernelsCountInTheBudgetOfPlans) {
  const std::uint64_t before = engine_->memory().kept().bytes();
  ASSERT_TRUE(define(1, outrigger::test::bump_unit()).ok());
  EXPECT_GT(engine_->memory().kept().bytes(), before + 1000);
  ASSERT_TRUE(caller_.ask(wire::ForgetKernel{1}).ok());
  // Machine code stays, for the next session with the kernel, until its memory is needed.
  if (!GetParam()) {
    EXPECT_EQ(engine_->memory().kept().bytes(), before);
  }
}

TEST_P(SmallKernelCallTest, ScratchIsPlannedBeforeTheProgramRuns) {
  ASSERT_TRUE(define(1, outrigger::test::double_unit()).ok());
  upload(10, {1});
  const auto writes_and_doubles = [&](std::int64_t n, std::uint64_t result) {
    const Program program{
        {0},
        {in_place(op("add", {v(0), number(1)}, 1)), iota(2, "s64", {n}), kernel(1, {v(2)}, {3})},
        {3}};
    return caller_.run(program, {10}, {result});
  };
  // The operand, the result and the scratch memory have 8 MiB each, then 24 MiB each.
  ASSERT_TRUE(writes_and_doubles(1 << 20, 11).ok());
  EXPECT_EQ(longs(10, 1), Longs{2});
  const Reply refused = writes_and_doubles(3 << 20, 12);
  EXPECT_EQ(refused.code(), "out_of_memory");
  EXPECT_EQ(longs(10, 1), Longs{2}) << "nothing has run";
}

TEST_P(KernelCallTest, GoldenUnitsRunInPrograms) {
  kernel::GoldenUnits golden;
  ASSERT_TRUE(define(1, golden.unit("sieve/50")).ok());
  const Program program{
      {},
      {constant(0, 0, "u8", {1000}), in_place(kernel(1, {v(0)}, {1})), op("sum", {v(0)}, 2)},
      {1, 2}};
  ASSERT_TRUE(caller_.run(program, {}, {10, 11}).ok());
  EXPECT_EQ(longs(10, 1), Longs{168}) << "primes below 1000";
  ASSERT_TRUE(define(2, golden.unit("merge_sort/9")).ok());
  upload(12, {5, 3, 9, -1, 4});
  ASSERT_TRUE(caller_.run({{0}, {kernel(2, {v(0)}, {1})}, {1}}, {12}, {13}).ok());
  EXPECT_EQ(longs(13, 5), (Longs{-1, 3, 4, 5, 9}));
}

INSTANTIATE_TEST_SUITE_P(Executions, KernelCallTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "compiled" : "interpreted"; });
INSTANTIATE_TEST_SUITE_P(Executions, SmallKernelCallTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "compiled" : "interpreted"; });

}  // namespace
}  // namespace outrigger::engine::test
