// Compares reductions and scans with loops, for all patterns of kept and reduced axes.

#include <cmath>
#include <numeric>
#include <random>

#include "ops/support.hpp"
#include "support/random.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;

Attrs over(const std::vector<std::int64_t>& axes, bool keep = false) {
  return Attrs{{"axes", AttrValue{axes}}, {"keep_axes", AttrValue{keep}}};
}

std::vector<std::int64_t> chosen(unsigned mask, std::size_t rank) {
  std::vector<std::int64_t> axes;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if ((mask >> axis & 1U) != 0) axes.push_back(static_cast<std::int64_t>(axis));
  }
  return axes;
}

/// Folds the reduced axes with f, element after element in C order.
template <typename A, typename T, typename F>
std::vector<A> naive(const Dims& shape, const std::vector<T>& in, unsigned mask, A start, F f) {
  std::int64_t outputs = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    outputs *= (mask >> axis & 1U) != 0 ? 1 : shape[axis];
  std::vector<A> out(static_cast<std::size_t>(outputs), start);
  for (std::size_t i = 0; i < in.size(); ++i) {
    std::int64_t rest = static_cast<std::int64_t>(i);
    std::int64_t at = 0;
    std::int64_t unit = 1;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if ((mask >> axis & 1U) == 0) {
        at += rest % shape[axis] * unit;
        unit *= shape[axis];
      }
      rest /= shape[axis];
    }
    out[static_cast<std::size_t>(at)] = f(out[static_cast<std::size_t>(at)], in[i]);
  }
  return out;
}

std::vector<std::int32_t> noise(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> all(static_cast<std::size_t>(n));
  for (auto& x : all) x = static_cast<std::int32_t>(random() % 7) - 3;
  return all;
}

void check_all_patterns(Lab& lab, const Dims& shape, bool transposed) {
  const std::vector<std::int32_t> in = noise(element_count(shape), 1);
  Tensor x = lab.tensor(shape, in);
  if (transposed) {
    // The same elements, with the axes of the memory in the other order.
    Dims strides(shape.size());
    std::int64_t stride = 1;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      strides[axis] = stride;
      stride *= shape[axis];
    }
    const Tensor window = view_of(lab.empty(s32, shape), x.type, strides, 0, true);
    Context context = lab.context();
    ASSERT_TRUE(copy_tensor(context, x, window));
    x = window;
  }
  for (unsigned mask = 0; mask < 1U << shape.size(); ++mask) {
    SCOPED_TRACE(testing::Message()
                 << to_string(shape) << " axes mask " << mask << (transposed ? " transposed" : ""));
    const Attrs attrs = over(chosen(mask, shape.size()));
    const auto sum = lab.run("sum", {x}, attrs);
    ASSERT_TRUE(sum);
    EXPECT_EQ(values<std::int32_t>(*sum),
              naive(shape, in, mask, 0, [](int a, int b) { return a + b; }));
    const auto product = lab.run("product", {x}, attrs);
    EXPECT_EQ(values<std::int32_t>(*product), naive(shape, in, mask, 1, [](int a, int b) {
                return static_cast<int>(static_cast<unsigned>(a) * static_cast<unsigned>(b));
              }));
    const auto max = lab.run("reduce_max", {x}, attrs);
    EXPECT_EQ(values<std::int32_t>(*max),
              naive(shape, in, mask, INT32_MIN, [](int a, int b) { return std::max(a, b); }));
    const auto min = lab.run("reduce_min", {x}, attrs);
    EXPECT_EQ(values<std::int32_t>(*min),
              naive(shape, in, mask, INT32_MAX, [](int a, int b) { return std::min(a, b); }));
    const auto all = lab.run("all", {x}, attrs);
    EXPECT_EQ(values<std::uint8_t>(*all),
              naive(shape, in, mask, std::uint8_t{1},
                    [](auto a, auto b) { return static_cast<std::uint8_t>(a != 0 && b != 0); }));
    const auto any = lab.run("any", {x}, attrs);
    EXPECT_EQ(values<std::uint8_t>(*any),
              naive(shape, in, mask, std::uint8_t{0},
                    [](auto a, auto b) { return static_cast<std::uint8_t>(a != 0 || b != 0); }));
  }
}

TEST(ReduceTest, EveryPatternOfAxes) {
  Lab lab;
  for (const Dims& shape : {Dims{}, Dims{7}, Dims{1}, Dims{3, 5}, Dims{4, 1, 6}, Dims{3, 4, 5},
                            Dims{2, 3, 4, 5}, Dims{1, 1}}) {
    check_all_patterns(lab, shape, false);
    check_all_patterns(lab, shape, true);
  }
}

TEST(ReduceTest, LongAndWideOnes) {
  Lab lab;
  for (const Dims& shape :
       {Dims{200000}, Dims{3, 70000}, Dims{70000, 3}, Dims{300, 1500}, Dims{2, 129, 1025}}) {
    check_all_patterns(lab, shape, false);
  }
}

/// It runs in its own process: a crash here must not hide the other tests.
void reduce_nothing(const Dims& shape, std::string_view op) {
  Lab lab;
  const Tensor x = lab.empty(f32, shape);
  for (unsigned mask = 0; mask < 1U << shape.size(); ++mask) {
    const auto reduced = lab.run(op, {x}, over(chosen(mask, shape.size())));
    if (!reduced && op != "reduce_max" && op != "reduce_min") std::exit(2);
    if (!reduced) continue;
    for (const float y :
         op == "all" || op == "any" ? std::vector<float>{} : values<float>(*reduced)) {
      if (op == "sum" && y != 0) std::exit(3);
      if (op == "product" && y != 1) std::exit(4);
    }
  }
  std::exit(0);
}

TEST(ReduceDeathTest, OverAndBesideNothing) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  for (const auto* op : {"sum", "product", "reduce_max", "reduce_min", "all", "any"}) {
    for (const Dims& shape :
         {Dims{0}, Dims{3, 0}, Dims{0, 3}, Dims{2, 3, 0}, Dims{0, 2, 3}, Dims{2, 0, 3}}) {
      EXPECT_EXIT(reduce_nothing(shape, op), testing::ExitedWithCode(0), "")
          << op << " of f32" << to_string(shape);
    }
  }
}

TEST(ReduceTest, NanAndInfinity) {
  Lab lab;
  const Tensor x = lab.tensor<float>({2, 3}, {1, NAN, 2, INFINITY, 3, -INFINITY});
  const auto max = values<float>(*lab.run("reduce_max", {x}, over({1})));
  EXPECT_TRUE(std::isnan(max[0]));
  EXPECT_EQ(max[1], INFINITY);
  const auto min = values<float>(*lab.run("reduce_min", {x}, over({1})));
  EXPECT_TRUE(std::isnan(min[0]));
  EXPECT_EQ(min[1], -INFINITY);
  EXPECT_TRUE(std::isnan(values<float>(*lab.run("sum", {x}))[0]));
  EXPECT_EQ(values<std::uint8_t>(*lab.run("all", {x})), std::vector<std::uint8_t>{1});
}

TEST(ReduceTest, WrongAxes) {
  Lab lab;
  const Tensor x = lab.empty(f32, {2, 3});
  for (const std::vector<std::int64_t>& axes :
       {std::vector<std::int64_t>{2}, {-3}, {0, 0}, {1, -1}, {INT64_MIN}, {INT64_MAX}}) {
    const auto refused = lab.run("sum", {x}, over(axes));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::bad_axis);
  }
  EXPECT_EQ(lab.run("sum", {x}, over({-1}, true))->shape(), (Dims{2, 1}));
}

/// Sums of f32 are computed in f64: the error is that of one rounding, and the bits are the same on
/// any number of threads.
TEST(ReduceTest, FloatSumsArePreciseAndTheSameOnAllThreads) {
  const unsigned seed = outrigger::test::new_seed();
  SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  Lab lab;
  for (const Dims& shape : {Dims{1000003}, Dims{4, 200001}, Dims{200001, 4}, Dims{1000, 1100}}) {
    std::vector<float> in(static_cast<std::size_t>(element_count(shape)));
    for (float& x : in) x = uniform(random);
    const Tensor x = lab.tensor(shape, in);
    for (unsigned mask = 1; mask < 1U << shape.size(); ++mask) {
      const Attrs attrs = over(chosen(mask, shape.size()));
      const auto exact = naive(shape, in, mask, 0.0L, [](long double a, float b) { return a + b; });
      std::vector<float> first;
      for (const int threads : {1, 2, 5}) {
        const auto got = values<float>(*lab.run("sum", {x}, attrs, threads));
        if (first.empty()) first = got;
        ASSERT_EQ(std::memcmp(first.data(), got.data(), got.size() * sizeof(float)), 0)
            << threads << " threads";
      }
      for (std::size_t i = 0; i < exact.size(); ++i)
        ASSERT_FLOAT_EQ(first[i], static_cast<float>(exact[i]));
    }
  }
}

TEST(ScanTest, CumulativeSumsAlongEveryAxis) {
  Lab lab;
  for (const Dims& shape :
       {Dims{5}, Dims{3, 4}, Dims{2, 3, 4}, Dims{200000}, Dims{3, 70001}, Dims{70001, 3}}) {
    const std::vector<std::int32_t> in = noise(element_count(shape), 2);
    const Tensor x = lab.tensor(shape, in);
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      for (const bool reverse : {false, true}) {
        std::int64_t inner = 1;
        for (std::size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
        std::vector<std::int32_t> expected = in;
        const auto count = static_cast<std::int64_t>(in.size());
        for (std::int64_t k = 0; k < count; ++k) {
          const std::int64_t i = reverse ? count - 1 - k : k;
          const std::int64_t before = reverse ? i + inner : i - inner;
          const std::int64_t place = i / inner % shape[axis];
          if (place == (reverse ? shape[axis] - 1 : 0)) continue;
          expected[static_cast<std::size_t>(i)] += expected[static_cast<std::size_t>(before)];
        }
        const Attrs attrs{{"axis", AttrValue{Number{static_cast<std::int64_t>(axis)}}},
                          {"reverse", AttrValue{reverse}}};
        for (const int threads : {1, 5}) {
          ASSERT_EQ(values<std::int32_t>(*lab.run("cumulative_sum", {x}, attrs, threads)), expected)
              << to_string(shape) << " axis " << axis << (reverse ? " reversed" : "");
        }
      }
    }
  }
}

}  // namespace
}  // namespace outrigger::ops::test
