#include <algorithm>
#include <cmath>
#include <memory>

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

#include "workloads.hpp"

namespace outrigger::bench {
namespace {

using std::int64_t;

/// out[i] = body(i) for all elements of a new array.
template <typename T, typename Body>
Step each(const Array& shaped, Body body) {
  auto out = std::make_shared<Array>(like(shaped));
  return [out, body] {
    T* const to = out->as<T>();
    const int64_t n = out->size();
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; ++i) to[i] = body(i);
    return out.get();
  };
}

Step add_scalar_in_place(Inputs& in, int64_t) {
  return [&in] {
    float* const x = in[0].as<float>();
    const int64_t n = in[0].size();
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; ++i) x[i] += 0.5F;
    return &in[0];
  };
}

Step add_in_place(Inputs& in, int64_t) {
  return [&in] {
    float* const x = in[0].as<float>();
    const float* const y = in[1].as<float>();
    const int64_t n = in[0].size();
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; ++i) x[i] += y[i];
    return &in[0];
  };
}

/// One fused pass of Eigen.
Step fused_chain(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>(like(in[0]));
  return [&in, out] {
    constexpr int64_t block = 16384;
    using Floats = Eigen::Array<float, Eigen::Dynamic, 1>;
    const int64_t n = out->size();
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < n; start += block) {
      const int64_t m = n - start < block ? n - start : block;
      const Eigen::Map<const Floats> x(in[0].as<float>() + start, m);
      const Eigen::Map<const Floats> y(in[1].as<float>() + start, m);
      Eigen::Map<Floats>(out->as<float>() + start, m) = (x * y + 1.0F).tanh() * (-x).exp();
    }
    return out.get();
  };
}

/// A pass of Eigen over blocks.
template <typename Function>
Maker eigen_pass(Function function) {
  return [function](Inputs& in, int64_t) -> Step {
    auto out = std::make_shared<Array>(like(in[0]));
    return [&in, out, function] {
      constexpr int64_t block = 16384;
      using Floats = Eigen::Array<float, Eigen::Dynamic, 1>;
      const int64_t n = out->size();
#pragma omp parallel for schedule(static)
      for (int64_t start = 0; start < n; start += block) {
        const int64_t m = n - start < block ? n - start : block;
        const Eigen::Map<const Floats> x(in[0].as<float>() + start, m);
        Eigen::Map<Floats>(out->as<float>() + start, m) = function(x);
      }
      return out.get();
    };
  };
}

/// For each of `rows` rows: the largest element, then exp and the sum, then the division; three
/// passes.
template <typename T>
Step softmax(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>(like(in[0]));
  const bool flat = in[0].shape().size() == 1;
  return [&in, out, flat] {
    const T* const x = in[0].as<T>();
    T* const y = out->as<T>();
    const int64_t n = in[0].shape().back();
    if (flat) {
      T largest = x[0], total = 0;
#pragma omp parallel for simd schedule(static) reduction(max : largest)
      for (int64_t i = 0; i < n; ++i) largest = std::max(largest, x[i]);
#pragma omp parallel for simd schedule(static) reduction(+ : total)
      for (int64_t i = 0; i < n; ++i) total += y[i] = std::exp(x[i] - largest);
      const T factor = 1 / total;
#pragma omp parallel for simd schedule(static)
      for (int64_t i = 0; i < n; ++i) y[i] *= factor;
      return out.get();
    }
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < in[0].shape()[0]; ++row) {
      const T* const from = x + row * n;
      T* const to = y + row * n;
      T largest = from[0], total = 0;
#pragma omp simd reduction(max : largest)
      for (int64_t i = 0; i < n; ++i) largest = std::max(largest, from[i]);
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < n; ++i) total += to[i] = std::exp(from[i] - largest);
      const T factor = 1 / total;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) to[i] *= factor;
    }
    return out.get();
  };
}

/// Computes all turns for a block that stays in registers and the L1 cache.
Step logistic_map(Inputs& in, int64_t steps) {
  auto out = std::make_shared<Array>(like(in[0]));
  return [&in, out, steps] {
    constexpr int64_t block = 64;
    const auto* const x = in[0].as<std::uint32_t>();
    auto* const to = out->as<std::uint32_t>();
    const int64_t n = out->size();
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < n; start += block) {
      std::uint32_t y[block] = {};
      const int64_t m = n - start < block ? n - start : block;
      std::copy_n(x + start, m, y);
      for (int64_t turn = 0; turn < steps; ++turn) {
        for (int64_t i = 0; i < block; ++i) y[i] = (y[i] * (65536U - y[i])) >> 14U;
      }
      std::copy_n(y, m, to + start);
    }
    return out.get();
  };
}

}  // namespace

void add_elementwise(Workloads& all) {
  all["add"] = [](Inputs& in, int64_t) {
    return each<float>(
        in[0], [a = in[0].as<float>(), b = in[1].as<float>()](int64_t i) { return a[i] + b[i]; });
  };
  all["add scalar in place"] = add_scalar_in_place;
  all["add in place"] = add_in_place;
  all["fma chain"] = [](Inputs& in, int64_t) {
    return each<float>(in[0], [a = in[0].as<float>(), b = in[1].as<float>()](int64_t i) {
      float y = a[i];
      for (int k = 0; k < 8; ++k) y = y * b[i] + a[i];
      return y;
    });
  };
  all["tanh(a*b+1)*exp(-a)"] = fused_chain;
  all["exp"] = eigen_pass([](const auto& x) { return x.exp(); });
  all["log"] = eigen_pass([](const auto& x) { return x.log(); });
  // the compiler calls the functions of libmvec for these loops
  all["sin"] = [](Inputs& in, int64_t) {
    return each<float>(in[0], [x = in[0].as<float>()](int64_t i) { return std::sin(x[i]); });
  };
  all["erf"] = [](Inputs& in, int64_t) {
    return each<float>(in[0], [x = in[0].as<float>()](int64_t i) { return std::erf(x[i]); });
  };
  all["tanh f64"] = [](Inputs& in, int64_t) {
    return each<double>(in[0], [x = in[0].as<double>()](int64_t i) { return std::tanh(x[i]); });
  };
  all["softmax 1M f32"] = softmax<float>;
  all["softmax 1M f64"] = softmax<double>;
  all["softmax 1000x1000 rows"] = softmax<float>;
  all["logistic map u32"] = logistic_map;
}

}  // namespace outrigger::bench
