// Sorts, scatters, gathers and copies.

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <parallel/algorithm>

#include "workloads.hpp"

namespace outrigger::bench {
namespace {

using std::int64_t;

Step transpose(Inputs& in, int64_t) {
  const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
  auto out = std::make_shared<Array>("<f4", std::vector<int64_t>{columns, rows});
  return [&in, out, rows, columns] {
    constexpr int64_t tile = 32;
    const float* const x = in[0].as<float>();
    float* const y = out->as<float>();
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t c0 = 0; c0 < columns; c0 += tile) {
      for (int64_t r0 = 0; r0 < rows; r0 += tile) {
        const int64_t c1 = std::min(columns, c0 + tile), r1 = std::min(rows, r0 + tile);
        for (int64_t c = c0; c < c1; ++c) {
          for (int64_t r = r0; r < r1; ++r) y[c * rows + r] = x[r * columns + c];
        }
      }
    }
    return out.get();
  };
}

/// The parallel sort of libstdc++.
Step sort(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>(like(in[0]));
  return [&in, out] {
    std::memcpy(out->as<float>(), in[0].as<float>(), in[0].bytes());
    __gnu_parallel::sort(out->as<float>(), out->as<float>() + out->size());
    return out.get();
  };
}

Step argsort(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>("<i4", in[0].shape());
  return [&in, out] {
    std::int32_t* const order = out->as<std::int32_t>();
    std::iota(order, order + out->size(), 0);
    const float* const x = in[0].as<float>();
    __gnu_parallel::sort(order, order + out->size(),
                         [x](std::int32_t a, std::int32_t b) { return x[a] < x[b]; });
    return out.get();
  };
}

/// All indices are checked before the first write, because an op happens wholly or not at all.
bool inside(const std::int32_t* index, int64_t count, int64_t n) {
  int bad = 0;
#pragma omp simd reduction(| : bad)
  for (int64_t i = 0; i < count; ++i) bad |= index[i] < 0 || index[i] >= n;
  return bad == 0;
}

template <bool Add>
Step scatter(Inputs& in, int64_t) {
  return [&in]() -> const Array* {
    float* const x = in[0].as<float>();
    const std::int32_t* const index = in[1].as<std::int32_t>();
    const float* const value = in[2].as<float>();
    const int64_t count = in[1].size();
    if (!inside(index, count, in[0].size())) return nullptr;
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (Add) {
        x[index[i]] += value[i];
      } else {
        x[index[i]] = value[i];
      }
    }
    return &in[0];
  };
}

Step gather(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>("<f4", in[1].shape());
  return [&in, out]() -> const Array* {
    const float* const x = in[0].as<float>();
    const std::int32_t* const index = in[1].as<std::int32_t>();
    float* const y = out->as<float>();
    const int64_t count = in[1].size();
    if (!inside(index, count, in[0].size())) return nullptr;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; ++i) y[i] = x[index[i]];
    return out.get();
  };
}

Step put_slice(Inputs& in, int64_t steps) {
  return [&in, steps] {
    const int64_t places = in[0].size() - in[1].size();
    for (int64_t i = 0; i < steps; ++i) {
      std::memcpy(in[0].as<float>() + i * 7919 % places, in[1].as<float>(), in[1].bytes());
    }
    return &in[0];
  };
}

}  // namespace

void add_movement(Workloads& all) {
  all["transpose copy 4000x4000"] = transpose;
  all["sort 1M"] = all["sort 16M"] = sort;
  all["argsort 1M"] = all["argsort 16M"] = argsort;
  all["scatter put 1M into 16M"] = scatter<false>;
  all["scatter add 1M into 16M"] = scatter<true>;
  all["gather 1M of 16M"] = gather;
  all["put_slice of 1000 10000 times"] = put_slice;
}

}  // namespace outrigger::bench
