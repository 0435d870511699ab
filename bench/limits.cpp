#include "limits.hpp"

#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

namespace outrigger::bench {

void add_scalar_in_place(float* x, float s, std::int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t i = 0; i < n; ++i) x[i] += s;
}

void add_in_place(float* x, const float* y, std::int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t i = 0; i < n; ++i) x[i] += y[i];
}

float sum(const float* x, std::int64_t n, int threads) {
  float total = 0;
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(+ : total)
  for (std::int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

void fused_chain(float* out, const float* a, const float* b, std::int64_t n, int threads) {
  constexpr std::int64_t block = 16384;
  using Array = Eigen::Array<float, Eigen::Dynamic, 1>;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t start = 0; start < n; start += block) {
    const std::int64_t m = n - start < block ? n - start : block;
    const Eigen::Map<const Array> x(a + start, m);
    const Eigen::Map<const Array> y(b + start, m);
    Eigen::Map<Array>(out + start, m) = (x * y + 1.0F).tanh() * (-x).exp();
  }
}

bool scatter(float* x, std::int64_t n, const std::int32_t* index, const float* value,
             std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= n) return false;
    x[index[i]] = value[i];
  }
  return true;
}

}  // namespace outrigger::bench
