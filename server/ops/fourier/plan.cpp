#include "ops/fourier/plan.hpp"

#include <map>

namespace outrigger::ops::fourier {
namespace {

template <typename R>
Root<R> rounded(std::complex<double> x) {
  return {static_cast<R>(x.real()), static_cast<R>(x.imag())};
}

/// e^(−πi k²/n) for k < n.
Table<std::complex<double>> chirp_of(std::int64_t n, Making& making) {
  const RootTable roots(2 * n);
  Table<std::complex<double>> chirp(static_cast<std::size_t>(n));
  std::int64_t square = 0;  // k² modulo 2n
  for (std::int64_t k = 0; k < n; ++k) {
    making.step(4);
    chirp[static_cast<std::size_t>(k)] = roots(square);
    square = (square + 2 * k + 1) % (2 * n);
  }
  return chirp;
}

/// Transforms a sequence in place. Only the making of a plan uses it.
void transform_once(Table<std::complex<double>>& x, Making& making) {
  const auto n = static_cast<std::int64_t>(x.size());
  const SplitPlan<double> plan(n, making);
  Table<Pack<double>> middle(static_cast<std::size_t>(SplitPlan<double>::middle_packs(n)));
  // The task of the first group of columns writes to all pages of `middle`.
  for (std::size_t k = 0; k < middle.size(); k += 4096 / sizeof(Pack<double>)) {
    making.step(1024);
    middle[k].re = Vector<double>{};
  }
  Table<Pack<double>> desk(static_cast<std::size_t>(SplitPlan<double>::desk_packs(n)));
  const Line<double, double> line{
      .data = reinterpret_cast<double*>(x.data()), .reals = n, .imaginaries = n};
  for (std::int64_t t = 0; t < plan.column_groups(); ++t) {
    making.step(4 * n / plan.column_groups());
    plan.columns(
        t, [&](std::int64_t k) { return line.load(k); }, middle.data(), desk.data());
  }
  for (std::int64_t t = 0; t < plan.row_groups(); ++t) {
    making.step(4 * n / plan.row_groups());
    plan.rows(
        t,
        [&](std::int64_t k, const Pack<double>& y, std::int64_t count) { line.store(k, y, count); },
        middle.data(), desk.data());
  }
}

/// The transform of the second factor in Bluestein's algorithm, divided by the number of points of
/// the convolution.
Table<std::complex<double>> spectrum_of(const Table<std::complex<double>>& chirp, std::int64_t m,
                                        Making& making) {
  Table<std::complex<double>> other(static_cast<std::size_t>(m));
  const std::size_t end = other.size();
  for (std::size_t k = 0; k < chirp.size(); ++k) {
    making.step(4);
    const std::complex<double> x = std::conj(chirp[k]) / static_cast<double>(m);
    other[k] = x;
    if (k > 0) other[end - k] = x;
  }
  for (std::size_t k = chirp.size(); k <= end - chirp.size(); ++k) {
    making.step(1);
    other[k] = {};
  }
  transform_once(other, making);
  return other;
}

/// The table, rounded to R, with `zeros` zeros behind it.
template <typename R>
Table<Root<R>> rounded(const Table<std::complex<double>>& from, std::int64_t zeros,
                       Making& making) {
  Table<Root<R>> to(from.size() + static_cast<std::size_t>(zeros));
  for (std::size_t k = 0; k < to.size(); ++k) {
    making.step(1);
    to[k] = k < from.size() ? rounded<R>(from[k]) : Root<R>{0, 0};
  }
  return to;
}

std::uint64_t complexes(std::int64_t count) {
  return static_cast<std::uint64_t>(count) * sizeof(std::complex<double>);
}

/// The bytes that transform_once and spectrum_of take.
std::uint64_t once_bytes(std::int64_t n, std::int64_t m) {
  return complexes(n) + 4 * complexes(m) + SplitPlan<double>::bytes(m);
}

}  // namespace

template <typename R>
LanePlan<R>::LanePlan(std::int64_t n, Making& making) : n_(n) {
  if (is_smooth(n)) {
    add_stages();
  } else {
    add_chirp(making);
  }
}

template <typename R>
void LanePlan<R>::add_stages() {
  std::int64_t length = n_;
  std::int64_t side = 1;
  for (const int radix : radices_of(n_)) {
    const std::int64_t positions = length / radix;
    stages_.push_back(Stage{stage_of<R>(radix, positions == 1), positions, side, roots_.size()});
    if (positions > 1) {
      for (std::int64_t p = 0; p < positions; ++p) {
        for (int k = 1; k < radix; ++k) roots_.push_back(rounded<R>(root_of_unity(p * k, length)));
      }
    }
    length = positions;
    side *= radix;
  }
}

template <typename R>
void LanePlan<R>::add_chirp(Making& making) {
  const std::int64_t m = convolution_length(n_);
  const auto chirp = chirp_of(n_, making);
  inner_ = std::make_unique<LanePlan>(m, making);
  chirp_ = rounded<R>(chirp, 0, making);
  spectrum_ = rounded<R>(spectrum_of(chirp, m, making), 0, making);
}

template <typename R>
std::int64_t LanePlan<R>::scratch_packs(std::int64_t n) {
  return is_smooth(n) ? n : 2 * convolution_length(n);
}

template <typename R>
std::uint64_t LanePlan<R>::bytes(std::int64_t n) {
  // All stages together have less than two roots for each point. A vector that grows takes three
  // times its size.
  if (is_smooth(n)) return 3 * complexes(2 * n);
  const std::int64_t m = convolution_length(n);
  return bytes(m) + complexes(2 * n + m) + once_bytes(n, m);
}

template <typename R>
std::uint64_t LanePlan<R>::kept_bytes() const {
  const std::uint64_t roots = roots_.size() + chirp_.size() + spectrum_.size();
  return roots * sizeof(Root<R>) + (inner_ == nullptr ? 0 : inner_->kept_bytes());
}

template <typename R>
Pack<R>* LanePlan<R>::transform(Pack<R>* data, Pack<R>* scratch) const {
  if (inner_ != nullptr) return bluestein(data, scratch);
  for (const Stage& stage : stages_) {
    stage.run(data, scratch, roots_.data() + stage.roots, stage.positions, stage.side);
    std::swap(data, scratch);
  }
  return data;
}

template <typename R>
Pack<R>* LanePlan<R>::bluestein(Pack<R>* data, Pack<R>* scratch) const {
  const std::int64_t m = inner_->length();
  for (std::int64_t k = 0; k < n_; ++k) scratch[k] = data[k] * chirp_[static_cast<std::size_t>(k)];
  std::fill(scratch + n_, scratch + m, Pack<R>{});
  Pack<R>* y = inner_->transform(scratch, scratch + m);
  for (std::int64_t k = 0; k < m; ++k)
    y[k] = (y[k] * spectrum_[static_cast<std::size_t>(k)]).swapped();
  const Pack<R>* z = inner_->transform(y, y == scratch ? scratch + m : scratch);
  for (std::int64_t k = 0; k < n_; ++k)
    data[k] = z[k].swapped() * chirp_[static_cast<std::size_t>(k)];
  return data;
}

template <typename R>
SplitPlan<R>::SplitPlan(std::int64_t n, Making& making)
    : n_(n),
      height_(matrix_rows(n)),
      width_(n / matrix_rows(n)),
      columns_(height_, making),
      rows_(width_, making),
      turns_(static_cast<std::size_t>(column_tiles() * (row_tiles() + lanes<R>))) {
  const RootTable roots(n);
  const auto pack = [&](std::int64_t b, std::int64_t k) {
    Pack<R> x{};
    for (int l = 0; l < lanes<R>; ++l) {
      // Lanes beyond the edge are not used.
      const Root<R> root = rounded<R>(roots(b + l < width_ && k < height_ ? (b + l) * k : 0));
      x.re[l] = root.re;
      x.im[l] = root.im;
    }
    return x;
  };
  Pack<R>* to = turns_.data();
  for (std::int64_t b = 0; b < width_; b += lanes<R>) {
    making.step((row_tiles() + lanes<R>)*lanes<R>);
    for (std::int64_t g = 0; g < row_tiles(); ++g) *to++ = pack(b, g * lanes<R>);
    for (std::int64_t r = 0; r < lanes<R>; ++r) *to++ = pack(b, r);
  }
}

template <typename R>
std::uint64_t SplitPlan<R>::bytes(std::int64_t n) {
  const std::int64_t height = matrix_rows(n);
  const std::int64_t width = n / height;
  const std::int64_t turns =
      (width / lanes<R> + 1) * (height / lanes<R> + 1 + lanes<R>)*std::int64_t{sizeof(Pack<R>)};
  return LanePlan<R>::bytes(height) + LanePlan<R>::bytes(width) +
         static_cast<std::uint64_t>(turns) + complexes(6 * width);
}

template <typename R>
void SplitPlan<R>::turn_to_middle(std::int64_t t, const Pack<R>* columns, Pack<R>* middle) const {
  constexpr int n = lanes<R>;
  const Pack<R>* const coarse = turns(t);
  const Pack<R>* const fine = coarse + row_tiles();
  const std::int64_t b = t * n;
  const std::int64_t count = std::min<std::int64_t>(n, width_ - b);
  for (std::int64_t g = 0; g < row_tiles(); ++g) {
    const std::int64_t given = std::min<std::int64_t>(n, height_ - g * n);
    Vector<R> re[n], im[n];
    for (int r = 0; r < n; ++r) {
      if (r < given) {
        const Pack<R> x = columns[g * n + r] * (coarse[g] * fine[r]);
        re[r] = x.re;
        im[r] = x.im;
      } else {
        re[r] = im[r] = Vector<R>{};
      }
    }
    transpose_square(re);
    transpose_square(im);
    Pack<R>* to = middle + g * width_ + b;
    for (std::int64_t c = 0; c < count; ++c) to[c] = Pack<R>{re[c], im[c]};
  }
}

template <typename R>
void SplitPlan<R>::turn_from_middle(std::int64_t t, const Pack<R>* middle, Pack<R>* columns) const {
  constexpr int n = lanes<R>;
  const Pack<R>* const coarse = turns(t);
  const Pack<R>* const fine = coarse + row_tiles();
  const std::int64_t b = t * n;
  const std::int64_t count = std::min<std::int64_t>(n, width_ - b);
  for (std::int64_t g = 0; g < row_tiles(); ++g) {
    const Pack<R>* from = middle + g * width_ + b;
    Vector<R> re[n], im[n];
    for (std::int64_t c = 0; c < n; ++c) {
      re[c] = c < count ? from[c].re : Vector<R>{};
      im[c] = c < count ? from[c].im : Vector<R>{};
    }
    transpose_square(re);
    transpose_square(im);
    const std::int64_t given = std::min<std::int64_t>(n, height_ - g * n);
    for (int r = 0; r < given; ++r)
      columns[g * n + r] = Pack<R>{re[r], im[r]} * (coarse[g] * fine[r]);
  }
}

template <typename R>
void SplitPlan<R>::convolve(std::int64_t g, const Pack<R>* spectrum, Pack<R>* middle,
                            Pack<R>* desk) const {
  const std::int64_t end = std::min((g + 1) * abreast, row_tiles());
  for (std::int64_t t = g * abreast; t < end; ++t) {
    Pack<R>* const data = middle + t * width_;
    Pack<R>* const y = rows_.transform(data, desk);
    const Pack<R>* const other = spectrum + t * width_;
    for (std::int64_t k = 0; k < width_; ++k) y[k] = (y[k] * other[k]).swapped();
    const Pack<R>* const z = rows_.transform(y, y == data ? desk : data);
    if (z != data) std::copy_n(z, width_, data);
  }
}

template <typename R>
Plan<R>::Plan(const Shape& shape, Making& making) {
  const std::int64_t n = shape.points;
  if (shape.halves) {
    const RootTable roots(2 * n);
    halves = Table<Root<R>>(static_cast<std::size_t>(n / 2 + 1));
    for (std::int64_t k = 0; k <= n / 2; ++k) {
      making.step(2);
      halves[static_cast<std::size_t>(k)] = rounded<R>(roots(k));
    }
  }
  if (!shape.split) {
    lane = std::make_unique<LanePlan<R>>(n, making);
    return;
  }
  if (is_smooth(n)) {
    split = std::make_unique<SplitPlan<R>>(n, making);
    return;
  }
  const std::int64_t m = convolution_length(n);
  split = std::make_unique<SplitPlan<R>>(m, making);
  const auto wide_chirp = chirp_of(n, making);
  const auto wide_spectrum = spectrum_of(wide_chirp, m, making);
  chirp = rounded<R>(wide_chirp, lanes<R>, making);
  spectrum = Table<Pack<R>>(static_cast<std::size_t>(SplitPlan<R>::middle_packs(m)));
  split->for_each_place([&](std::int64_t pack, int l, std::int64_t k) {
    making.step(2);
    const Root<R> x =
        k < m ? rounded<R>(wide_spectrum[static_cast<std::size_t>(k)]) : Root<R>{0, 0};
    spectrum[static_cast<std::size_t>(pack)].re[l] = x.re;
    spectrum[static_cast<std::size_t>(pack)].im[l] = x.im;
  });
}

template <typename R>
std::uint64_t Plan<R>::bytes(const Shape& shape) {
  const std::int64_t n = shape.points;
  const std::uint64_t roots = shape.halves ? 3 * complexes(n / 2 + 1) : 0;
  if (!shape.split) return roots + LanePlan<R>::bytes(n);
  if (is_smooth(n)) return roots + SplitPlan<R>::bytes(n);
  const std::int64_t m = convolution_length(n);
  // The last tile of rows may be padded.
  return roots + SplitPlan<R>::bytes(m) + once_bytes(n, m) + complexes(n) + 2 * complexes(m);
}

template <typename R>
std::uint64_t Plan<R>::kept_bytes() const {
  return (lane == nullptr ? 0 : lane->kept_bytes()) + (split == nullptr ? 0 : split->kept_bytes()) +
         (chirp.size() + halves.size()) * sizeof(Root<R>) + spectrum.size() * sizeof(Pack<R>);
}

namespace {

/// The kept plans, by shape.
template <typename R>
class Plans {
 public:
  std::shared_ptr<const Plan<R>> find(Kept& kept, const Shape& shape) {
    const auto found = entries_.find(shape);
    if (found == entries_.end()) return nullptr;
    kept.use(found->second);
    return found->second.plan;
  }

  void add(Kept& kept, const Shape& shape, std::shared_ptr<const Plan<R>> plan) {
    const std::uint64_t bytes = plan->kept_bytes() + sizeof(Entry);
    if (!kept.make_room(bytes)) return;
    Entry& entry = entries_.try_emplace(shape, *this, shape).first->second;
    entry.plan = std::move(plan);
    entry.charge = Kept::Charge(kept, bytes);
    kept.use(entry);
  }

 private:
  struct Entry final : Kept::Item {
    Entry(Plans& plans, const Shape& of) : owner(plans), shape(of) {}
    void evict() noexcept override { owner.entries_.erase(owner.entries_.find(shape)); }

    Plans& owner;
    const Shape shape;
    std::shared_ptr<const Plan<R>> plan;
    Kept::Charge charge;
  };
  std::map<Shape, Entry> entries_;
};

}  // namespace

template <typename R>
std::shared_ptr<const Plan<R>> plan_of(Kept& kept, const Shape& shape, const Interrupt& interrupt) {
  {
    const auto lock = kept.lock();
    if (auto plan = kept.shelf<Plans<R>>().find(kept, shape)) return plan;
  }
  // No lock is held here, because this takes long. If two threads make the same plan, the second
  // thread uses the plan of the first.
  Making making(interrupt);
  auto made = std::make_shared<const Plan<R>>(shape, making);
  const auto lock = kept.lock();
  Plans<R>& plans = kept.shelf<Plans<R>>();
  if (auto plan = plans.find(kept, shape)) return plan;
  plans.add(kept, shape, made);
  return made;
}

template class LanePlan<float>;
template class LanePlan<double>;
template class SplitPlan<float>;
template class SplitPlan<double>;
template struct Plan<float>;
template struct Plan<double>;
template std::shared_ptr<const Plan<float>> plan_of(Kept&, const Shape&, const Interrupt&);
template std::shared_ptr<const Plan<double>> plan_of(Kept&, const Shape&, const Interrupt&);

}  // namespace outrigger::ops::fourier
