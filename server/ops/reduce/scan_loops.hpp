#pragma once

#include <algorithm>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ops/elementwise/kernels.hpp"
#include "ops/reduce/reducers.hpp"

/// The operations of the cumulative ops on a run of elements.
namespace outrigger::ops::scanning {

template <typename T>
using Wide = std::conditional_t<
    std::is_same_v<T, float>, double,
    std::conditional_t<std::is_same_v<T, std::complex<float>>, std::complex<double>, T>>;

/// Sum and Product in which integers keep their dtype.
template <typename T>
using RunningSum = SumIn<T, Wide<T>>;
template <typename T>
using RunningProduct = ProductIn<T, Wide<T>>;

/// The runs that are scanned side by side, because each step of a run waits for the step before it.
constexpr std::size_t streams = 8;

/// The memory of a run, and its start: the total of the elements before it.
struct Run {
  const std::byte* in;
  std::byte* out;
  const std::byte* start;
};

/// The memory of any accumulator.
struct alignas(16) State {
  std::array<std::byte, 16> bytes;
  std::byte* data() { return bytes.data(); }
  const std::byte* data() const { return bytes.data(); }
};

/// The loops of one scan on one type. The code around them knows sizes only, and is compiled once.
/// A start or total is an accumulator. Steps are in elements, and may be negative.
struct ScanLoops {
  std::int64_t element_bytes;
  std::int64_t accumulator_bytes;
  State identity;
  void (*total)(const std::byte* in, std::int64_t n, std::byte* total);
  /// Sets a to a ∘ b, and b to the old a.
  void (*advance)(std::byte* a, std::byte* b);
  void (*scan)(const Run& run, std::int64_t n, std::int64_t step);
  void (*scan_streams)(const std::array<Run, streams>& runs, std::int64_t n, std::int64_t step);
  /// Rows of adjacent columns: each column continues from its accumulator.
  void (*total_columns)(const std::byte* in, std::int64_t rows, std::int64_t step,
                        std::int64_t columns, std::byte* totals);
  void (*scan_columns)(const std::byte* in, std::byte* out, std::byte* totals, std::int64_t rows,
                       std::int64_t step, std::int64_t columns);
};

constexpr std::int64_t columns_max = 1024;

template <typename F, typename T>
struct Loops {
  using A = typename F::Accumulator;

  static const T* elements(const std::byte* at) { return reinterpret_cast<const T*>(at); }
  static T* elements(std::byte* at) { return reinterpret_cast<T*>(at); }
  static const A* accumulators(const std::byte* at) { return reinterpret_cast<const A*>(at); }
  static A* accumulators(std::byte* at) { return reinterpret_cast<A*>(at); }

  static void total(const std::byte* in, std::int64_t n, std::byte* total) {
    *accumulators(total) = reduce_run<F>(elements(in), n);
  }

  static void advance(std::byte* a, std::byte* b) {
    const A own = *accumulators(b);
    *accumulators(b) = *accumulators(a);
    *accumulators(a) = F::combine(*accumulators(a), own);
  }

  static void scan(const Run& run, std::int64_t n, std::int64_t step) {
    const T* in = elements(run.in);
    T* out = elements(run.out);
    A state = *accumulators(run.start);
    for (std::int64_t i = 0; i < n; ++i) {
      state = F::combine(state, F::lift(in[i * step]));
      out[i * step] = static_cast<T>(state);
    }
  }

  static void scan_streams(const std::array<Run, streams>& runs, std::int64_t n,
                           std::int64_t step) {
    std::array<const T*, streams> in;
    std::array<T*, streams> out;
    std::array<A, streams> state;
    for (std::size_t k = 0; k < streams; ++k) {
      in[k] = elements(runs[k].in);
      out[k] = elements(runs[k].out);
      state[k] = *accumulators(runs[k].start);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < streams; ++k) {
        state[k] = F::combine(state[k], F::lift(in[k][i * step]));
        out[k][i * step] = static_cast<T>(state[k]);
      }
    }
  }

  static void total_columns(const std::byte* in, std::int64_t rows, std::int64_t step,
                            std::int64_t columns, std::byte* totals) {
    std::array<A, columns_max> state;
    std::copy_n(accumulators(totals), columns, state.begin());
    const T* x = elements(in);
    for (std::int64_t row = 0; row < rows; ++row, x += step) {
      for (std::int64_t k = 0; k < columns; ++k) state[k] = F::combine(state[k], F::lift(x[k]));
    }
    std::copy_n(state.begin(), columns, accumulators(totals));
  }

  static void scan_columns(const std::byte* in, std::byte* out, std::byte* totals,
                           std::int64_t rows, std::int64_t step, std::int64_t columns) {
    std::array<A, columns_max> state;
    std::copy_n(accumulators(totals), columns, state.begin());
    const T* from = elements(in);
    T* to = elements(out);
    for (std::int64_t row = 0; row < rows; ++row, from += step, to += step) {
      OUTRIGGER_INDEPENDENT
      for (std::int64_t k = 0; k < columns; ++k) {
        state[k] = F::combine(state[k], F::lift(from[k]));
        to[k] = static_cast<T>(state[k]);
      }
    }
    std::copy_n(state.begin(), columns, accumulators(totals));
  }

  static ScanLoops loops() {
    ScanLoops loops{sizeof(T),    sizeof(A),     {},          total, advance, scan,
                    scan_streams, total_columns, scan_columns};
    const A identity = F::identity;
    std::memcpy(loops.identity.data(), &identity, sizeof(A));
    return loops;
  }
};

}  // namespace outrigger::ops::scanning
