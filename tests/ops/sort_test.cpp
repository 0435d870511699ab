// Sorting, top_k and scans over lines that are longer than the parts into which they are cut.

#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>

#include "ops/support.hpp"
#include "support/random.hpp"

namespace outrigger::ops::test {
namespace {

constexpr std::int64_t sort_size = 200'003;
const std::vector<int> thread_counts{1, 2, 5};

/// Numbers with many equal ones, both zeros, infinities and NaN.
template <typename T>
std::vector<T> mixed(unsigned seed, std::int64_t count = sort_size) {
  std::mt19937_64 random(seed);
  std::vector<T> all(static_cast<std::size_t>(count));
  for (T& x : all) {
    if constexpr (std::is_floating_point_v<T>) {
      const auto kind = random() % 16;
      x = kind == 0   ? NAN
          : kind == 1 ? static_cast<T>(-0.0)
          : kind == 2 ? T{0}
          : kind == 3 ? (random() % 2 == 0 ? INFINITY : -INFINITY)
          : kind < 8  ? static_cast<T>(static_cast<int>(random() % 100) - 50)
                      : static_cast<T>(std::normal_distribution<double>()(random));
    } else {
      x = static_cast<T>(random() % 4 == 0 ? random() % 7 : random());
    }
  }
  return all;
}

/// The ascending order, with NaN last.
template <typename T>
bool before(T a, T b) {
  if (a != a || b != b) return a == a && b != b;
  return a < b;
}

Attrs direction(bool down) { return {{"direction", std::string(down ? "desc" : "asc")}}; }

template <typename T>
class SortTest : public ::testing::Test {};
using Types =
    ::testing::Types<std::uint8_t, std::int16_t, std::int32_t, std::uint64_t, float, double>;
TYPED_TEST_SUITE(SortTest, Types);

TYPED_TEST(SortTest, LongLinesAreSortedForAnyNumberOfThreads) {
  using T = TypeParam;
  const unsigned seed = outrigger::test::new_seed();
  std::printf("  seed %u\n", seed);
  const std::vector<T> all = mixed<T>(seed);
  for (const bool down : {false, true}) {
    std::vector<T> sorted = all;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [down](T a, T b) { return down ? before(b, a) : before(a, b); });
    for (const int threads : thread_counts) {
      Lab lab;
      const auto got = lab.run("sort", {lab.tensor({sort_size}, all)}, direction(down), threads);
      ASSERT_TRUE(got);
      const std::vector<T> result = values<T>(*got);
      for (std::size_t i = 0; i < sorted.size(); ++i) {
        ASSERT_TRUE(result[i] == sorted[i] || (result[i] != result[i] && sorted[i] != sorted[i]))
            << i << " with " << threads << " threads";
      }
    }
  }
}

TYPED_TEST(SortTest, LongLinesAreArgsortedStably) {
  using T = TypeParam;
  const unsigned seed = outrigger::test::new_seed();
  std::printf("  seed %u\n", seed);
  const std::vector<T> all = mixed<T>(seed);
  for (const bool down : {false, true}) {
    std::vector<std::int32_t> order(all.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const T x = all[static_cast<std::size_t>(a)];
      const T y = all[static_cast<std::size_t>(b)];
      return down ? before(y, x) : before(x, y);
    });
    for (const int threads : thread_counts) {
      Lab lab;
      const auto got = lab.run("argsort", {lab.tensor({sort_size}, all)}, direction(down), threads);
      ASSERT_TRUE(got);
      ASSERT_EQ(values<std::int32_t>(*got), order) << threads << " threads";
    }
    if (!down) continue;
    for (const int threads : thread_counts) {
      // The first items are selected chunk by chunk, or the line is sorted up to them.
      for (const std::int64_t k :
           std::initializer_list<std::int64_t>{1, 100, 3000, 30'000, sort_size}) {
        Lab lab;
        const OpRow& row = *find_op("top_k");
        const Tensor in = lab.tensor({sort_size}, all);
        const Attrs attrs{{"k", Number{k}}};
        const std::vector<Tensor> out{lab.empty(dtype_of<T>(), {k}), lab.empty(DType::s32, {k})};
        Context context = lab.context(threads);
        ASSERT_TRUE(row.run(RunCall{context, std::span(&in, 1), out, AttrView(attrs)}));
        const auto indices = values<std::int32_t>(out[1]);
        ASSERT_TRUE(std::equal(indices.begin(), indices.end(), order.begin()));
        const auto found = values<T>(out[0]);
        for (std::size_t i = 0; i < found.size(); ++i) {
          const T expected = all[static_cast<std::size_t>(order[i])];
          ASSERT_TRUE(found[i] == expected || (found[i] != found[i] && expected != expected));
        }
      }
    }
  }
}

TEST(LongSortTest, LargePartsAreSortedInPartsAgain) {
  // Each of 32 parts has more keys than are sorted in one step. One value has a part of its own.
  constexpr std::int64_t count = 40'000'000;
  Lab lab;
  const Tensor keys = lab.empty(DType::u16, {count});
  std::vector<std::int64_t> due(1 << 16);
  std::uint64_t random = outrigger::test::new_seed();
  for (std::int64_t i = 0; i < count; ++i) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    const auto key = i % 4 == 0 ? std::uint16_t{777} : static_cast<std::uint16_t>(random >> 40);
    keys.as<std::uint16_t>()[i] = key;
    ++due[key];
  }
  Context context = lab.context(2);
  const Attrs attrs = direction(false);
  ASSERT_TRUE(
      find_op("sort")->run({context, std::span(&keys, 1), std::span(&keys, 1), AttrView(attrs)}));
  const std::uint16_t* sorted = keys.as<std::uint16_t>();
  const std::uint16_t* const last = sorted + count;
  for (std::size_t value = 0; value < due.size(); ++value) {
    const auto* const end =
        std::find_if(sorted, last, [&](std::uint16_t key) { return key != value; });
    ASSERT_EQ(end - sorted, due[value]) << value;
    sorted = end;
  }
}

TYPED_TEST(SortTest, ScansAlongEveryAxisAreTheSameForAnyNumberOfThreads) {
  using T = TypeParam;
  std::mt19937_64 random(7);
  for (const Dims& shape :
       {Dims{sort_size}, Dims{3, 20'001}, Dims{9'001, 3}, Dims{2, 3'001, 40}, Dims{70, 3000}}) {
    std::vector<T> all(static_cast<std::size_t>(element_count(shape)));
    // Small integers, whose sums are exact in floats, too.
    for (T& x : all) x = static_cast<T>(random() % 3);
    for (std::int64_t axis = 0; axis < static_cast<std::int64_t>(shape.size()); ++axis) {
      for (const bool reverse : {false, true}) {
        const std::int64_t length = shape[static_cast<std::size_t>(axis)];
        std::int64_t inner = 1;
        for (auto i = static_cast<std::size_t>(axis) + 1; i < shape.size(); ++i) inner *= shape[i];
        std::vector<T> sums = all;
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(all.size()); ++i) {
          const std::int64_t at = static_cast<std::int64_t>(all.size()) - 1 - i;
          const std::int64_t here = reverse ? at : i;
          const std::int64_t place = here / inner % length;
          if (place == (reverse ? length - 1 : 0)) continue;
          sums[static_cast<std::size_t>(here)] =
              static_cast<T>(sums[static_cast<std::size_t>(here)] +
                             sums[static_cast<std::size_t>(reverse ? here + inner : here - inner)]);
        }
        for (const int threads : thread_counts) {
          Lab lab;
          const Attrs attrs{{"axis", Number{axis}}, {"reverse", reverse}};
          const auto got = lab.run("cumulative_sum", {lab.tensor(shape, all)}, attrs, threads);
          ASSERT_TRUE(got);
          ASSERT_EQ(values<T>(*got), sums)
              << to_string(shape) << " axis " << axis << " " << reverse;
        }
      }
    }
  }
}

TEST(CopyTest, TransposedViewsOfAnyShapeAreCopied) {
  for (const Dims& shape :
       {Dims{300, 200}, Dims{65, 64}, Dims{8, 9}, Dims{3, 70, 130}, Dims{9, 5, 7, 8}}) {
    Lab lab;
    std::vector<float> all(static_cast<std::size_t>(element_count(shape)));
    std::iota(all.begin(), all.end(), 0.0F);
    const Tensor tensor = lab.tensor(shape, all);
    std::vector<std::int64_t> order(shape.size());
    std::iota(order.begin(), order.end(), 0);
    do {
      Dims turned;
      Dims strides;
      for (const std::int64_t axis : order) {
        turned.push_back(shape[static_cast<std::size_t>(axis)]);
        strides.push_back(tensor.strides[static_cast<std::size_t>(axis)]);
      }
      const Tensor view =
          view_of(tensor, TensorType{DType::f32, turned}, strides, tensor.offset, false);
      Context context = lab.context(2);
      const auto copy = to_contiguous(context, view);
      ASSERT_TRUE(copy);
      ASSERT_EQ(values<float>(*copy), values<float>(view)) << to_string(turned);
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

}  // namespace
}  // namespace outrigger::ops::test
