#pragma once

#include <cstddef>
#include <cstdint>

namespace outrigger::ops {

/// Elements of several results that lie beside each other: rows of `width` elements, one for each
/// result. Row r goes to group r % groups: groups are put together only at the end, so that narrow
/// rows are worked on side by side.
struct Lanes {
  std::int64_t width = 1;
  std::int64_t groups = 1;

  std::int64_t count() const { return width * groups; }
};

/// The most lanes that there are.
inline constexpr std::int64_t lanes_max = 4096;
/// Lanes that a single result is reduced on. Fewer elements than that go one after the other.
inline constexpr std::int64_t run_lanes = 32;

/// One reduction over one type: what it does with tiles of elements. What goes round them knows
/// sizes only, and is compiled once.
///
/// A block of rows comes in pieces and in order; where it is cut changes no bit of the result.
/// Blocks become accumulators, one for each result, which are combined in order.
class Reducer {
 public:
  Reducer(std::size_t element, std::size_t accumulator, std::size_t result)
      : element_bytes(element), accumulator_bytes(accumulator), result_bytes(result) {}
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;
  virtual ~Reducer() = default;

  const std::size_t element_bytes;
  const std::size_t accumulator_bytes;
  const std::size_t result_bytes;

  /// Bytes of the state of a block: for each lane.
  static constexpr std::size_t lane_bytes_max = 16;
  static constexpr std::size_t accumulator_bytes_max = 16;

  /// Begins a block.
  virtual void begin(const Lanes& lanes, std::byte* state) const = 0;
  /// The block's elements [at, at + n), counted through its rows.
  virtual void add(const Lanes& lanes, std::int64_t at, const std::byte* x, std::int64_t n,
                   std::byte* state) const = 0;
  /// Ends a block of `rows` rows, the first of which is row `first` of all: one accumulator for
  /// each of the lanes' results.
  virtual void end(const Lanes& lanes, std::int64_t first, std::int64_t rows, std::byte* state,
                   std::byte* accumulators) const = 0;
  /// Reduces `count` runs of n neighbours each, n < run_lanes, to as many accumulators.
  virtual void short_runs(const std::byte* x, std::int64_t count, std::int64_t n,
                          std::byte* accumulators) const = 0;
  /// n accumulators with those of a later block.
  virtual void combine(std::byte* into, const std::byte* with, std::int64_t n) const = 0;
  virtual void store(const std::byte* accumulators, std::int64_t n, std::byte* out) const = 0;
};

}  // namespace outrigger::ops
