// Chains: the steps that are carried out block of rows by block. The results must be those of the
// steps one after the other.

#include <iostream>
#include <random>

#include "engine/alone.hpp"
#include "engine/planner/chain.hpp"
#include "ops/op.hpp"
#include "support/random.hpp"

namespace outrigger::engine::test {
namespace {

using enum DType;
using Floats = std::vector<float>;

/// With these rules, small tensors become chains, too.
constexpr ChainRules eager{.saved_bytes_min = 1, .block_bytes = 512, .rows_min = 2};

Attrs to_shape(List shape) { return Attrs{{"shape", std::move(shape)}}; }

class ChainTest : public testing::TestWithParam<int> {
 protected:
  Tensor random(const Dims& shape, DType dtype = f32) {
    std::vector<float> x(static_cast<std::size_t>(element_count(shape)));
    for (float& value : x) value = std::uniform_real_distribution<float>(-2, 2)(generator_);
    const Tensor floats = runner_.tensor<float>(f32, shape, x);
    if (dtype == f32) return floats;
    const Program cast{
        {0}, {op("as_type", {v(0)}, 1, {{"type", std::string(name_of(dtype))}})}, {1}};
    return runner_.run(cast, {floats}).results[0];
  }

  /// Returns the kinds of the plan's steps, after it has compared the results with those of the
  /// instructions run one by one.
  std::vector<Kind> check(const Program& program, const std::vector<Tensor>& arguments,
                          const std::optional<ChainRules>& rules = eager) {
    const auto plan = runner_.plan(program, arguments, GetParam(), rules);
    EXPECT_TRUE(plan) << (plan ? "" : plan.error().text);
    std::vector<Kind> kinds;
    if (!plan) return kinds;
    for (const Step& step : (*plan)->main.steps) kinds.push_back(kind_of(step));
    runner_.memory.reset_watermark();
    const std::uint64_t before = runner_.memory.used();
    const Outcome outcome = runner_.run(**plan, arguments, GetParam());
    EXPECT_LE(runner_.memory.watermark() - before, (*plan)->peak.bytes);
    expect_same_alone(runner_, program, arguments, outcome);
    return kinds;
  }

  static Program softmax(std::int64_t axis) {
    return {{0},
            {op("reduce_max", {v(0)}, 1, over({axis}, true)), op("subtract", {v(0), v(1)}, 2),
             op("exp", {v(2)}, 3), op("sum", {v(3)}, 4, over({axis}, true)),
             op("divide", {v(3), v(4)}, 5)},
            {5}};
  }

  Runner runner_;
  std::mt19937_64 generator_{17};
};

TEST_P(ChainTest, SoftmaxOfRowsIsOne) {
  EXPECT_EQ(check(softmax(1), {random({37, 40})}), std::vector{Kind::chain});
  EXPECT_EQ(check(softmax(2), {random({3, 50, 40})}), std::vector{Kind::chain});
  // Along the columns there are rows of columns.
  EXPECT_EQ(check(softmax(0), {random({5, 400})}), std::vector{Kind::chain});
}

TEST_P(ChainTest, SmallValuesStayInTheCacheAnyway) {
  EXPECT_EQ(check(softmax(1), {random({37, 40})}, std::nullopt),
            (std::vector{Kind::compute, Kind::pass, Kind::pass}));
  const auto much = static_cast<std::int64_t>(ops::core_cache_bytes()) * GetParam();
  EXPECT_EQ(check(softmax(1), {random({much / 1024 + 1, 256})}, std::nullopt),
            std::vector{Kind::chain});
}

TEST_P(ChainTest, AProductIsTheFirstOfThem) {
  // The distances of a k-means: the step that does not belong to the chain comes first.
  const Program program{
      {0, 1},
      {op("dot", {v(0), v(1)}, 2), op("multiply", {v(1), v(1)}, 3), op("sum", {v(3)}, 4, over({0})),
       op("subtract", {v(4), v(2)}, 5), op("argmin", {v(5)}, 6, {{"axis", std::int64_t{1}}})},
      {6}};
  EXPECT_EQ(check(program, {random({301, 8}), random({8, 16})}),
            (std::vector{Kind::pass, Kind::chain}));
  EXPECT_EQ(check(program, {random({300, 8}, bf16), random({8, 16}, bf16)}).back(), Kind::chain);
}

TEST_P(ChainTest, AllPairsGoByTheFirstOfThePair) {
  const Program program{
      {0, 1},
      {op("reshape", {v(0)}, 2, to_shape({3, 1, 60})),
       op("reshape", {v(0)}, 3, to_shape({3, 60, 1})), op("subtract", {v(2), v(3)}, 4),
       op("multiply", {v(4), v(4)}, 5), op("sum", {v(5)}, 6, over({0})),
       op("add", {v(6), real(0.01)}, 7), op("rsqrt", {v(7)}, 8), op("multiply", {v(8), v(1)}, 9),
       op("multiply", {v(4), v(9)}, 10), op("sum", {v(10)}, 11, over({2}))},
      {11}};
  const auto kinds = check(program, {random({3, 60}), random({60})});
  EXPECT_EQ(kinds.back(), Kind::chain);
}

TEST_P(ChainTest, WhatIsUsedOutsideIsThereAsAWhole) {
  Program program = softmax(1);
  program.outputs = {1, 3, 4, 5};
  EXPECT_EQ(check(program, {random({37, 40})}),
            std::vector<Kind>({Kind::compute, Kind::pass, Kind::pass}));
  program.outputs = {1, 4, 5};
  EXPECT_EQ(check(program, {random({37, 40})}), std::vector{Kind::chain});
}

TEST_P(ChainTest, AViewThatIsUsedOutsideEndsIt) {
  const Program program{{0},
                        {op("exp", {v(0)}, 1), op("sum", {v(1)}, 2, over({1})),
                         op("reshape", {v(2)}, 3, to_shape({37, 1})), op("divide", {v(1), v(3)}, 4),
                         op("sum", {v(4)}, 5, over({1}))},
                        {3, 5}};
  const auto kinds = check(program, {random({37, 40})});
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), Kind::view), 1);
  const Program without{program.params, program.body, {5}};
  EXPECT_EQ(check(without, {random({37, 40})}), std::vector{Kind::chain});
}

TEST_P(ChainTest, InLoopsToo) {
  const Region turn{
      {10, 11},
      {op("reduce_max", {v(11)}, 12, over({1}, true)), op("subtract", {v(11), v(12)}, 13),
       op("exp", {v(13)}, 14), op("sum", {v(14)}, 15, over({1}, true)),
       op("divide", {v(14), v(15)}, 16), op("add", {v(10), number(1)}, 17)},
      {17, 16}};
  const Region condition{{20, 21}, {op("less", {v(20), number(3)}, 22)}, {22}};
  const Program program{{0, 1}, {loop({v(0), v(1)}, {7, 8}, condition, turn)}, {8}};
  const std::vector<Tensor> arguments{runner_.tensor<std::int64_t>(s64, {}, {0}), random({37, 40})};
  const auto chained = runner_.plan(program, arguments, GetParam(), eager);
  const auto plain = runner_.plan(program, arguments, GetParam());
  ASSERT_TRUE(chained && plain);
  EXPECT_EQ(count((*chained)->main, Kind::chain), 1U);
  EXPECT_EQ(count((*plain)->main, Kind::chain), 0U);
  const Outcome a = runner_.run(**chained, arguments, GetParam());
  const Outcome b = runner_.run(**plain, arguments, GetParam());
  ASSERT_TRUE(succeeded(a) && succeeded(b));
  EXPECT_EQ(bytes_of(a.results[0]), bytes_of(b.results[0]));
}

TEST_P(ChainTest, ACancelEndsIt) {
  const auto x = random({37, 40});
  const auto plan = runner_.plan(softmax(1), {x}, GetParam(), eager);
  ASSERT_TRUE(plan);
  ops::Interrupt cancelled;
  cancelled.cancel();
  ops::Context context{runner_.memory, cancelled, GetParam(), runner_.scratch, runner_.compile};
  const std::vector<Tensor> arguments{x};
  const Outcome outcome = execute(context, **plan, arguments);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::cancelled);
}

/// Draws programs over values that share an axis, or that only seem to share one.
class Drawer {
 public:
  Drawer(std::uint64_t seed, const std::vector<Dims>& params) : generator_(seed) {
    for (const Dims& shape : params) {
      program_.params.push_back(next_);
      known_.push_back({next_++, shape});
    }
  }

  Program draw(int instructions) {
    for (int i = 0; i < instructions; ++i) add();
    for (const Known& known : known_) {
      if (known.id >= program_.params.size() && below(4) == 0) program_.outputs.push_back(known.id);
    }
    program_.outputs.push_back(known_.back().id);
    return std::move(program_);
  }

 private:
  struct Known {
    ValueId id;
    Dims shape;
  };

  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(generator_);
  }
  /// One of the last values is more likely.
  const Known& any() {
    return known_[known_.size() - 1 - below(std::min<std::size_t>(known_.size(), 1 + below(6)))];
  }

  void emit(std::string name, std::vector<Operand> in, const Dims& shape, Attrs attrs = {}) {
    program_.body.push_back(op(std::move(name), std::move(in), next_, std::move(attrs)));
    known_.push_back({next_++, shape});
  }

  void add() {
    const Known x = any();
    switch (below(8)) {
      case 0:
      case 1:
        return emit(below(2) == 0 ? "sigmoid" : "negate", {v(x.id)}, x.shape);
      case 2:
      case 3:
      case 4:
        return binary(x, any());
      case 5:
        return reduce(x);
      case 6:
        return reshape(x);
      default:
        return dot(x, known_[2]);
    }
  }

  void binary(const Known& x, const Known& y) {
    Dims shape = x.shape.size() > y.shape.size() ? x.shape : y.shape;
    for (std::size_t back = 1; back <= std::min(x.shape.size(), y.shape.size()); ++back) {
      const std::int64_t a = x.shape[x.shape.size() - back], b = y.shape[y.shape.size() - back];
      if (a != b && a != 1 && b != 1) return emit("abs", {v(x.id)}, x.shape);
      shape[shape.size() - back] = std::max(a, b);
    }
    if (element_count(shape) > 20'000) return emit("abs", {v(x.id)}, x.shape);
    constexpr std::array names{"add", "multiply", "subtract", "max"};
    emit(names[below(names.size())], {v(x.id), v(y.id)}, shape);
  }

  void reduce(const Known& x) {
    if (x.shape.empty()) return emit("negate", {v(x.id)}, x.shape);
    const std::size_t axis = below(x.shape.size());
    const bool keep = below(2) == 0;
    List kept(x.shape.begin(), x.shape.end());
    if (keep) {
      kept[axis] = 1;
    } else {
      kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(axis));
    }
    const Dims shape(kept.begin(), kept.end());
    const auto named = static_cast<std::int64_t>(axis);
    constexpr std::array names{"sum", "reduce_max", "reduce_min", "product"};
    if (below(5) == 0)
      return emit("argmax", {v(x.id)}, shape, {{"axis", named}, {"keep_axis", keep}});
    emit(names[below(names.size())], {v(x.id)}, shape, over({named}, keep));
  }

  void reshape(const Known& x) {
    List shape(x.shape.begin(), x.shape.end());
    const std::size_t at = below(shape.size() + 1);
    if (at < shape.size() && shape[at] == 1) {
      shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(at));
    } else if (shape.size() < 4) {
      shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(at), 1);
    }
    emit("reshape", {v(x.id)}, Dims(shape.begin(), shape.end()), to_shape(shape));
  }

  void dot(const Known& x, const Known& weights) {
    if (x.shape.size() != 2 || x.shape[1] != weights.shape[0])
      return emit("negate", {v(x.id)}, x.shape);
    emit("dot", {v(x.id), v(weights.id)}, {x.shape[0], weights.shape[1]});
  }

  std::mt19937_64 generator_;
  Program program_;
  std::vector<Known> known_;
  ValueId next_ = 0;
};

TEST_P(ChainTest, RandomProgramsGiveTheSame) {
  const unsigned seed = outrigger::test::new_seed();
  std::cout << "OUTRIGGER_SEED=" << seed << "\n";
  std::mt19937_64 generator(seed);
  std::size_t chains = 0;
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed << ", round " << round);
    constexpr std::array<std::int64_t, 6> sizes{1, 3, 7, 20, 33, 70};
    const auto size = [&] { return sizes[generator() % sizes.size()]; };
    const std::int64_t rows = size(), columns = size();
    const std::vector<Dims> shapes{
        {rows, columns}, {size() % 5 + 1, rows, columns}, {columns, size()}, {columns}, {rows, 1}};
    constexpr std::array dtypes{f32, f32, f64, s32, bf16, u8};
    std::vector<Tensor> arguments;
    for (const Dims& shape : shapes)
      arguments.push_back(random(shape, dtypes[generator() % dtypes.size()]));
    const Program program = Drawer(generator(), shapes).draw(12);
    const auto kinds = check(program, arguments);
    chains += static_cast<std::size_t>(std::count(kinds.begin(), kinds.end(), Kind::chain));
    if (HasFailure()) break;
  }
  EXPECT_GT(chains, 100U);
}

INSTANTIATE_TEST_SUITE_P(Threads, ChainTest, testing::Values(1, 2, 3));

}  // namespace
}  // namespace outrigger::engine::test
