#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "workloads.hpp"

namespace outrigger::bench {
namespace {

using std::int64_t;

Step while_loop(Inputs&, int64_t steps) {
  auto out = std::make_shared<Array>(scalar("<u4"));
  return [out, steps] {
    std::uint32_t x = 1;
    for (int64_t i = 0; i < steps; ++i) {
      x = x * 1664525U + 1013904223U;
      asm volatile("" : "+r"(x));  // otherwise the compiler combines several turns
    }
    *out->as<std::uint32_t>() = x;
    return out.get();
  };
}

/// No array of the size of all pairs is stored.
Step n_body(Inputs& in, int64_t steps) {
  auto position = std::make_shared<Array>(like(in[0]));
  auto velocity = std::make_shared<Array>(like(in[0]));
  return [&in, position, velocity, steps] {
    const int64_t n = in[1].size();
    const float* const m = in[1].as<float>();
    float* const p = position->as<float>();
    float* const v = velocity->as<float>();
    std::memcpy(p, in[0].as<float>(), in[0].bytes());
    std::memset(v, 0, in[0].bytes());
    for (int64_t step = 0; step < steps; ++step) {
#pragma omp parallel for schedule(static)
      for (int64_t i = 0; i < n; ++i) {
        float ax = 0, ay = 0, az = 0;
        const float x = p[i], y = p[n + i], z = p[2 * n + i];
#pragma omp simd reduction(+ : ax, ay, az)
        for (int64_t j = 0; j < n; ++j) {
          const float dx = p[j] - x, dy = p[n + j] - y, dz = p[2 * n + j] - z;
          const float r2 = dx * dx + dy * dy + dz * dz + 0.01F;
          const float w = m[j] / (r2 * std::sqrt(r2));
          ax += dx * w;
          ay += dy * w;
          az += dz * w;
        }
        v[i] += 1e-4F * ax;
        v[n + i] += 1e-4F * ay;
        v[2 * n + i] += 1e-4F * az;
      }
      for (int64_t i = 0; i < 3 * n; ++i) p[i] += 1e-2F * v[i];
    }
    return position.get();
  };
}

constexpr int64_t dims = 8, centres = 16;

/// One pass over the points for each step: the nearest centre, and the sum of its points.
Step k_means(Inputs& in, int64_t steps) {
  auto out = std::make_shared<Array>("<f4", std::vector<int64_t>{centres, dims});
  return [&in, out, steps] {
    const int64_t n = in[0].shape()[0];
    const float* const points = in[0].as<float>();
    float* const c = out->as<float>();
    std::memcpy(c, points, out->bytes());
    for (int64_t step = 0; step < steps; ++step) {
      double sums[centres * dims] = {};
      double count[centres] = {};
      float turned[dims][centres], square[centres];
      for (int64_t k = 0; k < centres; ++k) {
        square[k] = 0;
        for (int64_t d = 0; d < dims; ++d) {
          turned[d][k] = -2 * c[k * dims + d];
          square[k] += c[k * dims + d] * c[k * dims + d];
        }
      }
#pragma omp parallel for schedule(static) reduction(+ : sums, count)
      for (int64_t i = 0; i < n; ++i) {
        const float* const x = points + i * dims;
        float distance[centres];
        for (int64_t k = 0; k < centres; ++k) distance[k] = square[k];
        for (int64_t d = 0; d < dims; ++d) {
          for (int64_t k = 0; k < centres; ++k) distance[k] += turned[d][k] * x[d];
        }
        int64_t nearest = 0;
        for (int64_t k = 1; k < centres; ++k)
          nearest = distance[k] < distance[nearest] ? k : nearest;
        count[nearest] += 1;
        for (int64_t d = 0; d < dims; ++d) sums[nearest * dims + d] += x[d];
      }
      for (int64_t k = 0; k < centres; ++k) {
        for (int64_t d = 0; d < dims; ++d) {
          c[k * dims + d] = static_cast<float>(sums[k * dims + d] / std::max(count[k], 1.0));
        }
      }
    }
    return out.get();
  };
}

}  // namespace

void add_loops(Workloads& all) {
  all["while of 1M turns"] = while_loop;
  all["n-body 1000"] = n_body;
  all["k-means 1Mx8"] = k_means;
}

}  // namespace outrigger::bench
