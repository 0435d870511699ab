#pragma once

#include <cstddef>
#include <cstdint>

namespace outrigger::ops {

/// Adjacent elements of several results: rows of `width` elements, one for each result. Row r
/// belongs to group r % groups. Groups are combined only at the end, so that several narrow rows
/// are reduced side by side.
struct Lanes {
  std::int64_t width = 1;
  std::int64_t groups = 1;

  std::int64_t count() const { return width * groups; }
};

/// The largest number of lanes.
inline constexpr std::int64_t lanes_max = 4096;
/// The lanes for a single result. Fewer elements than this are reduced one after the other.
inline constexpr std::int64_t run_lanes = 32;

/// One reduction of one type: its operations on tiles of elements. The loops around a reducer know
/// sizes only, and are compiled once.
///
/// A block of rows comes in pieces and in order; the cuts between the pieces do not change the bits
/// of the result. A block gives one accumulator for each result, and the accumulators of blocks are
/// combined in order.
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

  /// The largest number of bytes of a block's state for each lane.
  static constexpr std::size_t lane_bytes_max = 16;
  static constexpr std::size_t accumulator_bytes_max = 16;

  /// Begins a block.
  virtual void begin(const Lanes& lanes, std::byte* state) const = 0;
  /// Adds the block's elements [at, at + n), counted through its rows.
  virtual void add(const Lanes& lanes, std::int64_t at, const std::byte* x, std::int64_t n,
                   std::byte* state) const = 0;
  /// Ends a block of `rows` rows, of which the first is row `first` of all rows. Gives one
  /// accumulator for each of the lanes' results.
  virtual void end(const Lanes& lanes, std::int64_t first, std::int64_t rows, std::byte* state,
                   std::byte* accumulators) const = 0;
  /// Reduces `count` runs of n adjacent elements each, n < run_lanes, to `count` accumulators.
  virtual void short_runs(const std::byte* x, std::int64_t count, std::int64_t n,
                          std::byte* accumulators) const = 0;
  /// Combines n accumulators with those of a later block.
  virtual void combine(std::byte* into, const std::byte* with, std::int64_t n) const = 0;
  virtual void store(const std::byte* accumulators, std::int64_t n, std::byte* out) const = 0;
};

}  // namespace outrigger::ops
