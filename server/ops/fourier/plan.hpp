#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/fourier/line.hpp"
#include "ops/fourier/stage.hpp"
#include "ops/support/look.hpp"
#include "tensor/kept.hpp"

namespace outrigger::ops::fourier {

/// A vector of numbers that are not initialised. To clear the memory of a long plan would take too
/// long without a check of the interrupt.
template <typename T>
struct Unwritten : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = Unwritten<U>;
  };
  template <typename U>
  void construct(U*) noexcept {}
  template <typename U, typename... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
};
template <typename T>
using Table = std::vector<T, Unwritten<T>>;

/// The exception that ends the making of a plan after an interrupt.
struct Interrupted {};

/// Checks the interrupt while a plan is made.
class Making {
 public:
  explicit Making(const Interrupt& interrupt) : look_(interrupt) {}
  /// Counts element steps that were done. Throws Interrupted.
  void step(std::int64_t steps) {
    if (!look_.go_on(steps)) throw Interrupted{};
  }

 private:
  Look look_;
};

/// The transform of a length up to some thousand, for `lanes` sequences side by side. Each lane has
/// its own sequence, so that there are no shuffles. For lengths whose prime factors are at most 13
/// it is Stockham's autosort algorithm with radices up to 16. For other lengths it is Bluestein's
/// algorithm (Rabiner, Schafer and Rader, 1969), a convolution of a smooth length. Immutable.
template <typename R>
class LanePlan {
 public:
  LanePlan(std::int64_t n, Making& making);

  std::int64_t length() const { return n_; }
  /// The packs of scratch for transform().
  static std::int64_t scratch_packs(std::int64_t n);
  /// The largest number of bytes that the making and the keeping of a plan take.
  static std::uint64_t bytes(std::int64_t n);

  std::uint64_t kept_bytes() const;

  /// The forward transform of data[n]. Returns a pointer to the result, which is `data` or
  /// `scratch`; the other one is overwritten.
  Pack<R>* transform(Pack<R>* data, Pack<R>* scratch) const;

 private:
  struct Stage {
    StageFn<R> run;
    std::int64_t positions, side;
    std::size_t roots;
  };
  void add_stages();
  void add_chirp(Making& making);
  Pack<R>* bluestein(Pack<R>* data, Pack<R>* scratch) const;

  std::int64_t n_;
  std::vector<Stage> stages_;
  std::vector<Root<R>> roots_;
  std::unique_ptr<LanePlan> inner_;
  Table<Root<R>> chirp_, spectrum_;
};

/// The transform of one sequence of a smooth length, as a matrix [height][width] (Bailey's four
/// steps, 1990). The first half transforms the columns, `lanes` at a time, multiplies them by
/// roots, and writes them transposed to `middle`. The second half transforms the rows in `middle`,
/// `lanes` at a time, and writes their points to the columns of the result. Each number is read and
/// written twice. Immutable.
template <typename R>
class SplitPlan {
 public:
  SplitPlan(std::int64_t n, Making& making);

  std::int64_t length() const { return n_; }
  /// The packs of `middle`, and the packs of each thread's desk.
  static std::int64_t middle_packs(std::int64_t n) {
    const std::int64_t height = matrix_rows(n);
    return (height + lanes<R> - 1) / lanes<R> * (n / height);
  }
  static std::int64_t desk_packs(std::int64_t n) { return (abreast + 1) * (n / matrix_rows(n)); }
  /// The tasks of each half: groups of `abreast` tiles, each as wide as a pack.
  std::int64_t column_groups() const { return (column_tiles() + abreast - 1) / abreast; }
  std::int64_t row_groups() const { return (row_tiles() + abreast - 1) / abreast; }
  static std::uint64_t bytes(std::int64_t n);
  std::uint64_t kept_bytes() const {
    return columns_.kept_bytes() + rows_.kept_bytes() + turns_.size() * sizeof(Pack<R>);
  }

  /// The first half, for group g of columns. source(k) returns numbers k … k + lanes − 1 of the
  /// sequence.
  template <typename Source>
  void columns(std::int64_t g, Source&& source, Pack<R>* middle, Pack<R>* desk) const {
    const std::int64_t first = g * abreast;
    const std::int64_t tiles = std::min(abreast, column_tiles() - first);
    for (std::int64_t j = 0; j < height_; ++j) {
      for (std::int64_t t = 0; t < tiles; ++t)
        desk[t * height_ + j] = source(j * width_ + (first + t) * lanes<R>);
    }
    for (std::int64_t t = 0; t < tiles; ++t) {
      turn_to_middle(first + t, columns_.transform(desk + t * height_, desk + tiles * height_),
                     middle);
    }
  }

  /// The second half, for group g of rows. sink(k, numbers, count) receives numbers k … k + count −
  /// 1 of the result.
  template <typename Sink>
  void rows(std::int64_t g, Sink&& sink, Pack<R>* middle, Pack<R>* desk) const {
    const std::int64_t first = g * abreast;
    const std::int64_t tiles = std::min(abreast, row_tiles() - first);
    const Pack<R>* y[abreast];
    for (std::int64_t t = 0; t < tiles; ++t)
      y[t] = rows_.transform(middle + (first + t) * width_, desk + t * width_);
    for (std::int64_t k = 0; k < width_; ++k) {
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t row = (first + t) * lanes<R>;
        sink(k * height_ + row, y[t][k], std::min<std::int64_t>(lanes<R>, height_ - row));
      }
    }
  }

  /// Replaces rows() in a convolution: the products with `spectrum`, which has the layout of
  /// `middle`, and the first half of the inverse transform.
  void convolve(std::int64_t g, const Pack<R>* spectrum, Pack<R>* middle, Pack<R>* desk) const;

  /// The second half of the inverse transform, for group g of columns. The numbers that sink
  /// receives have their parts exchanged.
  template <typename Sink>
  void columns_back(std::int64_t g, Sink&& sink, const Pack<R>* middle, Pack<R>* desk) const {
    const std::int64_t first = g * abreast;
    const std::int64_t tiles = std::min(abreast, column_tiles() - first);
    const Pack<R>* y[abreast];
    for (std::int64_t t = 0; t < tiles; ++t) {
      // The scratch of tile t overlaps the columns of tile t + 1. Results must therefore be moved
      // out of it.
      Pack<R>* const columns = desk + t * height_;
      turn_from_middle(first + t, middle, columns);
      const Pack<R>* const done = columns_.transform(columns, columns + height_);
      if (done != columns && t + 1 < tiles) std::copy_n(done, height_, columns);
      y[t] = t + 1 < tiles ? columns : done;
    }
    for (std::int64_t j = 0; j < height_; ++j) {
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t b = (first + t) * lanes<R>;
        sink(j * width_ + b, y[t][j], std::min<std::int64_t>(lanes<R>, width_ - b));
      }
    }
  }

  /// Calls f(pack, lane, number) for each number of a result in natural order: its place in
  /// `middle` after the transforms of the rows. Lanes beyond the edge are not used; their `number`
  /// may be too large.
  template <typename F>
  void for_each_place(F&& f) const {
    for (std::int64_t t = 0; t < row_tiles(); ++t) {
      for (std::int64_t k = 0; k < width_; ++k) {
        const std::int64_t first = t * lanes<R>;
        for (std::int64_t l = 0; l < lanes<R>; ++l)
          f(t * width_ + k, static_cast<int>(l), k * height_ + first + l);
      }
    }
  }

 private:
  /// The tiles of one task, so that each read and each write covers 256 adjacent bytes.
  static constexpr std::int64_t abreast = 128 / vector_bytes;

  std::int64_t column_tiles() const { return (width_ + lanes<R> - 1) / lanes<R>; }
  std::int64_t row_tiles() const { return (height_ + lanes<R> - 1) / lanes<R>; }
  void turn_to_middle(std::int64_t t, const Pack<R>* columns, Pack<R>* middle) const;
  void turn_from_middle(std::int64_t t, const Pack<R>* middle, Pack<R>* columns) const;
  const Pack<R>* turns(std::int64_t t) const {
    return turns_.data() + t * (row_tiles() + lanes<R>);
  }

  std::int64_t n_, height_, width_;
  LanePlan<R> columns_, rows_;
  /// Root (b + l) × k of n, with k = g × lanes + r, is the product of two packs: those of g and r
  /// for the tile of columns at b.
  Table<Pack<R>> turns_;
};

/// The method for the sequences of a tensor. It depends only on their length and their number, so
/// that the bits do not depend on threads or layout.
struct Shape {
  std::int64_t points = 1;
  /// False: side by side in lanes. True: one by one, as matrices.
  bool split = false;
  /// True if each point is a pair of real numbers.
  bool halves = false;
  bool operator<(const Shape& b) const {
    return std::tie(points, split, halves) < std::tie(b.points, b.split, b.halves);
  }
};

/// The tables for a shape. Immutable; threads share it.
template <typename R>
struct Plan {
  Plan(const Shape& shape, Making& making);
  /// The largest number of bytes that the making and the keeping of a plan take.
  static std::uint64_t bytes(const Shape& shape);
  std::uint64_t kept_bytes() const;

  std::unique_ptr<LanePlan<R>> lane;
  std::unique_ptr<SplitPlan<R>> split;
  /// For Bluestein's algorithm around `split`: the chirp, padded with zeros to whole packs, and the
  /// transform of the other factor.
  Table<Root<R>> chirp;
  Table<Pack<R>> spectrum;
  /// The roots of twice the points, up to half of the points.
  Table<Root<R>> halves;
};

/// The plan for a shape. It is kept for later calls if there is space. Thread-safe. Throws
/// std::bad_alloc and Interrupted.
template <typename R>
std::shared_ptr<const Plan<R>> plan_of(Kept& kept, const Shape& shape, const Interrupt& interrupt);

}  // namespace outrigger::ops::fourier
