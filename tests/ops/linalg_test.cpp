#include <cmath>
#include <limits>
#include <random>

#include "support.hpp"

// Linear algebra compared with its definitions, in f64, over random sizes. The golden cases check
// values.

namespace outrigger::ops::test {
namespace {

using Values = std::vector<double>;

class Matrices : public ::testing::Test {
 protected:
  Tensor random(const Dims& shape) {
    std::uniform_real_distribution<double> distribution(-1, 1);
    Values x(static_cast<std::size_t>(element_count(shape)));
    for (double& value : x) value = distribution(generator_);
    return lab_.tensor<double>(shape, x);
  }

  /// a · b, with either transposed if requested, by dot, which has its own test.
  Tensor product(const Tensor& a, const Tensor& b, std::int64_t left_axis = 1,
                 std::int64_t right_axis = 0) {
    auto result = lab_.run("dot", {a, b},
                           {{"left_axes", std::vector<std::int64_t>{left_axis}},
                            {"right_axes", std::vector<std::int64_t>{right_axis}}});
    EXPECT_TRUE(result);
    return std::move(*result);
  }

  std::vector<Tensor> run(std::string_view name, const std::vector<Tensor>& in,
                          const Attrs& attrs = {}, int threads = 1) {
    auto results = lab_.run_all(name, in, attrs, threads);
    EXPECT_TRUE(results) << name << ": " << results.error().text;
    return results ? std::move(*results) : std::vector<Tensor>{};
  }

  static double distance(const Tensor& a, const Tensor& b) {
    EXPECT_EQ(a.shape(), b.shape());
    const Values x = values<double>(a), y = values<double>(b);
    double largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
    return largest;
  }

  Tensor identity(std::int64_t n) {
    Values x(static_cast<std::size_t>(n * n), 0.0);
    for (std::int64_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i * n + i)] = 1;
    return lab_.tensor<double>({n, n}, x);
  }

  /// The columns of m times the values.
  Tensor scaled(const Tensor& m, const Tensor& by) {
    Values x = values<double>(m);
    const Values s = values<double>(by);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= s[i % s.size()];
    return lab_.tensor<double>(m.shape(), x);
  }

  Lab lab_;
  std::mt19937 generator_{7};
};

constexpr std::array<std::int64_t, 8> orders{1, 2, 5, 16, 33, 64, 100, 131};

TEST_F(Matrices, QrGivesTheMatrixBack) {
  for (const std::int64_t m : orders) {
    for (const std::int64_t n : {m, m + 7, (m + 1) / 2}) {
      for (const char* mode : {"reduced", "complete"}) {
        const Tensor a = random({m, n});
        const auto qr = run("qr", {a}, {{"mode", std::string(mode)}});
        EXPECT_LT(distance(product(qr[0], qr[1]), a), 1e-12) << m << " " << n;
        EXPECT_LT(distance(product(qr[0], qr[0], 0, 0), identity(qr[0].shape()[1])), 1e-12);
        const Values r = values<double>(qr[1]);
        for (std::int64_t i = 0; i < std::min(m - 1, n); ++i)
          EXPECT_GE(r[static_cast<std::size_t>(i * n + i)], 0);
        for (std::int64_t i = 0; i < qr[1].shape()[0]; ++i) {
          for (std::int64_t j = 0; j < std::min(i, n); ++j)
            ASSERT_EQ(r[static_cast<std::size_t>(i * n + j)], 0);
        }
      }
    }
  }
}

TEST_F(Matrices, SvdGivesTheMatrixBack) {
  for (const std::int64_t m : orders) {
    for (const std::int64_t n : {m, m + 7, (m + 1) / 2}) {
      const Tensor a = random({m, n});
      const auto thin = run("svd", {a}, {{"full_matrices", false}});
      EXPECT_LT(distance(product(scaled(thin[0], thin[1]), thin[2]), a), 1e-11) << m << " " << n;
      const Values s = values<double>(thin[1]);
      EXPECT_TRUE(std::is_sorted(s.rbegin(), s.rend()));
      EXPECT_GE(s.back(), 0);
      const auto full = run("svd", {a});
      EXPECT_LT(distance(product(full[0], full[0], 0, 0), identity(m)), 1e-12);
      EXPECT_LT(distance(product(full[2], full[2], 1, 1), identity(n)), 1e-12);
      EXPECT_LT(distance(thin[1], full[1]), 1e-12);
    }
  }
}

TEST_F(Matrices, EighGivesTheMatrixBack) {
  for (const std::int64_t n : orders) {
    const Tensor half = random({n, n});
    const Tensor a = product(half, half, 1, 1);
    const auto eigen = run("eigh", {a});
    EXPECT_LT(distance(product(scaled(eigen[1], eigen[0]), eigen[1], 1, 1), a), 1e-11);
    EXPECT_LT(distance(product(eigen[1], eigen[1], 0, 0), identity(n)), 1e-12);
    const Values w = values<double>(eigen[0]);
    EXPECT_TRUE(std::is_sorted(w.rbegin(), w.rend(),
                               [](double x, double y) { return std::abs(x) < std::abs(y); }));
  }
}

TEST_F(Matrices, FactorsGiveTheMatrixBack) {
  for (const std::int64_t n : orders) {
    const Tensor a = random({n, n});
    const auto lu = run("lu", {a});
    EXPECT_LT(distance(product(product(lu[0], lu[1]), lu[2]), a), 1e-12);
    Values shifted = values<double>(product(a, a, 1, 1));
    for (std::int64_t i = 0; i < n; ++i) shifted[static_cast<std::size_t>(i * n + i)] += 1;
    const Tensor positive = lab_.tensor<double>({n, n}, shifted);
    const Tensor l = run("cholesky", {positive})[0];
    EXPECT_LT(distance(product(l, l, 1, 1), positive), 1e-12);
    const Tensor b = random({n, 3});
    EXPECT_LT(distance(product(positive, run("solve", {positive, b})[0]), b), 1e-10);
    EXPECT_LT(distance(product(positive, run("invert", {positive})[0]), identity(n)), 1e-10);
  }
}

TEST_F(Matrices, BatchesAreTheirMatricesForAnyNumberOfThreads) {
  const Tensor a = random({2, 137, 20, 20});
  for (const char* op : {"lu", "qr", "eigh", "svd", "invert", "determinant"}) {
    const auto one = run(op, {a}, {}, 1);
    const auto three = run(op, {a}, {}, 3);
    ASSERT_EQ(one.size(), three.size());
    for (std::size_t i = 0; i < one.size(); ++i) EXPECT_EQ(bytes(one[i]), bytes(three[i])) << op;
    Tensor last = a;
    last.type.shape = {20, 20};
    last.strides = {20, 1};
    last.offset = 273 * 400;
    const auto single = run(op, {last});
    for (std::size_t i = 0; i < one.size(); ++i) {
      const auto all = bytes(one[i]), part = bytes(single[i]);
      EXPECT_TRUE(std::equal(part.rbegin(), part.rend(), all.rbegin())) << op;
    }
  }
}

TEST_F(Matrices, LargeOnesDoNotDependOnTheNumberOfThreads) {
  const Tensor a = random({2, 300, 300});
  for (const char* op : {"lu", "qr", "eigh", "svd", "invert", "determinant"}) {
    const auto one = run(op, {a}, {}, 1);
    for (const int threads : {2, 5}) {
      const auto several = run(op, {a}, {}, threads);
      for (std::size_t i = 0; i < one.size(); ++i)
        EXPECT_EQ(bytes(one[i]), bytes(several[i])) << op << " with " << threads << " threads";
    }
  }
}

TEST_F(Matrices, IllConditionedSystemsAreSolvedToTheirResidual) {
  constexpr std::int64_t n = 12;
  Values hilbert;
  for (std::int64_t i = 0; i < n * n; ++i)
    hilbert.push_back(1.0 / static_cast<double>(i / n + i % n + 1));
  const Tensor a = lab_.tensor<double>({n, n}, hilbert);
  const Tensor b = random({n});
  const Tensor x = run("solve", {a, b})[0];
  double largest = 0;
  for (const double value : values<double>(x)) largest = std::max(largest, std::abs(value));
  EXPECT_LT(distance(product(a, x), b), 1e-14 * largest);
}

TEST_F(Matrices, ErrorsNameTheMatrix) {
  Tensor a = random({2, 2, 3, 3});
  std::fill_n(a.as<double>() + 2 * 9, 9, 0.0);
  const auto solved = lab_.run_all("solve", {a, random({2, 2, 3})});
  ASSERT_FALSE(solved);
  EXPECT_EQ(solved.error().code, ErrorCode::bad_value);
  EXPECT_EQ(solved.error().text, "the matrix at [1][0] is singular");
}

}  // namespace
}  // namespace outrigger::ops::test
