// Accuracy of the elementwise functions, in units of the last place of the correctly rounded
// result.

#include <bit>
#include <cmath>
#include <cstdio>
#include <functional>
#include <random>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using Reference = std::function<long double(long double, long double)>;

struct Case {
  const char* op;
  double low;
  double high;
  Reference exact;
  bool binary = false;
};

/// |got - exact| in units of the spacing of T at `exact`.
template <typename T>
double ulps(T got, long double exact) {
  const T rounded = static_cast<T>(exact);
  if (std::isnan(exact)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(rounded) || std::isinf(got)) return got == rounded ? 0 : INFINITY;
  const T magnitude = std::fabs(rounded);
  const long double spacing =
      static_cast<long double>(std::nextafter(magnitude, std::numeric_limits<T>::infinity())) -
      magnitude;
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) / spacing);
}

template <typename T>
void measure(const Case& c, unsigned seed, bool special) {
  constexpr std::int64_t n = 100'003;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(c.low, c.high);
  std::uniform_real_distribution<double> exponent(-30, 30);
  std::vector<T> a(n);
  std::vector<T> b(n);
  const auto draw = [&](std::size_t i) {
    // Half of them near zero on a logarithmic scale, if the range allows.
    if (i % 2 == 0) return static_cast<T>(uniform(random));
    const double small = std::exp2(exponent(random)) * (i % 4 == 1 ? 1 : -1);
    return static_cast<T>(small >= c.low && small <= c.high ? small : uniform(random));
  };
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = draw(i);
    b[i] = draw(i + 1);
    if (std::string(c.op) == "pow") {
      a[i] = std::fabs(a[i]);
      b[i] = static_cast<T>(std::fmod(b[i], 30));
    }
  }
  if (special) {
    const std::vector<T> edges{0,
                               static_cast<T>(-0.0),
                               1,
                               -1,
                               INFINITY,
                               -INFINITY,
                               NAN,
                               std::numeric_limits<T>::max(),
                               std::numeric_limits<T>::min(),
                               std::numeric_limits<T>::denorm_min()};
    a.clear();
    b.clear();
    for (const T x : edges) {
      for (const T y : edges) {
        a.push_back(x);
        b.push_back(y);
      }
    }
  }
  Lab lab;
  const auto count = static_cast<std::int64_t>(a.size());
  std::vector<DType> dtypes(c.binary ? 2 : 1, dtype_of<T>());
  PassMaker maker({count}, dtypes);
  const auto result =
      c.binary ? maker.apply(c.op, dtype_of<T>(), {0, 1}) : maker.apply(c.op, dtype_of<T>(), {0});
  std::vector<Tensor> in{lab.tensor({count}, a)};
  if (c.binary) in.push_back(lab.tensor({count}, b));
  const Tensor out = lab.empty(dtype_of<T>(), {count});
  Context context = lab.context();
  ASSERT_TRUE(run_pass(context, maker.done({result}), in, std::span(&out, 1)));
  double worst = 0;
  T at = 0;
  T with = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const long double exact = c.exact(a[i], b[i]);
    // Below the normal numbers only the absolute error counts.
    if (std::fabs(exact) < std::numeric_limits<T>::min() && exact != 0) continue;
    const double error = ulps(out.as<T>()[i], exact);
    if (error <= worst) continue;
    worst = error;
    at = a[i];
    with = b[i];
  }
  std::printf("  %-6s %s %s: max %.3f ulp at %.9g%s\n", c.op,
              std::string(name_of(dtype_of<T>())).c_str(), special ? "edges" : "range", worst,
              static_cast<double>(at), c.binary ? (", " + std::to_string(with)).c_str() : "");
  EXPECT_LE(worst, 2.0) << c.op << " " << name_of(dtype_of<T>()) << " at " << at << ", " << with;
}

/// By Newton's method from below, where erf is concave: every step is monotone.
long double inverse_erf(long double x) {
  const long double a = std::fabs(x);
  if (!(a < 1)) return a == 1 ? std::copysign(INFINITY, x) : NAN;
  const long double slope = 2 / std::sqrt(std::acos(-1.0L));
  long double y = a / slope;
  for (int i = 0; i < 200; ++i) {
    const long double residual = a < 0.5L ? std::erf(y) - a : (1 - a) - std::erfc(y);
    const long double next = y - residual / (slope * std::exp(-y * y));
    if (std::fabs(next - y) <= y * 1e-19L) break;
    y = next;
  }
  return std::copysign(y, x);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"exp", -80, 80, [](long double x, long double) { return std::exp(x); }},
      {"log", 1e-30, 1e30, [](long double x, long double) { return std::log(x); }},
      {"log", 0.5, 2, [](long double x, long double) { return std::log(x); }},
      {"sin", -100, 100, [](long double x, long double) { return std::sin(x); }},
      {"cos", -100, 100, [](long double x, long double) { return std::cos(x); }},
      {"sin", -30000, 30000, [](long double x, long double) { return std::sin(x); }},
      {"cos", -30000, 30000, [](long double x, long double) { return std::cos(x); }},
      {"sin", -1e15, 1e15, [](long double x, long double) { return std::sin(x); }},
      {"cos", -1e15, 1e15, [](long double x, long double) { return std::cos(x); }},
      {"tanh", -20, 20, [](long double x, long double) { return std::tanh(x); }},
      {"expm1", -50, 80, [](long double x, long double) { return std::expm1(x); }},
      {"expm1", -1, 1, [](long double x, long double) { return std::expm1(x); }},
      {"log1p", -1, 1e30, [](long double x, long double) { return std::log1p(x); }},
      {"log1p", -0.9, 0.9, [](long double x, long double) { return std::log1p(x); }},
      {"sigmoid", -80, 80, [](long double x, long double) { return 1 / (1 + std::exp(-x)); }},
      {"sigmoid", -2, 2, [](long double x, long double) { return 1 / (1 + std::exp(-x)); }},
      {"tan", -100, 100, [](long double x, long double) { return std::tan(x); }},
      {"tan", -1e15, 1e15, [](long double x, long double) { return std::tan(x); }},
      {"asin", -1, 1, [](long double x, long double) { return std::asin(x); }},
      {"acos", -1, 1, [](long double x, long double) { return std::acos(x); }},
      {"atan", -100, 100, [](long double x, long double) { return std::atan(x); }},
      {"sinh", -88, 88, [](long double x, long double) { return std::sinh(x); }},
      {"sinh", -1, 1, [](long double x, long double) { return std::sinh(x); }},
      {"cosh", -88, 88, [](long double x, long double) { return std::cosh(x); }},
      {"asinh", -1e30, 1e30, [](long double x, long double) { return std::asinh(x); }},
      {"asinh", -3, 3, [](long double x, long double) { return std::asinh(x); }},
      {"acosh", 1, 1e30, [](long double x, long double) { return std::acosh(x); }},
      {"acosh", 1, 3, [](long double x, long double) { return std::acosh(x); }},
      {"atanh", -1, 1, [](long double x, long double) { return std::atanh(x); }},
      {"rsqrt", 0, 1e30, [](long double x, long double) { return 1 / std::sqrt(x); }},
      {"cbrt", -1e30, 1e30, [](long double x, long double) { return std::cbrt(x); }},
      {"erf", -6, 6, [](long double x, long double) { return std::erf(x); }},
      {"erf", -1, 1, [](long double x, long double) { return std::erf(x); }},
      {"erfc", -6, 26, [](long double x, long double) { return std::erfc(x); }},
      {"erfc", -1, 5, [](long double x, long double) { return std::erfc(x); }},
      {"erf_inv", -1, 1, [](long double x, long double) { return inverse_erf(x); }},
      {"erf_inv", 0.99, 1, [](long double x, long double) { return inverse_erf(x); }},
      {"sqrt", 0, 1e30, [](long double x, long double) { return std::sqrt(x); }},
      {"pow", 0, 100, [](long double x, long double y) { return std::pow(x, y); }, true},
      {"atan2", -1000, 1000, [](long double y, long double x) { return std::atan2(y, x); }, true},
      {"divide", -1e10, 1e10, [](long double x, long double y) { return x / y; }, true},
  };
  return all;
}

TEST(UlpTest, AtMostTwoInF32) {
  const unsigned seed = std::random_device{}();
  std::printf("  seed %u, %s\n", seed, std::string(isa_level()).c_str());
  for (const Case& c : cases()) measure<float>(c, seed, false);
}

TEST(UlpTest, AtMostTwoInF64) {
  const unsigned seed = std::random_device{}();
  std::printf("  seed %u, %s\n", seed, std::string(isa_level()).c_str());
  for (const Case& c : cases()) measure<double>(c, seed, false);
}

TEST(UlpTest, EdgesAreThoseOfTheCLibrary) {
  for (const Case& c : cases()) {
    measure<float>(c, 1, true);
    measure<double>(c, 1, true);
  }
}

}  // namespace
}  // namespace outrigger::ops::test
