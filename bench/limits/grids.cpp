// Steps over a grid from one array into another, and the sieve.

#include <cmath>
#include <cstring>
#include <memory>

#include "workloads.hpp"

namespace outrigger::bench {
namespace {

using std::int64_t;

/// For inside elements, next[r][c] = body(middle of the row above, of the row, of the row below,
/// c).
template <typename T, typename Body>
void sweep(const T* now, T* next, int64_t rows, int64_t columns, Body body) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 1; r < rows - 1; ++r) {
    const T* const row = now + r * columns;
#pragma omp simd
    for (int64_t c = 1; c < columns - 1; ++c) {
      next[r * columns + c] = body(row + c - columns, row + c, row + c + columns);
    }
  }
}

Step stencil(Inputs& in, int64_t steps) {
  auto other = std::make_shared<Array>(like(in[0]));
  std::memcpy(other->as<float>(), in[0].as<float>(), in[0].bytes());
  return [&in, other, steps] {
    const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
    for (int64_t i = 0; i < steps; ++i) {
      sweep(in[0].as<float>(), other->as<float>(), rows, columns,
            [](const float* above, const float* at, const float* below) {
              return at[0] + 0.1F * (above[0] + below[0] + at[-1] + at[1] - 4 * at[0]);
            });
      std::swap(in[0], *other);
    }
    return &in[0];
  };
}

Step life(Inputs& in, int64_t steps) {
  auto now = std::make_shared<Array>(like(in[0]));
  auto next = std::make_shared<Array>(like(in[0]));
  using Cell = std::uint8_t;
  return [&in, now, next, steps] {
    const int64_t rows = in[0].shape()[0], columns = in[0].shape()[1];
    std::memcpy(now->as<Cell>(), in[0].as<Cell>(), in[0].bytes());
    std::memcpy(next->as<Cell>(), in[0].as<Cell>(), in[0].bytes());
    for (int64_t i = 0; i < steps; ++i) {
      sweep(now->as<Cell>(), next->as<Cell>(), rows, columns,
            [](const Cell* above, const Cell* at, const Cell* below) {
              const auto count = static_cast<Cell>(above[-1] + above[0] + above[1] + at[-1] +
                                                   at[1] + below[-1] + below[0] + below[1]);
              return static_cast<Cell>((count | at[0]) == 3);
            });
      std::swap(*now, *next);
    }
    return now.get();
  };
}

Step sieve(Inputs&, int64_t steps) {
  auto flags = std::make_shared<Array>("|u1", std::vector<int64_t>{steps});
  auto out = std::make_shared<Array>(scalar("<u4"));
  return [flags, out, steps] {
    std::uint8_t* const f = flags->as<std::uint8_t>();
    std::memset(f, 1, static_cast<std::size_t>(steps));
    f[0] = f[1] = 0;
    for (int64_t p = 2; p * p < steps; ++p) {
      if (f[p] == 0) continue;
      for (int64_t i = p * p; i < steps; i += p) f[i] = 0;
    }
    std::uint32_t total = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : total)
    for (int64_t i = 0; i < steps; ++i) total += f[i];
    *out->as<std::uint32_t>() = total;
    return out.get();
  };
}

}  // namespace

void add_grids(Workloads& all) {
  all["stencil 4096x4096"] = stencil;
  all["life 4096x4096"] = life;
  all["sieve of 10^7"] = sieve;
}

}  // namespace outrigger::bench
