// Compares Fourier transforms with the sums that define them, in long double.

#include <cmath>
#include <complex>
#include <numbers>
#include <random>
#include <thread>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using Wide = std::complex<long double>;

template <typename T>
std::vector<std::complex<T>> elements(const Tensor& tensor) {
  std::vector<std::complex<T>> all(static_cast<std::size_t>(tensor.size()));
  if (!all.empty()) read_elements(tensor, 0, tensor.size(), all.data());
  return all;
}

template <typename T>
std::vector<std::complex<T>> noise(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<std::complex<T>> all(static_cast<std::size_t>(n));
  for (auto& x : all) x = {static_cast<T>(normal(random)), static_cast<T>(normal(random))};
  return all;
}

Wide root(std::int64_t k, std::int64_t n) {
  const long double angle = 2 * std::numbers::pi_v<long double> * static_cast<long double>(k) /
                            static_cast<long double>(n);
  return {std::cos(angle), -std::sin(angle)};
}

/// Point k of the transform of the numbers at x, x + step, …, which are padded with zeros.
template <typename T>
Wide point(const std::complex<T>* x, std::int64_t given, std::int64_t step, std::int64_t n,
           std::int64_t k, bool inverse) {
  Wide sum{};
  for (std::int64_t j = 0; j < std::min(given, n); ++j) {
    const auto turn = static_cast<std::int64_t>(static_cast<__int128_t>(j) * k % n);
    const Wide w = inverse ? std::conj(root(turn, n)) : root(turn, n);
    sum += Wide(x[j * step]) * w;
  }
  return inverse ? sum / static_cast<long double>(n) : sum;
}

template <typename T>
DType complex_of() {
  return std::is_same_v<T, float> ? DType::c64 : DType::c128;
}

template <typename T>
Tensor complex_tensor(Lab& lab, const Dims& shape, const std::vector<std::complex<T>>& values) {
  Tensor made = lab.empty(complex_of<T>(), shape);
  std::copy(values.begin(), values.end(), made.as<std::complex<T>>());
  return made;
}

Attrs with(std::int64_t axis, std::int64_t length) {
  Attrs attrs{{"axis", AttrValue{Number{axis}}}, {"eps", AttrValue{Number{0.0}}}};
  if (length > 0) attrs.emplace_back("length", AttrValue{Number{length}});
  return attrs;
}

/// The largest error of a point, relative to the point and the root of the sum of squares. f32 is
/// computed in f64 up to 4096 points; beyond, its errors grow with the logarithm of the length.
template <typename T>
long double bound_of(std::int64_t n) {
  if (std::is_same_v<T, double>) return 3e-15L;
  return n <= 4096 ? 1.2e-7L : 6e-8L * (1 + std::log2(static_cast<long double>(n)) / 2);
}

template <typename T>
long double root_of_squares(const std::vector<T>& x) {
  long double sum = 1e-60L;
  for (const T& e : x) sum += std::norm(Wide(e));
  return std::sqrt(sum);
}

/// The largest error of some points.
template <typename T>
void check(std::int64_t given, std::int64_t n, bool inverse) {
  SCOPED_TRACE(testing::Message() << given << " elements, " << n << " points, "
                                  << (inverse ? "ifft" : "fft") << " of " << sizeof(T) << " bytes");
  Lab lab;
  const auto x = noise<T>(given, static_cast<unsigned>(n));
  const auto y = lab.run(inverse ? "ifft" : "fft", {complex_tensor<T>(lab, {given}, x)},
                         with(0, given == n ? 0 : n));
  ASSERT_TRUE(y);
  ASSERT_EQ(y->size(), n);
  const auto out = elements<T>(*y);
  const long double scale = root_of_squares(x) / (inverse ? static_cast<long double>(n) : 1);
  const long double bound = bound_of<T>(n);
  // Each point costs n sines, so that fewer points are checked if n is large.
  for (std::int64_t k = 0; k < n; k += std::max<std::int64_t>(1, n / (n > 5000 ? 5 : 50))) {
    const Wide want = point(x.data(), given, 1, n, k, inverse);
    const Wide got(out[static_cast<std::size_t>(k)]);
    ASSERT_LE(std::abs(want - got), bound * (scale + std::abs(want))) << "point " << k;
  }
}

TEST(Fft, EveryShortLength) {
  for (std::int64_t n = 1; n <= 80; ++n) {
    check<double>(n, n, false);
    check<double>(n, n, true);
    check<float>(n, n, n % 2 == 0);
  }
}

TEST(Fft, LongLengths) {
  for (const std::int64_t n : {121, 128, 169, 243, 625, 1000, 1001, 1009, 1024, 2048, 2310, 3125,
                               4096, 4099, 30030, 65536, 65537, 100000}) {
    check<double>(n, n, false);
    check<double>(n, n, true);
    check<float>(n, n, false);
  }
}

/// Real transforms, which from some length on combine two numbers to one, and their inverses.
template <typename T>
void check_real(std::int64_t lines, std::int64_t n, std::int64_t axis) {
  SCOPED_TRACE(testing::Message() << lines << " lines of " << n << " along axis " << axis << ", "
                                  << sizeof(T) << " bytes");
  Lab lab;
  const Dims shape = axis == 1 ? Dims{lines, n} : Dims{n, lines};
  const std::int64_t step = axis == 1 ? 1 : lines;
  std::mt19937 random(static_cast<unsigned>(n));
  std::vector<T> x(static_cast<std::size_t>(lines * n));
  for (T& e : x) e = static_cast<T>(std::normal_distribution<double>()(random));
  const std::vector<std::complex<T>> wide(x.begin(), x.end());
  const auto half = lab.run("rfft", {lab.tensor(shape, x)}, with(axis, 0), 2);
  ASSERT_TRUE(half);
  const std::int64_t points = n / 2 + 1;
  ASSERT_EQ(half->size(), lines * points);
  const auto out = elements<T>(*half);
  const long double scale = root_of_squares(x) / std::sqrt(static_cast<long double>(lines));
  for (std::int64_t line = 0; line < lines; line += std::max<std::int64_t>(1, lines - 1)) {
    const std::int64_t from = axis == 1 ? line * n : line;
    const std::int64_t to = axis == 1 ? line * points : line;
    for (std::int64_t k = 0; k < points; k += std::max<std::int64_t>(1, points / 3)) {
      const Wide want = point(wide.data() + from, n, step, n, k, false);
      const Wide got(out[static_cast<std::size_t>(to + k * step)]);
      ASSERT_LE(std::abs(want - got), bound_of<T>(n) * (scale + std::abs(want))) << "point " << k;
    }
  }
  const auto back = lab.run("irfft", {*half}, with(axis, n), 2);
  ASSERT_TRUE(back);
  const std::vector<T> again = values<T>(*back);
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(again[i], x[i], 8 * static_cast<double>(bound_of<T>(n))) << i;
}

TEST(Fft, RealTransformsOfAnyLength) {
  for (const std::int64_t n :
       {127, 128, 130, 134, 256, 1000, 1018, 1022, 1026, 4096, 8198, 10000}) {
    for (const std::int64_t axis : {0, 1}) {
      for (const std::int64_t lines : {1, 3, 37}) {
        check_real<double>(lines, n, axis);
        check_real<float>(lines, n, axis);
      }
    }
  }
  for (const std::int64_t n : {65536, 65537, 100002, 131074}) {
    check_real<double>(1, n, 1);
    check_real<float>(2, n, 0);
  }
}

/// Points that no real transform gives: only the half that is read counts, and the rest follows
/// from symmetry.
TEST(Fft, RealInversesOfAnyPoints) {
  for (const std::int64_t n : {126, 128, 129, 1000, 1001, 2048, 8198}) {
    for (const std::int64_t given : {n / 2 + 1, n / 2 - 3, n}) {
      SCOPED_TRACE(testing::Message() << given << " of " << n);
      Lab lab;
      const auto x = noise<double>(given, static_cast<unsigned>(n));
      const auto y = lab.run("irfft", {complex_tensor<double>(lab, {given}, x)}, with(0, n));
      ASSERT_TRUE(y);
      std::vector<std::complex<double>> whole(static_cast<std::size_t>(n));
      for (std::int64_t k = 0; k < std::min(given, n / 2 + 1); ++k) {
        const auto at = static_cast<std::size_t>(k);
        const bool own_mirror = k == 0 || 2 * k == n;
        whole[at] = own_mirror ? x[at].real() : x[at];
        if (!own_mirror) whole[static_cast<std::size_t>(n - k)] = std::conj(x[at]);
      }
      for (std::int64_t k = 0; k < n; k += n / 20) {
        const Wide want = point(whole.data(), n, 1, n, k, true);
        EXPECT_NEAR(static_cast<double>(want.imag()), 0, 1e-15);
        EXPECT_NEAR(y->as<double>()[k], static_cast<double>(want.real()), 1e-15) << k;
      }
    }
  }
}

TEST(Fft, ManyLinesAreTheirTransforms) {
  // Side by side and one by one must agree except for rounding.
  for (const std::int64_t n : {8, 100, 512, 1009, 4096}) {
    Lab lab;
    const std::int64_t lines = 21;
    const auto x = noise<double>(lines * n, static_cast<unsigned>(n));
    const auto all = lab.run("fft", {complex_tensor<double>(lab, {lines, n}, x)}, with(1, 0));
    ASSERT_TRUE(all);
    const auto out = elements<double>(*all);
    for (std::int64_t line = 0; line < lines; ++line) {
      const std::vector<std::complex<double>> mine(x.begin() + line * n,
                                                   x.begin() + (line + 1) * n);
      const auto one = lab.run("fft", {complex_tensor<double>(lab, {n}, mine)}, with(0, 0));
      ASSERT_TRUE(one);
      const double scale = static_cast<double>(root_of_squares(mine));
      for (std::int64_t k = 0; k < n; ++k) {
        ASSERT_LE(std::abs(one->as<std::complex<double>>()[k] -
                           out[static_cast<std::size_t>(line * n + k)]),
                  3e-15 * scale);
      }
    }
  }
}

TEST(Fft, LinesOfTwoAreNotPairs) {
  Lab lab;
  std::vector<double> x(64);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i * i % 37);
  const auto sums = lab.run("rfft", {lab.tensor({32, 2}, x)}, with(1, 0));
  ASSERT_TRUE(sums);
  const auto back = lab.run("irfft", {*sums}, with(1, 2));
  ASSERT_TRUE(back);
  EXPECT_EQ(values<double>(*back), x);
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(elements<double>(*sums)[2 * i], x[2 * i] + x[2 * i + 1]);
    EXPECT_EQ(elements<double>(*sums)[2 * i + 1], x[2 * i] - x[2 * i + 1]);
  }
}

TEST(Fft, PlansAreSharedByThreads) {
  // More plans than are kept are made and used at the same time.
  const auto transform = [](std::int64_t n) {
    Lab lab;
    const auto y = lab.run("fft", {complex_tensor<double>(lab, {n}, noise<double>(n, 7))});
    return y ? bytes(*y) : std::vector<std::byte>{};
  };
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 300'007; n < 300'017; ++n) lengths.push_back(n);
  std::vector<std::vector<std::byte>> expected;
  for (const std::int64_t n : lengths) expected.push_back(transform(n));
  std::vector<std::vector<std::byte>> got(2 * lengths.size());
  std::vector<std::thread> threads;
  for (std::size_t half = 0; half < 2; ++half) {
    threads.emplace_back([&, half] {
      for (std::size_t i = 0; i < lengths.size(); ++i)
        got[half * lengths.size() + i] = transform(lengths[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_FALSE(got[i].empty());
    EXPECT_EQ(got[i], expected[i % lengths.size()]);
  }
}

TEST(Fft, LengthCutsAndPads) {
  for (const std::int64_t n : {1, 2, 3, 5, 8, 16, 17, 30, 34, 40}) {
    check<double>(17, n, false);
    check<float>(17, n, true);
  }
}

TEST(Fft, EveryAxisOfAnyLayout) {
  Lab lab;
  const Dims shape{3, 20, 7, 2};
  const auto x = noise<double>(element_count(shape), 5);
  const Tensor dense = complex_tensor<double>(lab, shape, x);
  const Dims strides = contiguous_strides(shape);
  for (std::int64_t axis = 0; axis < 4; ++axis) {
    const auto a = static_cast<std::size_t>(axis);
    for (const std::int64_t n : {shape[a], std::int64_t{6}}) {
      const auto y = lab.run("fft", {dense}, with(axis - 4, n));
      ASSERT_TRUE(y);
      Dims out_shape = shape;
      out_shape[a] = n;
      ASSERT_EQ(y->shape(), out_shape);
      const auto out = elements<double>(*y);
      for (std::int64_t i = 0; i < y->size(); ++i) {
        std::int64_t rest = i;
        std::int64_t offset = 0;
        std::int64_t k = 0;
        for (std::size_t d = 4; d-- > 0; rest /= out_shape[d]) {
          if (d == a) {
            k = rest % n;
          } else {
            offset += rest % out_shape[d] * strides[d];
          }
        }
        const Wide want = point(x.data() + offset, shape[a], strides[a], n, k, false);
        ASSERT_LE(std::abs(want - Wide(out[static_cast<std::size_t>(i)])), 1e-13L);
      }
      // The same elements with other strides.
      Dims turned(4);
      std::int64_t stride = 1;
      for (std::size_t d = 0; d < 4; ++d) {
        turned[d] = stride;
        stride *= shape[d];
      }
      const Tensor window = view_of(lab.empty(DType::c128, shape), dense.type, turned, 0, true);
      Context context = lab.context();
      ASSERT_TRUE(copy_tensor(context, dense, window));
      const auto again = lab.run("fft", {window}, with(axis, n));
      ASSERT_TRUE(again);
      EXPECT_EQ(bytes(*again), bytes(*y));
    }
  }
}

TEST(Fft, RealTransformsAreTheComplexOnes) {
  Lab lab;
  for (const std::int64_t n : {1, 2, 7, 8, 30, 97}) {
    std::mt19937 random(static_cast<unsigned>(n));
    std::vector<double> x(static_cast<std::size_t>(3 * n));
    for (double& e : x) e = std::normal_distribution<double>()(random);
    const std::vector<std::complex<double>> wide(x.begin(), x.end());
    const auto all = lab.run("fft", {complex_tensor<double>(lab, {3, n}, wide)}, with(1, 0));
    const auto half = lab.run("rfft", {lab.tensor({3, n}, x)}, with(1, 0));
    ASSERT_TRUE(all && half);
    const std::int64_t kept = n / 2 + 1;
    ASSERT_EQ(half->shape(), (Dims{3, kept}));
    for (std::int64_t i = 0; i < 3 * kept; ++i) {
      EXPECT_EQ(half->as<std::complex<double>>()[i],
                all->as<std::complex<double>>()[i / kept * n + i % kept]);
    }
    const auto back = lab.run("irfft", {*half}, with(1, n));
    ASSERT_TRUE(back);
    for (std::int64_t i = 0; i < 3 * n; ++i) {
      EXPECT_NEAR(back->as<double>()[i], x[static_cast<std::size_t>(i)], 1e-14);
    }
  }
  // Missing points count as zeros. Points beyond half of the length are not read.
  const auto few = lab.run("irfft", {complex_tensor<double>(lab, {1}, {{8, 5}})}, with(0, 4));
  ASSERT_TRUE(few);
  EXPECT_EQ(values<double>(*few), (std::vector<double>{2, 2, 2, 2}));
  const auto many = lab.run(
      "irfft", {complex_tensor<double>(lab, {4}, {{8, 0}, {0, 0}, {99, 1}, {99, 1}})}, with(0, 3));
  ASSERT_TRUE(many);
  for (const double e : values<double>(*many)) EXPECT_NEAR(e, 8.0 / 3, 1e-15);
}

TEST(Fft, TwoAxes) {
  Lab lab;
  const auto x = noise<double>(4 * 6 * 5, 9);
  const Tensor t = complex_tensor<double>(lab, {4, 6, 5}, x);
  for (const char* name : {"fft", "ifft"}) {
    const auto first = lab.run(name, {t}, with(2, 8));
    ASSERT_TRUE(first);
    const auto both = lab.run(name, {*first}, with(0, 3));
    ASSERT_TRUE(both);
    const auto at_once = lab.run(std::string(name) + "2", {t},
                                 {{"axes", AttrValue{std::vector<std::int64_t>{0, 2}}},
                                  {"lengths", AttrValue{std::vector<std::int64_t>{3, 8}}},
                                  {"eps", AttrValue{Number{0.0}}}});
    ASSERT_TRUE(at_once);
    EXPECT_EQ(at_once->shape(), (Dims{3, 6, 8}));
    EXPECT_EQ(bytes(*at_once), bytes(*both));
  }
}

TEST(Fft, SmallPartsBecomeZero) {
  Lab lab;
  const std::vector<std::complex<double>> x{{1, 1e-12}, {0, 0}};
  const Tensor t = complex_tensor<double>(lab, {2}, x);
  const auto clean = lab.run("fft", {t});
  ASSERT_TRUE(clean);
  EXPECT_EQ(elements<double>(*clean), (std::vector<std::complex<double>>{{1, 0}, {1, 0}}));
  const auto kept = lab.run("fft", {t}, with(0, 0));
  ASSERT_TRUE(kept);
  EXPECT_EQ(elements<double>(*kept), (std::vector<std::complex<double>>{{1, 1e-12}, {1, 1e-12}}));
  const auto large = lab.run("fft", {t}, {{"eps", AttrValue{Number{1.0}}}});
  ASSERT_TRUE(large);
  EXPECT_EQ(elements<double>(*large), (std::vector<std::complex<double>>{{0, 0}, {0, 0}}));
}

TEST(Fft, SameBitsForAnyNumberOfThreads) {
  Lab lab;
  for (const Dims& shape : {Dims{300, 1000}, Dims{500, 509}, Dims{1, 65536}, Dims{2, 65537},
                            Dims{3, 2000}, Dims{1, 500'000}, Dims{7, 8192}, Dims{40, 16384}}) {
    const Tensor t = complex_tensor<float>(lab, shape, noise<float>(element_count(shape), 3));
    const auto one = lab.run("fft", {t}, with(1, 0), 1);
    const auto two = lab.run("fft", {t}, with(1, 0), 2);
    const auto five = lab.run("fft", {t}, with(1, 0), 5);
    ASSERT_TRUE(one && two && five);
    EXPECT_EQ(bytes(*one), bytes(*two));
    EXPECT_EQ(bytes(*one), bytes(*five));
    const Tensor real =
        lab.tensor(shape, std::vector<double>(static_cast<std::size_t>(t.size()), 0.1));
    const auto half = lab.run("rfft", {real}, with(1, 0), 1);
    const auto again = lab.run("rfft", {real}, with(1, 0), 5);
    ASSERT_TRUE(half && again);
    EXPECT_EQ(bytes(*half), bytes(*again));
  }
}

TEST(Fft, Refusals) {
  Lab lab;
  const Tensor scalar = lab.empty(DType::f64, {});
  const Tensor vector = lab.empty(DType::f64, {4});
  const Tensor empty = lab.empty(DType::f64, {0});
  const Tensor complex = lab.empty(DType::c64, {4});
  const auto code = [&](std::string_view op, const Tensor& x, const Attrs& attrs) {
    const auto done = lab.run(op, {x}, attrs);
    return done ? ErrorCode::internal : done.error().code;
  };
  EXPECT_EQ(code("fft", scalar, {}), ErrorCode::bad_shape);
  EXPECT_EQ(code("fft", empty, {}), ErrorCode::bad_shape);
  EXPECT_EQ(code("fft", vector, with(1, 0)), ErrorCode::bad_axis);
  EXPECT_EQ(code("fft", vector, {{"length", AttrValue{Number{std::int64_t{0}}}}}),
            ErrorCode::bad_attr);
  EXPECT_EQ(code("fft", vector, with(0, std::int64_t{1} << 50)), ErrorCode::bad_attr);
  EXPECT_EQ(code("rfft", complex, {}), ErrorCode::bad_dtype);
  EXPECT_EQ(code("irfft", lab.empty(DType::c64, {1}), {}), ErrorCode::bad_shape);
  EXPECT_EQ(code("fft2", vector, {}), ErrorCode::bad_shape);
  EXPECT_EQ(code("fft2", lab.empty(DType::f32, {2, 2}),
                 {{"axes", AttrValue{std::vector<std::int64_t>{1}}}}),
            ErrorCode::bad_attr);
  EXPECT_EQ(code("fft2", lab.empty(DType::f32, {2, 2}),
                 {{"axes", AttrValue{std::vector<std::int64_t>{1, 1}}}}),
            ErrorCode::bad_axis);
}

}  // namespace
}  // namespace outrigger::ops::test
