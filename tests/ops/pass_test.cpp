#include <cmath>
#include <numeric>
#include <random>

#include "ops/support.hpp"
#include "support/random.hpp"
#include "tensor/cast_element.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;

std::vector<float> ramp(std::int64_t n) {
  std::vector<float> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 977) - 400.0F;
  return all;
}

/// a · b + a, with each step as a separate loop.
std::vector<float> naive(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> r(a.size());
  for (std::size_t i = 0; i < r.size(); ++i) r[i] = a[i] * b[i];
  for (std::size_t i = 0; i < r.size(); ++i) r[i] = r[i] + a[i];
  return r;
}

Pass multiply_add(const Dims& space) {
  PassMaker maker(space, {f32, f32});
  const auto product = maker.apply("multiply", f32, {0, 1});
  return maker.done({maker.apply("add", f32, {product, 0})});
}

TEST(PassTest, SizesAroundTilesAndChunks) {
  Lab lab;
  for (const std::int64_t n : {0L, 1L, 2L, 7L, 1023L, 1024L, 1025L, 2047L, 2048L, 65535L, 65536L,
                               65537L, 131072L, 200001L}) {
    const std::vector<float> a = ramp(n);
    const std::vector<float> b(a.rbegin(), a.rend());
    const Tensor out = lab.empty(f32, {n});
    const std::array in{lab.tensor({n}, a), lab.tensor({n}, b)};
    Context context = lab.context();
    ASSERT_TRUE(run_pass(context, multiply_add({n}), in, std::span(&out, 1)));
    ASSERT_EQ(values<float>(out), naive(a, b)) << "n = " << n;
  }
}

/// Results that bypass the caches: whole and cut cache lines, compiled and interpreted, and one in
/// the memory of an input.
TEST(PassTest, StreamedResultsAreTheSame) {
  Lab lab;
  for (const auto when : {Compile::When::never, Compile::When::always}) {
    for (const std::int64_t n : {2L, 15L, 16L, 1023L, 1024L, 1041L, 65536L, 200001L}) {
      for (const std::int64_t offset : {0L, 1L, 7L}) {
        const std::vector<float> a = ramp(n);
        const std::vector<float> b(a.rbegin(), a.rend());
        const Tensor room = lab.empty(f32, {n + 32});
        const Tensor out = view_of(room, TensorType{f32, {n}}, {1}, offset, true);
        const std::array in{lab.tensor({n}, a), lab.tensor({n}, b)};
        Context context = lab.context(2);
        context.compile.when = when;
        context.stream_from = 0;
        ASSERT_TRUE(run_pass(context, multiply_add({n}), in, std::span(&out, 1)));
        ASSERT_EQ(values<float>(out), naive(a, b)) << "n = " << n << " offset " << offset;
        const auto around = bytes(room);
        const auto untouched = [](std::byte byte) { return byte == std::byte{0xCD}; };
        const auto begin = around.begin() + offset * 4;
        ASSERT_TRUE(std::all_of(around.begin(), begin, untouched));
        ASSERT_TRUE(std::all_of(begin + n * 4, around.end(), untouched));
        ASSERT_TRUE(run_pass(context, multiply_add({n}), in, std::span(in.data(), 1)));
        ASSERT_EQ(values<float>(in[0]), naive(a, b)) << "n = " << n;
      }
    }
  }
}

TEST(PassTest, ScalarsAndZeroSizes) {
  Lab lab;
  Context context = lab.context();
  {
    const Tensor out = lab.empty(f32, {});
    const std::array in{lab.tensor<float>({}, {3}), lab.tensor<float>({}, {5})};
    ASSERT_TRUE(run_pass(context, multiply_add({}), in, std::span(&out, 1)));
    EXPECT_EQ(values<float>(out), std::vector<float>{18});
  }
  {
    const Tensor out = lab.empty(f32, {3, 0, 2});
    const std::array in{lab.empty(f32, {3, 0, 2}), lab.tensor<float>({}, {5})};
    ASSERT_TRUE(run_pass(context, multiply_add({3, 0, 2}), in, std::span(&out, 1)));
  }
}

TEST(PassTest, BroadcastsInEveryDirection) {
  Lab lab;
  Context context = lab.context();
  const std::int64_t rows = 37;
  const std::int64_t columns = 61;
  const std::vector<float> row = ramp(columns);
  const std::vector<float> column = ramp(rows);
  std::vector<float> wide;
  std::vector<float> tall;
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    wide.push_back(row[static_cast<std::size_t>(i % columns)]);
    tall.push_back(column[static_cast<std::size_t>(i / columns)]);
  }
  const Tensor out = lab.empty(f32, {rows, columns});
  const std::array<Tensor, 2> in{lab.tensor({columns}, row), lab.tensor({rows, 1}, column)};
  ASSERT_TRUE(run_pass(context, multiply_add({rows, columns}), in, std::span(&out, 1)));
  EXPECT_EQ(values<float>(out), naive(wide, tall));
  const std::array<Tensor, 2> uniform{lab.tensor({rows, columns}, wide),
                                      lab.tensor<float>({1, 1}, {7})};
  ASSERT_TRUE(run_pass(context, multiply_add({rows, columns}), uniform, std::span(&out, 1)));
  EXPECT_EQ(values<float>(out), naive(wide, std::vector<float>(wide.size(), 7)));
}

TEST(PassTest, UniformInputsLastOverManyTilesAndThreads) {
  Lab lab;
  const std::int64_t n = 5 * 65536 + 3;
  const std::vector<float> a = ramp(n);
  const std::array in{lab.tensor<float>({}, {3}), lab.tensor({n}, a)};
  for (const int threads : {1, 2, 5}) {
    Context context = lab.context(threads);
    const Tensor out = lab.empty(f32, {n});
    ASSERT_TRUE(run_pass(context, multiply_add({n}), in, std::span(&out, 1)));
    ASSERT_EQ(values<float>(out), naive(std::vector<float>(a.size(), 3), a))
        << threads << " threads";
  }
}

/// Random windows of one buffer: steps, reversed and broadcast axes, in any order of axes.
Tensor random_window(Lab& lab, const Dims& shape, std::mt19937& random) {
  const std::size_t rank = shape.size();
  Dims steps(rank);
  Dims outer(rank);
  for (std::size_t axis = 0; axis < rank; ++axis) {
    steps[axis] = static_cast<std::int64_t>(random() % 4) - 1;  // -1 reversed, 0 broadcast, 1, 2
    outer[axis] = shape[axis] * std::max<std::int64_t>(1, std::abs(steps[axis]));
  }
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  Dims strides(rank);
  std::int64_t stride = 1;
  std::int64_t offset = 0;
  for (const std::size_t axis : order) {
    strides[axis] = stride * steps[axis];
    if (steps[axis] < 0) offset += (shape[axis] - 1) * stride;
    stride *= outer[axis];
  }
  const Tensor base = lab.tensor({stride}, ramp(stride));
  return view_of(base, TensorType{f32, shape}, strides, offset, false);
}

TEST(PassTest, RandomWindowsAgreeWithLoops) {
  const unsigned seed = outrigger::test::new_seed();
  SCOPED_TRACE(testing::Message() << "OUTRIGGER_SEED=" << seed);
  std::mt19937 random(seed);
  Lab lab;
  for (int round = 0; round < 200; ++round) {
    Dims shape(1 + random() % 4);
    for (std::int64_t& dim : shape) dim = 1 + static_cast<std::int64_t>(random() % 13);
    if (round % 10 == 0) shape[0] = 3000;
    const std::array in{random_window(lab, shape, random), random_window(lab, shape, random)};
    const std::vector<float> expected = naive(values<float>(in[0]), values<float>(in[1]));
    Context context = lab.context(1 + round % 3);
    if (round % 5 == 0) context.stream_from = 0;
    Tensor out = lab.empty(f32, shape);
    if (round % 2 == 0) {
      // The output is a reversed window.
      Dims strides = out.strides;
      strides[0] = -strides[0];
      out = view_of(out, out.type, strides, (shape[0] - 1) * out.strides[0], true);
    }
    ASSERT_TRUE(run_pass(context, multiply_add(shape), in, std::span(&out, 1)));
    ASSERT_EQ(values<float>(out), expected) << "round " << round << " " << to_string(shape);
  }
}

TEST(PassTest, CastsBetweenAllDtypes) {
  Lab lab;
  Context context = lab.context();
  const std::vector<double> from{0,    1,     -1,   2.9,   -2.9, 255,      256,       -129, 70000,
                                 1e10, -1e10, 1e20, -1e20, NAN,  INFINITY, -INFINITY, 0.5};
  const auto n = static_cast<std::int64_t>(from.size());
  for (const DType middle : kernel_dtypes) {
    for (const DType to : kernel_dtypes) {
      PassMaker maker({n}, {f64});
      const auto first = maker.cast(0, middle);
      const Pass pass = maker.done({maker.cast(first, to)});
      const Tensor in = lab.tensor({n}, from);
      const Tensor out = lab.empty(to, {n});
      ASSERT_TRUE(run_pass(context, pass, std::span(&in, 1), std::span(&out, 1)));
      for (std::int64_t i = 0; i < n; ++i) {
        with_type(middle, [&](auto middle_tag) {
          with_type(to, [&](auto tag) {
            using M = typename decltype(middle_tag)::type;
            using T = typename decltype(tag)::type;
            const T expected = cast_element<T>(cast_element<M>(from[static_cast<std::size_t>(i)]));
            const T got = out.as<T>()[i];
            EXPECT_TRUE(std::memcmp(&expected, &got, sizeof(T)) == 0 ||
                        (expected != expected && got != got))
                << from[static_cast<std::size_t>(i)] << " as " << name_of(middle) << " as "
                << name_of(to);
          });
        });
      }
    }
  }
}

TEST(PassTest, SlotsAreSharedButNotTooEarly) {
  // A long chain with a value whose last use is at its end.
  PassMaker maker({2000}, {f32});
  auto sum = maker.apply("add", f32, {0, 0});
  const auto kept = sum;
  for (int i = 0; i < 30; ++i) sum = maker.apply("add", f32, {sum, 0});
  const Pass pass = maker.done({maker.apply("subtract", f32, {sum, kept})});
  EXPECT_LE(pass.slot_count, 5);
  Lab lab;
  Context context = lab.context();
  const Tensor in = lab.tensor({2000}, ramp(2000));
  const Tensor out = lab.empty(f32, {2000});
  ASSERT_TRUE(run_pass(context, pass, std::span(&in, 1), std::span(&out, 1)));
  const auto got = values<float>(out);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], 30 * in.as<float>()[i]) << i;
}

/// All ops that round give the same bits on 1, 2 and 5 threads.
TEST(PassTest, SameBitsForAnyNumberOfThreads) {
  const std::int64_t n = 6 * 65536 + 17;
  Lab lab;
  std::vector<float> a = ramp(n);
  for (float& x : a) x = x / 977.0F;
  const Tensor in = lab.tensor({n}, a);
  PassMaker maker({n}, {f32});
  const auto tanh = maker.apply("tanh", f32, {0});
  const auto exp = maker.apply("exp", f32, {tanh});
  const auto sin = maker.apply("sin", f32, {exp});
  const Pass pass = maker.done({maker.apply("pow", f32, {exp, sin}), sin});
  std::vector<std::byte> first;
  for (const int threads : {1, 2, 5}) {
    Context context = lab.context(threads);
    const std::array out{lab.empty(f32, {n}), lab.empty(f32, {n})};
    ASSERT_TRUE(run_pass(context, pass, std::span(&in, 1), out));
    std::vector<std::byte> got = bytes(out[0]);
    const std::vector<std::byte> more = bytes(out[1]);
    got.insert(got.end(), more.begin(), more.end());
    if (first.empty()) first = got;
    ASSERT_TRUE(got == first) << threads << " threads";
  }
}

}  // namespace
}  // namespace outrigger::ops::test
