// Each op of the catalogue checks the interrupt often enough while it works on large operands, and
// ends at the check that reports it. The test counts checks against elements, and never time.
// OUTRIGGER_LOOKS=n prints, for operands of n elements, the longest processor time between two
// checks of each case. It shows where checks are missing.

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <set>

#include "engine/builder.hpp"
#include "ops/op.hpp"

namespace outrigger::engine::test {

/// Any thread calls it at each check; it returns true if the deadline has passed. Null if the
/// checks are not counted.
std::function<bool()> is_late;

}  // namespace outrigger::engine::test

// With a deadline, a check reads the time. The clock of this program therefore counts the checks.
std::chrono::steady_clock::time_point std::chrono::steady_clock::now() noexcept {
  using outrigger::engine::test::is_late;
  if (is_late && is_late()) return time_point::max();
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time_point(seconds(time.tv_sec) + nanoseconds(time.tv_nsec));
}

namespace outrigger::engine::test {
namespace {

/// Runs the plan, and calls `late` at each check.
Outcome run_watched(Runner& runner, const Plan& plan, const std::vector<Tensor>& args, int threads,
                    std::function<bool()> late) {
  runner.interrupt.set_deadline(ops::Interrupt::Clock::time_point::max());
  is_late = std::move(late);
  Outcome outcome = runner.run(plan, args, threads);
  is_late = nullptr;
  return outcome;
}

/// The largest number of element steps between two checks.
constexpr std::int64_t steps_max = std::int64_t{1} << 18;

struct Case {
  std::string op;
  std::vector<Tensor> args;
  Attrs attrs = {};
  /// The smallest number of steps for each of Operands::n() elements. A step is the work for one
  /// element.
  std::int64_t steps = 1;
  /// The op of a region, for folds.
  std::string region = {};
};

/// The cases are visited one after the other, because together their operands would be too large.
using Visit = std::function<void(const Case&)>;

class Operands {
 public:
  Operands(Runner& runner, std::int64_t n) : runner_(runner), n_(n) {}

  std::int64_t n() const { return n_; }

  /// Pseudo-random elements that are small enough for every op; integers are below `bound`.
  Tensor of(DType dtype, const Dims& shape, std::int64_t bound = 100) {
    Tensor made = runner_.empty(dtype, shape);
    const std::size_t width = size_of(dtype);
    std::uint64_t state = 88172645463325252U;
    std::vector<std::byte> block(width * 4099);
    for (std::size_t i = 0; i < 4099; ++i) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      const auto n = static_cast<std::int64_t>(state >> 33) % bound;
      const Number number =
          is_integer(dtype)
              ? Number{n}
              : Number{0.01 + 0.9 * static_cast<double>(n) / static_cast<double>(bound)};
      store_number(number, dtype, block.data() + i * width);
    }
    std::byte* const to = made.storage->buffer->data();
    const auto bytes = static_cast<std::size_t>(made.size()) * width;
    for (std::size_t at = 0; at < bytes; at += block.size())
      std::copy_n(block.data(), std::min(block.size(), bytes - at), to + at);
    return made;
  }
  Tensor flat(DType dtype) { return of(dtype, {n_}); }
  /// Two axes; the second one has the larger stride.
  Tensor turned(DType dtype) {
    const std::int64_t rows = 64;
    const Tensor made = of(dtype, {rows, n_ / rows});
    return view_of(made, TensorType{dtype, {n_ / rows, rows}}, {1, n_ / rows}, 0, false);
  }
  Tensor index(std::int64_t bound, Dims shape) {
    Tensor made = runner_.empty(DType::s64, shape);
    std::uint64_t state = 88172645463325252U;
    for (std::int64_t i = 0; i < made.size(); ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      made.as<std::int64_t>()[i] =
          static_cast<std::int64_t>((state >> 20) % static_cast<std::uint64_t>(bound));
    }
    return made;
  }

 private:
  Runner& runner_;
  std::int64_t n_;
};

bool takes_integers(const ops::OpRow& row) {
  return row.name.starts_with("bitwise") || row.name.ends_with("shift") || row.name == "quotient" ||
         row.name == "population_count" || row.name == "count_leading_zeros";
}

void elementwise(Operands& make, const Visit& visit) {
  for (const ops::OpRow& row : ops::all_ops()) {
    if (row.kind != ops::Kind::elementwise || row.family == "creation") continue;
    const DType dtype = takes_integers(row) ? DType::s64 : DType::f64;
    Case one{std::string(row.name), {make.flat(dtype)}};
    for (std::size_t i = 1; i < row.operands.size(); ++i)
      one.args.push_back(row.name == "clip" ? make.of(dtype, {}) : make.flat(dtype));
    if (row.name == "as_type") one.attrs = {{"type", std::string("f32")}};
    visit(one);
  }
  visit({"add", {make.flat(DType::f16), make.flat(DType::s32)}});
  visit({"pow", {make.flat(DType::c64), make.flat(DType::c64)}});
  visit({"add", {make.turned(DType::f32), make.of(DType::f32, {make.n() / 64, 64})}});
}

void layout(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const DType dtype : {DType::u8, DType::c128}) {
    const Tensor x = make.turned(dtype);
    const Tensor scalar = make.of(dtype, {});
    const Tensor zero = make.index(1, {});
    visit({"fill", {x, scalar}});
    visit({"reshape", {x}, {{"shape", List{n}}}});
    visit({"put_slice", {x, x, zero, zero}, {}, 2});
    visit({"concatenate", {x, x}, {{"axis", std::int64_t{1}}}, 2});
    visit({"stack", {x, x}, {{"axis", std::int64_t{2}}}, 2});
    visit({"pad", {x, scalar}, {{"low", List{1, 1}}, {"interior", List{0, 1}}}, 2});
    visit({"pad", {make.flat(dtype), scalar}, {{"low", List{n}}}, 2});
  }
  visit({"iota", {}, typed("f16", {n})});
  visit({"iota", {}, typed("s64", {n})});
  visit({"eye", {}, typed("f32", {4096, n / 4096})});
}

void reductions(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const char* name : {"sum", "product", "reduce_max", "reduce_min", "all", "any"}) {
    for (const DType dtype : {DType::u8, DType::f16, DType::f64}) {
      visit({name, {make.flat(dtype)}});
      visit({name, {make.of(dtype, {n, 1})}, {{"axes", List{0}}}});
      visit({name, {make.turned(dtype)}, {{"axes", List{0}}}});
      visit({name, {make.turned(dtype)}, {{"axes", List{1}}}});
    }
  }
  for (const char* name : {"argmax", "argmin"}) {
    for (const DType dtype : {DType::u8, DType::bf16, DType::f64}) {
      visit({name, {make.flat(dtype)}});
      visit({name, {make.turned(dtype)}, {{"axis", std::int64_t{0}}}});
      visit({name, {make.turned(dtype)}, {{"axis", std::int64_t{1}}}});
    }
  }
  for (const char* name :
       {"cumulative_sum", "cumulative_product", "cumulative_min", "cumulative_max"}) {
    for (const DType dtype : {DType::s64, DType::f16, DType::f32}) {
      visit({name, {make.flat(dtype)}});
      visit({name, {make.of(dtype, {n / 4, 4})}});
      visit({name, {make.turned(dtype)}, {{"axis", std::int64_t{0}}}});
      visit({name, {make.turned(dtype)}, {{"axis", std::int64_t{1}}, {"reverse", true}}});
    }
  }
}

void windows(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const char* name : {"window_sum", "window_product", "window_max", "window_min"}) {
    for (const DType dtype : {DType::s32, DType::f16, DType::f64}) {
      visit({name, {make.flat(dtype)}, {{"window", List{3}}}});
      visit({name, {make.flat(dtype)}, {{"window", List{n}}}});
      visit({name, {make.flat(dtype)}, {{"window", List{n / 2}}, {"strides", List{n / 8}}}});
      visit({name, {make.of(dtype, {n / 1024, 1024})}, {{"window", List{4, 4}}}, 2});
      visit({name, {make.turned(dtype)}, {{"window", List{1, 64}}}});
      visit({name,
             {make.of(dtype, {4, n / 4})},
             {{"window", List{2, n / 16}}, {"strides", List{1, n / 16}}}});
    }
  }
  for (const char* name : {"window_scatter_max", "window_scatter_min"}) {
    for (const DType dtype : {DType::s32, DType::f16, DType::f64}) {
      const Tensor scalar = make.of(dtype, {});
      visit({name,
             {make.flat(dtype), make.of(dtype, {n / 4}), scalar},
             {{"window", List{4}}, {"strides", List{4}}}});
      visit({name, {make.flat(dtype), make.of(dtype, {1}), scalar}, {{"window", List{n}}}});
      visit({name,
             {make.flat(dtype), make.of(dtype, {2}), scalar},
             {{"window", List{n / 2}}, {"strides", List{n / 2}}}});
      visit({name,
             {make.of(dtype, {n / 1024, 1024}), make.of(dtype, {n / 2048, 512}), scalar},
             {{"window", List{2, 2}}, {"strides", List{2, 2}}}});
      visit({name,
             {make.of(dtype, {n / 4096, 4096}), make.of(dtype, {n / 4096 - 15, 4096 - 15}), scalar},
             {{"window", List{16, 16}}},
             64});
    }
  }
}

void products(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const DType dtype :
       {DType::u8, DType::s64, DType::f16, DType::f32, DType::f64, DType::c64, DType::c128}) {
    visit({"dot", {make.flat(dtype), make.flat(dtype)}});
    visit({"dot", {make.of(dtype, {n / 1024, 1024}), make.of(dtype, {1024})}});
    visit({"dot", {make.of(dtype, {4, n / 4}), make.of(dtype, {n / 4, 4})}});
    visit({"dot", {make.of(dtype, {n / 4, 4}), make.of(dtype, {4, 4})}});
    visit({"dot", {make.turned(dtype), make.of(dtype, {64, 64})}, {}, 4});
    // A product of 256³ complex numbers is one piece. A piece of bytes has more products than one
    // of wider numbers. The size of the second cache changes the pieces by a factor of up to two.
    visit({"dot",
           {make.of(dtype, {n / 1024, 1024}), make.of(dtype, {1024, 256})},
           {},
           is_complex(dtype)    ? 2
           : dtype == DType::u8 ? 4
                                : 8});
    visit({"dot",
           {make.of(dtype, {n / 4}), make.of(dtype, {4})},
           {{"left_axes", List{}}, {"right_axes", List{}}}});
    visit({"dot",
           {make.of(dtype, {n / 16, 4, 4}), make.of(dtype, {n / 16, 4, 4})},
           {{"left_batch_axes", List{0}},
            {"left_axes", List{2}},
            {"right_batch_axes", List{0}},
            {"right_axes", List{1}}}});
  }
  for (const DType dtype : {DType::f16, DType::f32, DType::f64, DType::c64, DType::c128}) {
    visit({"conv", {make.of(dtype, {1, 4, n / 4}), make.of(dtype, {4, 4, 3})}});
    visit({"conv", {make.of(dtype, {1, 1, n / 1024, 1024}), make.of(dtype, {1, 1, 5, 5})}, {}, 4});
    visit({"conv", {make.of(dtype, {n / 64, 64, 1}), make.of(dtype, {64, 64, 1})}, {}, 4});
    visit({"conv", {make.of(dtype, {1, 1, n}), make.of(dtype, {1, 1, n - 8})}, {}, 1});
    visit({"conv", {make.of(dtype, {1, n / 16, 4}), make.of(dtype, {2, n / 16, 4})}, {}, 1});
  }
}

std::int64_t prime_below(std::int64_t n) {
  const auto is_prime = [](std::int64_t p) {
    for (std::int64_t d = 2; d * d <= p; ++d) {
      if (p % d == 0) return false;
    }
    return true;
  };
  while (!is_prime(n)) --n;
  return n;
}

void transforms(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  const std::int64_t prime = prime_below(n);
  for (const char* name : {"fft", "ifft", "rfft", "irfft"}) {
    for (const DType dtype : {DType::s32, DType::f16, DType::f64, DType::c64, DType::c128}) {
      if (name == std::string("rfft") && is_complex(dtype)) continue;
      visit({name, {make.flat(dtype)}});
      visit({name, {make.of(dtype, {prime})}, {}, 4});
      visit({name, {make.of(dtype, {n / 1024, 1024})}});
      visit({name, {make.of(dtype, {n / 1009, 1009})}});
      visit({name, {make.turned(dtype)}, {{"axis", std::int64_t{0}}}});
    }
  }
  for (const char* name : {"fft2", "ifft2"}) {
    for (const DType dtype : {DType::f32, DType::c128}) {
      visit({name, {make.of(dtype, {n / 1024, 1024})}, {}, 2});
      visit({name, {make.of(dtype, {2, n / 2})}, {}, 2});
    }
  }
}

void indexed(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const DType dtype : {DType::u8, DType::f16, DType::f64, DType::c128}) {
    const Tensor x = make.flat(dtype);
    const Tensor wide = make.of(dtype, {n / 64, 64});
    visit({"gather", {x, make.index(n, {n, 1})}});
    visit({"gather", {wide, make.index(n / 64, {n / 64, 1})}});
    visit({"gather", {make.of(dtype, {2, n / 2}), make.index(2, {2, 1})}});
    visit({"gather", {make.of(dtype, {n / 64, 64}), make.index(64, {n / 2, 2})}});
    visit({"take", {x, make.index(n, {n})}});
    visit({"take",
           {make.of(dtype, {64, n / 64}), make.index(n / 64, {n / 64})},
           {{"axis", std::int64_t{1}}}});
    visit({"take", {make.of(dtype, {2, n / 2}), make.index(2, {2})}, {{"axis", std::int64_t{0}}}});
    visit({"take_along_axis", {x, make.index(n, {n})}});
    visit({"take_along_axis", {wide, make.index(64, {n / 64, 64})}, {{"axis", std::int64_t{1}}}});
    visit(
        {"take_along_axis", {wide, make.index(n / 64, {n / 64, 64})}, {{"axis", std::int64_t{0}}}});
    for (const char* name : {"indexed_put", "indexed_add"}) {
      visit({name, {x, make.index(n, {n, 1}), x}, {}, 8});
      visit({name, {wide, make.index(n / 64, {n / 64, 1}), wide}, {}, 8});
      visit({name,
             {make.of(dtype, {2, n / 2}), make.index(2, {2, 1}), make.of(dtype, {2, n / 2})},
             {},
             8});
      visit({name,
             {make.of(dtype, {n / 64, 64}), make.index(64, {n / 2, 2}), make.of(dtype, {n / 2})},
             {},
             8});
      visit({name,
             {wide, make.index(64, {64, 1}), make.of(dtype, {64, n / 64})},
             {{"axes", List{1}}},
             8});
    }
  }
}

void sorts(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const DType dtype : {DType::u8, DType::s32, DType::f16, DType::f32, DType::f64}) {
    for (const char* name : {"sort", "argsort"}) {
      visit({name, {make.flat(dtype)}, {}, 2});
      visit({name, {make.flat(dtype)}, {{"direction", std::string("desc")}}, 2});
      visit({name, {make.of(dtype, {n / 64, 64})}, {{"axis", std::int64_t{1}}}});
      visit({name, {make.turned(dtype)}, {{"axis", std::int64_t{0}}}});
    }
    visit({"argsort", {make.flat(dtype)}, {{"stable", true}}, 2});
    visit({"top_k", {make.flat(dtype)}, {{"k", n / 2}}});
    visit({"top_k", {make.flat(dtype)}, {{"k", std::int64_t{5}}}});
    visit({"top_k", {make.flat(dtype)}, {{"k", n}}});
    visit({"top_k", {make.of(dtype, {n / 64, 64})}, {{"k", std::int64_t{5}}}});
    visit({"top_k", {make.turned(dtype)}, {{"k", std::int64_t{5}}}});
  }
}

void folds(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n();
  for (const DType dtype : {DType::s32, DType::f16, DType::f64}) {
    const Tensor scalar = make.of(dtype, {});
    visit({"reduce", {make.flat(dtype), scalar}, {}, 1, "add"});
    visit({"reduce", {make.flat(dtype), scalar}, {}, 1, "subtract"});
    visit({"reduce", {make.turned(dtype), scalar}, {{"axes", List{0}}}, 1, "subtract"});
    visit({"window_reduce", {make.flat(dtype), scalar}, {{"window", List{3}}}, 1, "subtract"});
    visit({"window_reduce", {make.flat(dtype), scalar}, {{"window", List{n}}}, 1, "subtract"});
    visit({"map", {make.flat(dtype)}, {}, 1, "negate"});
    visit({"map", {make.of(dtype, {n / 64})}, {}, 1, "sum"});
    visit({"reduce", {make.of(dtype, {n / 64}), scalar}, {}, 1, "sum"});
    visit({"window_reduce",
           {make.of(dtype, {n / 64}), scalar},
           {{"window", List{n / 64}}},
           1,
           "sum"});
  }
}

void small_matrices(Operands& make, const Visit& visit) {
  const std::int64_t n = make.n() / 4;
  for (const DType dtype : {DType::f16, DType::f64, DType::c64}) {
    const Tensor x = make.of(dtype, {n / 16, 4, 4});
    for (const char* name : {"determinant", "lu", "qr", "svd"}) {
      if (name == std::string("svd") && is_complex(dtype)) continue;
      visit({name, {x}});
    }
    visit({"triangular_solve", {x, x}});
  }
}

Program program_of(const Case& c) {
  Program program;
  std::vector<Operand> in;
  for (std::size_t i = 0; i < c.args.size(); ++i) {
    program.params.push_back(static_cast<ValueId>(i));
    in.emplace_back(static_cast<ValueId>(i));
  }
  Instruction instruction = op(c.op, std::move(in), 100, c.attrs);
  const auto* const row = ops::find_op(c.op);
  for (int i = 1; i < row->results; ++i) instruction.out.push_back(static_cast<ValueId>(100 + i));
  if (c.op == "map")
    instruction.regions = {Region{{50}, {op(c.region, {v(50)}, 52)}, {52}}};
  else if (c.region == "sum")
    // A reduction is not elementwise, so that the region runs once for each element.
    instruction.regions = {
        Region{{50, 51}, {op("sum", {v(50)}, 52), op("add", {v(52), v(51)}, 53)}, {53}}};
  else if (!c.region.empty())
    instruction.regions = {Region{{50, 51}, {op(c.region, {v(50), v(51)}, 52)}, {52}}};
  program.body = {std::move(instruction)};
  program.outputs = {100};
  return program;
}

std::string label(const Case& c) {
  std::string text = c.op;
  for (const Tensor& tensor : c.args) text += " " + to_string(tensor.type);
  if (!c.region.empty()) text += " " + c.region;
  for (const auto& [name, value] : c.attrs) {
    text += " " + name + "=";
    if (const auto* list = std::get_if<List>(&value)) {
      for (const std::int64_t i : *list) text += std::to_string(i) + ",";
    }
  }
  return text;
}

double processor_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

void print_gap(const Case& c) {
  Runner runner;
  const auto planned = runner.plan(program_of(c), c.args);
  ASSERT_TRUE(planned) << label(c) << ": " << planned.error().text;
  std::int64_t looks = 0;
  double widest = 0;
  const double started = processor_ms();
  double last = started;
  const Outcome outcome = run_watched(runner, **planned, c.args, 1, [&] {
    const double now = processor_ms();
    widest = std::max(widest, now - last);
    last = now;
    ++looks;
    return false;
  });
  const double ended = processor_ms();
  widest = std::max(widest, ended - last);
  std::printf("%8.1f ms of %8.1f, %7lld looks: %s%s\n", widest, ended - started,
              static_cast<long long>(looks), label(c).c_str(),
              outcome.error ? (" !! " + outcome.error->text).c_str() : "");
  std::fflush(stdout);
}

using Maker = void (*)(Operands&, const Visit&);

class Looks : public testing::TestWithParam<std::pair<const char*, Maker>> {};

/// A run whose deadline passes at check number `ended_at`, counted from 1 (0: never). Returns the
/// number of checks.
std::int64_t looks_of(Runner& runner, const Case& c, std::int64_t ended_at, int threads) {
  std::atomic<std::int64_t> looks{0};
  const auto planned = runner.plan(program_of(c), c.args, threads);
  if (!planned) {
    ADD_FAILURE() << planned.error().text;
    return 0;
  }
  const Outcome outcome = run_watched(runner, **planned, c.args, threads, [&] {
    const std::int64_t look = ++looks;
    return ended_at != 0 && look >= ended_at;
  });
  if (ended_at == 0) {
    EXPECT_TRUE(succeeded(outcome));
  } else {
    EXPECT_TRUE(outcome.error && outcome.error->code == ErrorCode::deadline_exceeded)
        << "ended at look " << ended_at << " of " << looks;
  }
  return looks;
}

std::int64_t looks_of(const Case& c, std::int64_t ended_at, int threads) {
  Runner runner;
  return looks_of(runner, c, ended_at, threads);
}

TEST_P(Looks, AreFrequentAndEndTheOp) {
  /// The checks that callers make after the op has ended.
  constexpr std::int64_t afterwards = 4;
  const char* const asked = std::getenv("OUTRIGGER_LOOKS");
  Runner runner;
  Operands make(runner, asked != nullptr ? std::atoll(asked) : std::int64_t{1} << 20);
  GetParam().second(make, [&](const Case& c) {
    SCOPED_TRACE(label(c));
    if (asked != nullptr) return print_gap(c);
    const std::int64_t looks = looks_of(c, 0, 1);
    EXPECT_GE(looks, c.steps * make.n() / steps_max);
    EXPECT_LE(looks_of(c, looks / 2, 1), looks / 2 + afterwards);
    EXPECT_LE(looks_of(c, looks / 3, 2), looks / 3 + 2 * afterwards);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Catalogue, Looks,
    testing::Values(std::pair{"elementwise", &elementwise}, std::pair{"layout", &layout},
                    std::pair{"reductions", &reductions}, std::pair{"windows", &windows},
                    std::pair{"products", &products}, std::pair{"transforms", &transforms},
                    std::pair{"indexed", &indexed}, std::pair{"sorts", &sorts},
                    std::pair{"folds", &folds}, std::pair{"small_matrices", &small_matrices}),
    [](const auto& test) { return test.param.first; });

TEST(LooksTest, ThePlanOfALongTransformLooksToo) {
  Runner runner;
  Operands make(runner, std::int64_t{1} << 20);
  const Case c{"fft", {make.of(DType::c64, {prime_below(make.n() - 1000)})}};
  // The runner keeps the plan for the second run.
  const std::int64_t with_plan = looks_of(runner, c, 0, 1);
  EXPECT_GE(with_plan - looks_of(runner, c, 0, 1), 16 * make.n() / steps_max);
}

TEST(LooksTest, AnUpdateInPlaceThatIsInterruptedCountsAsWritten) {
  Runner runner;
  Operands make(runner, std::int64_t{1} << 18);
  const Tensor x = make.flat(DType::f32);
  Program program{{0, 1, 2}, {in_place(op("indexed_put", {v(0), v(1), v(2)}, 3))}, {3}};
  const std::vector<Tensor> args{x, make.index(make.n(), {make.n(), 1}), make.flat(DType::f32)};
  const auto planned = runner.plan(program, args);
  ASSERT_TRUE(planned) << planned.error().text;
  std::int64_t looks = 0;
  const auto count = [&] {
    ++looks;
    return false;
  };
  ASSERT_TRUE(succeeded(run_watched(runner, **planned, args, 1, count)));
  const std::int64_t last = looks;
  looks = 0;
  const Outcome outcome = run_watched(runner, **planned, args, 1, [&] { return ++looks >= last; });
  ASSERT_TRUE(outcome.error && outcome.error->code == ErrorCode::deadline_exceeded);
  EXPECT_EQ(outcome.written, (decltype(outcome.written){true, false, false}));
}

TEST(LooksTest, EveryOpIsCounted) {
  Runner runner;
  Operands make(runner, std::int64_t{1} << 18);
  std::set<std::string> counted;
  for (const Maker maker : {&elementwise, &layout, &reductions, &windows, &products, &transforms,
                            &indexed, &sorts, &folds, &small_matrices}) {
    maker(make, [&](const Case& c) { counted.insert(c.op); });
  }
  // The size of a frame limits from_binary. LAPACK computes the decompositions, and does not
  // interrupt a matrix.
  const std::set<std::string> exempt{"from_binary", "cholesky", "solve", "invert", "eigh"};
  for (const ops::OpRow& row : ops::all_ops()) {
    const std::string name(row.name);
    const bool works = row.kind != ops::Kind::view && row.kind != ops::Kind::constant &&
                       row.kind != ops::Kind::control;
    EXPECT_TRUE(!works || counted.contains(name) || exempt.contains(name)) << name;
  }
}

}  // namespace
}  // namespace outrigger::engine::test
