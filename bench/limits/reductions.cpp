#include <omp.h>

#include <algorithm>
#include <memory>

#include "workloads.hpp"

namespace outrigger::bench {
namespace {

using std::int64_t;

Step sum(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>(scalar("<f4"));
  return [&in, out] {
    const float* const x = in[0].as<float>();
    const int64_t n = in[0].size();
    float total = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : total)
    for (int64_t i = 0; i < n; ++i) total += x[i];
    *out->as<float>() = total;
    return out.get();
  };
}

/// Each thread has a band of columns, and adds row after row.
Step sum_rows(Inputs& in, int64_t) {
  const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
  auto out = std::make_shared<Array>("<f4", std::vector<int64_t>{columns});
  return [&in, out, rows, columns] {
    const float* const x = in[0].as<float>();
    float* const y = out->as<float>();
#pragma omp parallel
    {
      const int64_t first = columns * omp_get_thread_num() / omp_get_num_threads();
      const int64_t last = columns * (omp_get_thread_num() + 1) / omp_get_num_threads();
      std::fill(y + first, y + last, 0.0F);
      for (int64_t r = 0; r < rows; ++r) {
#pragma omp simd
        for (int64_t c = first; c < last; ++c) y[c] += x[r * columns + c];
      }
    }
    return out.get();
  };
}

Step sum_columns(Inputs& in, int64_t) {
  const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
  auto out = std::make_shared<Array>("<f4", std::vector<int64_t>{rows});
  return [&in, out, rows, columns] {
    const float* const x = in[0].as<float>();
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
      float total = 0;
#pragma omp simd reduction(+ : total)
      for (int64_t c = 0; c < columns; ++c) total += x[r * columns + c];
      out->as<float>()[r] = total;
    }
    return out.get();
  };
}

/// The largest element of a block is found first. Its position is searched only if it is the
/// largest so far.
int64_t argmax_of(const float* x, int64_t n) {
  constexpr int64_t block = 4096;
  int64_t place = 0;
  for (int64_t start = 0; start < n; start += block) {
    const int64_t end = std::min(n, start + block);
    float largest = x[start];
#pragma omp simd reduction(max : largest)
    for (int64_t i = start; i < end; ++i) largest = std::max(largest, x[i]);
    if (start == 0 || largest > x[place]) place = std::find(x + start, x + end, largest) - x;
  }
  return place;
}

Step argmax(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>(scalar("<i4"));
  return [&in, out] {
    const float* const x = in[0].as<float>();
    const int64_t n = in[0].size();
    std::vector<int64_t> places(static_cast<std::size_t>(omp_get_max_threads()));
#pragma omp parallel
    {
      const int64_t t = omp_get_thread_num(), all = omp_get_num_threads();
      const int64_t first = n * t / all;
      places[static_cast<std::size_t>(t)] = first + argmax_of(x + first, n * (t + 1) / all - first);
    }
    int64_t best = places[0];
    for (const int64_t place : places) best = x[place] > x[best] ? place : best;
    *out->as<std::int32_t>() = static_cast<std::int32_t>(best);
    return out.get();
  };
}

Step argmax_rows(Inputs& in, int64_t) {
  const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
  auto out = std::make_shared<Array>("<i4", std::vector<int64_t>{columns});
  auto largest = std::make_shared<std::vector<float>>(columns);
  return [&in, out, largest, rows, columns] {
    const float* const x = in[0].as<float>();
    std::int32_t* const y = out->as<std::int32_t>();
    float* const top = largest->data();
#pragma omp parallel
    {
      const int64_t first = columns * omp_get_thread_num() / omp_get_num_threads();
      const int64_t last = columns * (omp_get_thread_num() + 1) / omp_get_num_threads();
      std::fill(y + first, y + last, 0);
      std::copy(x + first, x + last, top + first);
      for (int64_t r = 1; r < rows; ++r) {
#pragma omp simd
        for (int64_t c = first; c < last; ++c) {
          const float value = x[r * columns + c];
          y[c] = value > top[c] ? static_cast<std::int32_t>(r) : y[c];
          top[c] = value > top[c] ? value : top[c];
        }
      }
    }
    return out.get();
  };
}

Step argmax_columns(Inputs& in, int64_t) {
  const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
  auto out = std::make_shared<Array>("<i4", std::vector<int64_t>{rows});
  return [&in, out, rows, columns] {
    const float* const x = in[0].as<float>();
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
      out->as<std::int32_t>()[r] = static_cast<std::int32_t>(argmax_of(x + r * columns, columns));
    }
    return out.get();
  };
}

/// The sums of blocks are computed first. Each block then starts from the sum of the blocks before
/// it.
Step cumulative_sum(Inputs& in, int64_t) {
  auto out = std::make_shared<Array>(like(in[0]));
  return [&in, out] {
    constexpr int64_t block = 1 << 14;
    const float* const x = in[0].as<float>();
    float* const y = out->as<float>();
    const int64_t n = in[0].size(), blocks = (n + block - 1) / block;
    std::vector<double> before(static_cast<std::size_t>(blocks) + 1);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; ++b) {
      double total = 0;
      const int64_t end = std::min(n, (b + 1) * block);
#pragma omp simd reduction(+ : total)
      for (int64_t i = b * block; i < end; ++i) total += x[i];
      before[static_cast<std::size_t>(b) + 1] = total;
    }
    for (std::size_t b = 1; b < before.size(); ++b) before[b] += before[b - 1];
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; ++b) {
      double total = before[static_cast<std::size_t>(b)];
      const int64_t end = std::min(n, (b + 1) * block);
      for (int64_t i = b * block; i < end; ++i) y[i] = static_cast<float>(total += x[i]);
    }
    return out.get();
  };
}

}  // namespace

void add_reductions(Workloads& all) {
  all["sum"] = sum;
  all["sum axis 0 of 4000x4000"] = sum_rows;
  all["sum axis 1 of 4000x4000"] = sum_columns;
  all["argmax"] = argmax;
  all["argmax axis 0 of 4000x4000"] = argmax_rows;
  all["argmax axis 1 of 4000x4000"] = argmax_columns;
  all["cumulative sum"] = cumulative_sum;
}

}  // namespace outrigger::bench
