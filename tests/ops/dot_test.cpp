#include <cmath>
#include <complex>
#include <random>

#include "support.hpp"

// Compares dot with three plain loops: sizes near the blocks, all layouts, one to three threads.

namespace outrigger::ops::test {
namespace {

struct Size {
  std::int64_t m, k, n;
};

// Sizes near tile_rows, tile_columns, depth and the blocks of each instruction set level.
constexpr std::array<Size, 14> sizes{{{1, 1, 1},
                                      {1, 70'000, 1},
                                      {5, 3000, 1},
                                      {1, 3000, 5},
                                      {3000, 7, 1},
                                      {1, 7, 3000},
                                      {14, 384, 32},
                                      {15, 385, 33},
                                      {13, 383, 31},
                                      {6, 800, 9},
                                      {100, 100, 100},
                                      {230, 40, 130},
                                      {449, 390, 65},
                                      {3, 2, 4100}}};

class Dot : public ::testing::Test {
 protected:
  template <typename T>
  std::vector<T> random(std::int64_t count) {
    std::vector<T> x(static_cast<std::size_t>(count));
    for (T& value : x) {
      if constexpr (std::is_floating_point_v<T>) {
        value = std::uniform_real_distribution<T>(-1, 1)(generator_);
      } else {
        value = static_cast<T>(generator_());
      }
    }
    return x;
  }

  /// Rows × columns; the memory is in the other order if transposed.
  template <typename T>
  Tensor matrix(std::int64_t rows, std::int64_t columns, const std::vector<T>& x, bool transposed) {
    if (!transposed) return lab_.tensor<T>({rows, columns}, x);
    std::vector<T> turned(x.size());
    for (std::int64_t i = 0; i < rows * columns; ++i)
      turned[static_cast<std::size_t>(i % columns * rows + i / columns)] =
          x[static_cast<std::size_t>(i)];
    Tensor tensor = lab_.tensor<T>({columns, rows}, turned);
    std::swap(tensor.type.shape[0], tensor.type.shape[1]);
    std::swap(tensor.strides[0], tensor.strides[1]);
    return tensor;
  }

  template <typename T>
  static std::vector<T> plain(const Size& s, const std::vector<T>& a, const std::vector<T>& b) {
    using Sum = std::conditional_t<std::is_floating_point_v<T>, double, std::uint64_t>;
    std::vector<T> c;
    for (std::int64_t i = 0; i < s.m; ++i) {
      for (std::int64_t j = 0; j < s.n; ++j) {
        Sum sum{};
        for (std::int64_t p = 0; p < s.k; ++p) {
          sum += static_cast<Sum>(a[static_cast<std::size_t>(i * s.k + p)]) *
                 static_cast<Sum>(b[static_cast<std::size_t>(p * s.n + j)]);
        }
        c.push_back(static_cast<T>(sum));
      }
    }
    return c;
  }

  template <typename T>
  void check(const Size& s) {
    const auto a = random<T>(s.m * s.k), b = random<T>(s.k * s.n);
    const auto expected = plain(s, a, b);
    std::vector<std::byte> first;
    for (int layout = 0; layout < 4; ++layout) {
      const Tensor left = matrix(s.m, s.k, a, (layout & 1) != 0);
      const Tensor right = matrix(s.k, s.n, b, (layout & 2) != 0);
      const auto one = lab_.run("dot", {left, right}, {}, 1);
      const auto three = lab_.run("dot", {left, right}, {}, 3);
      ASSERT_TRUE(one && three);
      EXPECT_EQ(bytes(*one), bytes(*three));
      const auto got = values<T>(*one);
      double worst = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        if constexpr (std::is_floating_point_v<T>) {
          worst = std::max(worst, std::abs(static_cast<double>(got[i]) - expected[i]));
        } else {
          ASSERT_EQ(got[i], expected[i]) << s.m << " " << s.k << " " << s.n << " at " << i;
        }
      }
      const double eps = static_cast<double>(
          std::is_floating_point_v<T> ? std::numeric_limits<T>::epsilon() : T{0});
      EXPECT_LE(worst, eps * static_cast<double>(2 + s.k))
          << s.m << " " << s.k << " " << s.n << " layout " << layout;
    }
  }

  Lab lab_;
  std::mt19937_64 generator_{11};
};

TEST_F(Dot, IsTheSumOfProducts) {
  for (const Size& s : sizes) {
    check<float>(s);
    check<double>(s);
    check<std::uint8_t>(s);
    check<std::int16_t>(s);
    check<std::int32_t>(s);
    check<std::uint64_t>(s);
  }
}

TEST_F(Dot, WalksAxesThatHaveNoCommonStride) {
  // left[a][b][c][d] over b and d, right[b][e][d][f] over b and d: no group of axes has one stride.
  const Dims left_shape{3, 4, 5, 6}, right_shape{4, 2, 6, 7};
  const auto a = random<std::int32_t>(3 * 4 * 5 * 6), b = random<std::int32_t>(4 * 2 * 6 * 7);
  const auto result = lab_.run(
      "dot", {lab_.tensor<std::int32_t>(left_shape, a), lab_.tensor<std::int32_t>(right_shape, b)},
      {{"left_axes", std::vector<std::int64_t>{1, 3}},
       {"right_axes", std::vector<std::int64_t>{0, 2}}});
  ASSERT_TRUE(result);
  const auto got = values<std::int32_t>(*result);
  std::size_t at = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t k = 0; k < 5; ++k) {
      for (std::size_t e = 0; e < 2; ++e) {
        for (std::size_t f = 0; f < 7; ++f) {
          std::uint32_t sum = 0;
          for (std::size_t j = 0; j < 4; ++j) {
            for (std::size_t d = 0; d < 6; ++d) {
              sum += static_cast<std::uint32_t>(a[((i * 4 + j) * 5 + k) * 6 + d]) *
                     static_cast<std::uint32_t>(b[((j * 2 + e) * 6 + d) * 7 + f]);
            }
          }
          ASSERT_EQ(got[at++], static_cast<std::int32_t>(sum));
        }
      }
    }
  }
}

TEST_F(Dot, BatchesAreTheirProducts) {
  for (const Size& s : {Size{4, 3, 5}, Size{20, 30, 40}, Size{1, 9, 6}, Size{70, 70, 70}}) {
    const auto a = random<float>(20 * s.m * s.k), b = random<float>(20 * s.k * s.n);
    const Attrs attrs{{"left_axes", std::vector<std::int64_t>{2}},
                      {"left_batch_axes", std::vector<std::int64_t>{0}},
                      {"right_axes", std::vector<std::int64_t>{1}},
                      {"right_batch_axes", std::vector<std::int64_t>{0}}};
    const auto all = lab_.run(
        "dot", {lab_.tensor<float>({20, s.m, s.k}, a), lab_.tensor<float>({20, s.k, s.n}, b)},
        attrs, 3);
    ASSERT_TRUE(all);
    const auto got = values<float>(*all);
    for (std::int64_t i = 0; i < 20; ++i) {
      const auto one = lab_.run(
          "dot", {lab_.tensor<float>({s.m, s.k},
                                     {a.begin() + i * s.m * s.k, a.begin() + (i + 1) * s.m * s.k}),
                  lab_.tensor<float>(
                      {s.k, s.n}, {b.begin() + i * s.k * s.n, b.begin() + (i + 1) * s.k * s.n})});
      ASSERT_TRUE(one);
      const auto part = values<float>(*one);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), got.begin() + i * s.m * s.n));
    }
  }
}

TEST_F(Dot, RowsDoNotDependOnTheirNeighbours) {
  constexpr std::int64_t m = 45, k = 33, n = 19;
  const Tensor a = lab_.tensor<float>({m, k}, random<float>(m * k));
  const Tensor b = lab_.tensor<float>({k, n}, random<float>(k * n));
  const auto whole = lab_.run("dot", {a, b});
  ASSERT_TRUE(whole);
  for (std::int64_t rows = 2; rows <= m; ++rows) {
    Tensor some = a;
    some.type.shape[0] = rows;
    const auto part = lab_.run("dot", {some, b});
    ASSERT_TRUE(part);
    EXPECT_EQ(std::memcmp(part->data(), whole->data(), static_cast<std::size_t>(rows * n) * 4), 0)
        << rows << " rows";
  }
}

TEST_F(Dot, ComplexBlocksAddUp) {
  using C = std::complex<double>;
  const auto complex_matrix = [&](std::int64_t rows, std::int64_t columns) {
    const auto x = random<double>(2 * rows * columns);
    const Tensor made = lab_.empty(DType::c128, {rows, columns});
    std::copy(x.begin(), x.end(), made.as<double>());
    return made;
  };
  const auto stored_turned = [&](const Tensor& tensor) {
    Tensor view = lab_.empty(tensor.dtype(), {tensor.shape()[1], tensor.shape()[0]});
    std::swap(view.type.shape[0], view.type.shape[1]);
    std::swap(view.strides[0], view.strides[1]);
    Context context = lab_.context();
    EXPECT_TRUE(copy_tensor(context, tensor, view));
    return view;
  };
  for (const Size& s : {Size{1, 1, 1}, Size{300, 600, 270}, Size{3, 700, 2}, Size{257, 0, 4}}) {
    const Tensor a = complex_matrix(s.m, s.k), b = complex_matrix(s.k, s.n);
    const auto product = lab_.run("dot", {a, b});
    ASSERT_TRUE(product);
    for (std::int64_t i = 0; i < s.m; ++i) {
      for (std::int64_t j = 0; j < s.n; ++j) {
        C sum{};
        for (std::int64_t k = 0; k < s.k; ++k)
          sum += a.as<C>()[i * s.k + k] * b.as<C>()[k * s.n + j];
        ASSERT_LT(std::abs(product->as<C>()[i * s.n + j] - sum), 1e-12) << i << ", " << j;
      }
    }
    const auto threaded = lab_.run("dot", {stored_turned(a), stored_turned(b)}, {}, 3);
    ASSERT_TRUE(threaded);
    EXPECT_EQ(bytes(*threaded), bytes(*product));
  }
}

}  // namespace
}  // namespace outrigger::ops::test
