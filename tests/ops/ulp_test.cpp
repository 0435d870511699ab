// Compares the accuracy of the elementwise functions with long double. Each error must be within
// the ulps of the op's row in the catalogue, over all exponents, with more arguments where they are
// frequent.
//
//   OUTRIGGER_SEED=…  one seed instead of a new one

#include <array>
#include <bit>
#include <cmath>
#include <cstdio>

#include "differential/elementwise.hpp"
#include "ops/support.hpp"
#include "support/random.hpp"

namespace outrigger::ops::test {
namespace {

using outrigger::test::between;
using outrigger::test::environment;
using outrigger::test::Random;
using outrigger::test::real_function;
using outrigger::test::spacing;

template <typename T>
using Pairs = std::array<std::vector<T>, 2>;

struct Range {
  std::string_view op;
  double low;
  double high;
};
constexpr std::array ranges{
    Range{"exp", -80, 80},       Range{"log", 0.5, 2},      Range{"sin", -100, 100},
    Range{"sin", -30000, 30000}, Range{"cos", -100, 100},   Range{"cos", -30000, 30000},
    Range{"tan", -100, 100},     Range{"tanh", -20, 20},    Range{"expm1", -50, 80},
    Range{"expm1", -1, 1},       Range{"log1p", -0.9, 0.9}, Range{"sigmoid", -80, 80},
    Range{"sigmoid", -2, 2},     Range{"asin", -1, 1},      Range{"acos", -1, 1},
    Range{"atan", -100, 100},    Range{"sinh", -88, 88},    Range{"sinh", -1, 1},
    Range{"cosh", -88, 88},      Range{"asinh", -3, 3},     Range{"acosh", 1, 3},
    Range{"atanh", -1, 1},       Range{"rsqrt", 0, 100},    Range{"cbrt", -100, 100},
    Range{"erf", -6, 6},         Range{"erf", -1, 1},       Range{"erfc", -6, 26},
    Range{"erfc", -1, 5},        Range{"erf_inv", -1, 1},   Range{"erf_inv", 0.99, 1},
    Range{"pow", 0, 100},        Range{"pow", 0.9, 1.1},    Range{"atan2", -1000, 1000},
};

/// Numbers of each exponent, also subnormal ones, of both signs, and the usual special values.
template <typename T>
void add_all_exponents(Random& random, bool binary, Pairs<T>& in) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr int mantissa = std::numeric_limits<T>::digits - 1;
  constexpr Bits exponents = (Bits{1} << (sizeof(T) * 8 - 1 - mantissa)) - 1;
  const int each = sizeof(T) == 4 ? 100 : 12;
  const auto number = [&](Bits exponent) {
    const Bits below = static_cast<Bits>(random()) & ((Bits{1} << mantissa) - 1);
    const Bits sign = static_cast<Bits>(random() & 1) << (sizeof(T) * 8 - 1);
    return std::bit_cast<T>(static_cast<Bits>(sign | exponent << mantissa | below));
  };
  for (Bits exponent = 0; exponent < exponents; ++exponent) {
    for (int i = 0; i < each; ++i) {
      in[0].push_back(number(exponent));
      if (binary) in[1].push_back(number(static_cast<Bits>(random() % exponents)));
    }
  }
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
  for (const T x : edges) {
    for (const T y : edges) {
      in[0].push_back(x);
      if (binary) in[1].push_back(y);
    }
  }
}

template <typename T>
void add_range(Random& random, const Range& range, bool binary, Pairs<T>& in) {
  std::uniform_real_distribution<double> uniform(range.low, range.high);
  for (int i = 0; i < 30'000; ++i) {
    in[0].push_back(static_cast<T>(uniform(random)));
    const double other = range.op == "pow" ? uniform(random) / 4 : uniform(random);
    if (binary) in[1].push_back(static_cast<T>(other));
  }
}

/// |got - exact| in units of the spacing of T at `exact`.
template <typename T>
double ulps(T got, long double exact) {
  const T rounded = static_cast<T>(exact);
  if (std::isnan(exact)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(rounded) || std::isinf(got)) return got == rounded ? 0 : INFINITY;
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) /
                             spacing(dtype_of<T>(), exact));
}

template <typename T>
void measure(const OpRow& row, const Pairs<T>& in) {
  const bool binary = row.operands.size() == 2;
  const auto count = static_cast<std::int64_t>(in[0].size());
  Lab lab;
  PassMaker maker({count}, std::vector<DType>(row.operands.size(), dtype_of<T>()));
  const auto result = binary ? maker.apply(row.name, dtype_of<T>(), {0, 1})
                             : maker.apply(row.name, dtype_of<T>(), {0});
  std::vector<Tensor> tensors{lab.tensor({count}, in[0])};
  if (binary) tensors.push_back(lab.tensor({count}, in[1]));
  const Tensor out = lab.empty(dtype_of<T>(), {count});
  Context context = lab.context();
  ASSERT_TRUE(run_pass(context, maker.done({result}), tensors, std::span(&out, 1)));
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < in[0].size(); ++i) {
    const long double exact = real_function(row.name)(in[0][i], binary ? in[1][i] : 0);
    const double error = ulps(out.as<T>()[i], exact);
    if (!(error > worst)) continue;
    worst = error;
    at = i;
  }
  const std::string with = binary ? ", " + std::to_string(in[1][at]) : "";
  std::printf("  %-8s %s: max %.3f ulp of %g at %.17g%s\n", row.name.data(),
              std::string(name_of(dtype_of<T>())).c_str(), worst, *row.ulp,
              static_cast<double>(in[0][at]), with.c_str());
  EXPECT_LE(worst, *row.ulp) << row.name << " " << name_of(dtype_of<T>()) << " of " << in[0][at]
                             << with << " gives " << out.as<T>()[at];
}

template <typename T>
void measure_all() {
  const std::uint64_t seed = environment("OUTRIGGER_SEED", std::random_device{}());
  std::printf("  OUTRIGGER_SEED=%llu, %s\n", static_cast<unsigned long long>(seed),
              std::string(isa_level()).c_str());
  for (const OpRow& row : all_ops()) {
    if (row.ulp.value_or(0) == 0) continue;
    ASSERT_NE(real_function(row.name), nullptr) << row.name << " has a bound and no reference";
    const bool binary = row.operands.size() == 2;
    Random random(seed);
    Pairs<T> in;
    add_all_exponents<T>(random, binary, in);
    for (const Range& range : ranges) {
      if (range.op == row.name) add_range<T>(random, range, binary, in);
    }
    measure<T>(row, in);
  }
}

TEST(UlpTest, F32WithinTheCataloguesBounds) { measure_all<float>(); }

TEST(UlpTest, F64WithinTheCataloguesBounds) { measure_all<double>(); }

}  // namespace
}  // namespace outrigger::ops::test
