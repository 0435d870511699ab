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

namespace outrigger::ops::fourier {

/// Numbers that are not zero before they are written: to clear the memory of a long plan would take
/// too long without a look at the interrupt.
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

/// What ends the making of a plan that was interrupted.
struct Interrupted {};

/// Looks at the interrupt while a plan is made.
class Making {
 public:
  explicit Making(const Interrupt& interrupt) : look_(interrupt) {}
  /// So many element steps were done. Throws Interrupted.
  void step(std::int64_t steps) {
    if (!look_.go_on(steps)) throw Interrupted{};
  }

 private:
  Look look_;
};

/// The transform of a length up to some thousand, done for `lanes` sequences side by side: no lane
/// ever meets another, so nothing is shuffled. Stockham's autosort algorithm with radices up to 16
/// for lengths whose prime factors are at most 13; Bluestein's (Rabiner, Schafer and Rader, 1969),
/// a convolution of a smooth length, for others. Immutable.
template <typename R>
class LanePlan {
 public:
  LanePlan(std::int64_t n, Making& making);

  std::int64_t length() const { return n_; }
  /// Packs of scratch that transform() takes.
  static std::int64_t scratch_packs(std::int64_t n);
  /// Bytes that making and keeping a plan takes, at most.
  static std::uint64_t bytes(std::int64_t n);

  std::uint64_t kept_bytes() const;

  /// Transforms data[n], forward. The result is where the return value points: data or scratch; the
  /// other one is then overwritten.
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
/// steps, 1990): its columns, `lanes` at a time, are transformed, turned by roots and written
/// transposed to `middle`; its rows, `lanes` at a time, are transformed there, and their points go
/// to the columns of the result. Every number is read and written twice. Immutable.
template <typename R>
class SplitPlan {
 public:
  SplitPlan(std::int64_t n, Making& making);

  std::int64_t length() const { return n_; }
  /// Packs of `middle`, and of what each thread needs beside it.
  static std::int64_t middle_packs(std::int64_t n) {
    const std::int64_t height = matrix_rows(n);
    return (height + lanes<R> - 1) / lanes<R> * (n / height);
  }
  static std::int64_t desk_packs(std::int64_t n) { return (abreast + 1) * (n / matrix_rows(n)); }
  /// Tasks of each half: groups of `abreast` tiles, each as wide as a pack.
  std::int64_t column_groups() const { return (column_tiles() + abreast - 1) / abreast; }
  std::int64_t row_groups() const { return (row_tiles() + abreast - 1) / abreast; }
  static std::uint64_t bytes(std::int64_t n);
  std::uint64_t kept_bytes() const {
    return columns_.kept_bytes() + rows_.kept_bytes() + turns_.size() * sizeof(Pack<R>);
  }

  /// The first half, for group g of columns. source(k): numbers k … k + lanes − 1 of the sequence.
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

  /// The second half, for group g of rows. sink(k, numbers, count): numbers k … k + count − 1 of
  /// the result.
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

  /// Instead of rows() in a convolution: the products with `spectrum`, which lies as `middle`, and
  /// the first half of the way back.
  void convolve(std::int64_t g, const Pack<R>* spectrum, Pack<R>* middle, Pack<R>* desk) const;

  /// The second half of the way back, for group g of columns. What sink gets has its parts
  /// exchanged.
  template <typename Sink>
  void columns_back(std::int64_t g, Sink&& sink, const Pack<R>* middle, Pack<R>* desk) const {
    const std::int64_t first = g * abreast;
    const std::int64_t tiles = std::min(abreast, column_tiles() - first);
    const Pack<R>* y[abreast];
    for (std::int64_t t = 0; t < tiles; ++t) {
      // The scratch of tile t is where tile t + 1 comes to lie: results must not stay there.
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

  /// Where the numbers of a result in natural order belong in `middle` after the rows' transforms:
  /// f(pack, lane, number). Lanes beyond the edge are not used; what they get may be beyond the
  /// last.
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
  /// Tiles that are done together, so that what is read and written in one place is 256 bytes.
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
  /// Root (b + l) × k of n, with k = g × lanes + r, is a product: of g's and r's packs for the
  /// column tile at b.
  Table<Pack<R>> turns_;
};

/// How the sequences of a tensor are transformed. It depends on their length and number only, so
/// that bits do not depend on threads or layout.
struct Shape {
  std::int64_t points = 1;
  /// Side by side in lanes, or one by one as a matrix.
  bool split = false;
  /// Points of real numbers are pairs of them.
  bool halves = false;
  bool operator<(const Shape& b) const {
    return std::tie(points, split, halves) < std::tie(b.points, b.split, b.halves);
  }
};

/// All that is made ready for a shape. Immutable; threads share it.
template <typename R>
struct Plan {
  Plan(const Shape& shape, Making& making);
  /// Bytes that making and keeping a plan takes, at most.
  static std::uint64_t bytes(const Shape& shape);
  std::uint64_t kept_bytes() const;

  std::unique_ptr<LanePlan<R>> lane;
  std::unique_ptr<SplitPlan<R>> split;
  /// Bluestein's algorithm around `split`: the chirp, with zeros behind it for a whole pack, and
  /// the other factor's transform.
  Table<Root<R>> chirp;
  Table<Pack<R>> spectrum;
  /// Roots of twice the points, up to half of the points.
  Table<Root<R>> halves;
};

/// The plan for a shape, from the plans that were used last, of which plans_bytes_max for each R
/// are kept at most. Thread-safe. Throws std::bad_alloc and Interrupted.
template <typename R>
std::shared_ptr<const Plan<R>> plan_of(const Shape& shape, const Interrupt& interrupt);

inline constexpr std::uint64_t plans_bytes_max = std::uint64_t{64} << 20;

}  // namespace outrigger::ops::fourier
