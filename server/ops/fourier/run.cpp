#include "ops/fourier/run.hpp"

#include <algorithm>
#include <array>
#include <complex>
#include <memory>
#include <new>
#include <string>

#include "ops/cast/conversion.hpp"
#include "ops/fourier/plan.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops::fourier {
namespace {

/// Up to this length f32 is computed in f64, as in Nx. Beyond it, the rounding errors grow with the
/// logarithm of the length.
constexpr std::int64_t wide_points_max = 4096;
/// From this length on, two real numbers are transformed as one complex number.
constexpr std::int64_t halves_points_min = 128;
/// From this length on, a sequence may be transformed as a matrix.
constexpr std::int64_t split_points_min = 512;
/// Up to this length, `lanes` sequences side by side stay in the L2 cache.
constexpr std::int64_t lane_points_max = 4096;
/// From this length on, all threads work on one sequence.
constexpr std::int64_t team_points_min = std::int64_t{1} << 15;
/// From this size on, results bypass the caches, because they would only displace the other
/// contents.
constexpr std::int64_t streamed_bytes_min = std::int64_t{2} << 20;
/// The smallest number of points of a task.
constexpr std::int64_t task_numbers = std::int64_t{1} << 12;

bool is_inverse(Direction kind) {
  return kind == Direction::inverse || kind == Direction::real_inverse;
}
bool is_real(Direction kind) {
  return kind == Direction::real_forward || kind == Direction::real_inverse;
}

template <typename R>
Shape shape_of(const Along& along, std::int64_t sequences) {
  Shape shape;
  const std::int64_t n = along.length;
  shape.halves = is_real(along.kind) && n % 2 == 0 && n >= halves_points_min;
  shape.points = shape.halves ? n / 2 : n;
  const std::int64_t side = is_smooth(shape.points)          ? shape.points
                            : shape.points > lane_points_max ? shape.points
                                                             : convolution_length(shape.points);
  shape.split =
      shape.points >= split_points_min && (side > lane_points_max || sequences < lanes<R>);
  return shape;
}

/// The memory for the numbers in progress, in packs: for each sequence in progress, and for each
/// thread.
struct Space {
  std::int64_t tasks = 0;
  std::int64_t grain = 1;
  bool team = false;
  std::int64_t each_sequence = 0;
  std::int64_t each_thread = 0;

  template <typename R>
  Space(const Shape& shape, std::int64_t sequences, int threads, type_tag<R>) {
    const std::int64_t n = shape.points;
    if (shape.split) {
      const std::int64_t m = is_smooth(n) ? n : convolution_length(n);
      each_sequence = SplitPlan<R>::middle_packs(m);
      each_thread = SplitPlan<R>::desk_packs(m);
      team = m >= team_points_min || sequences < threads;
      tasks = sequences;
    } else {
      // A transform by halves has one more point.
      each_thread = n + 1 + LanePlan<R>::scratch_packs(n) + 1;
      grain = lanes<R> * std::max<std::int64_t>(1, task_numbers / (n * lanes<R>));
      tasks = (sequences + grain - 1) / grain;
    }
  }

  std::int64_t packs(int threads) const {
    return team ? each_sequence + threads * each_thread
                : at_work(threads) * (each_sequence + each_thread);
  }

  /// The number of sequences, or groups of `lanes` sequences, that are in progress at the same
  /// time.
  std::int64_t at_work(int threads) const { return team || tasks == 1 ? 1 : threads; }
};

/// Real operands are converted to the dtype of a result's parts.
Conversion conversion_of(DType in, DType out) { return {in, is_complex(in) ? in : to_real(out)}; }

/// The number of converted real numbers of one thread, or of one team.
template <typename R>
std::int64_t converted_numbers(const Shape& shape, const Along& along) {
  return along.length * (shape.split ? 1 : std::int64_t{lanes<R>});
}

/// T is the type of the tensors' parts, and R the type in which the transform is computed.
template <typename T, typename R>
class Transform {
 public:
  Transform(const Context& context, const Along& along, const Tensor& in, const Tensor& out)
      : context_(context),
        along_(along),
        from_(axes_but(in, along.axis)),
        to_(axes_but(out, along.axis)),
        shape_(shape_of<R>(along, to_.count)),
        space_(shape_, to_.count, context.threads, type_tag<R>{}),
        in_(in),
        out_(out),
        real_(!is_complex(in.dtype())),
        conversion_(conversion_of(in.dtype(), out.dtype())),
        source_(line_of(in, real_)),
        target_(line_of(out, along.kind == Direction::real_inverse)) {
    const std::int64_t n = along.length;
    const bool half = along.kind == Direction::real_inverse;
    source_.reals = std::min(in.shape()[along.axis], half ? n / 2 + 1 : n);
    target_.reals = out.shape()[along.axis];
    source_.imaginaries = real_ ? 0 : source_.reals;
    read_ = source_.reals;
    if (!conversion_.none()) source_.stride = 1;
    target_.imaginaries = half ? 0 : target_.reals;
    if (shape_.halves) {
      make_pairs(along.kind == Direction::real_forward ? source_ : target_);
    } else if (half) {
      source_.mirror = n;
    }
    source_.swap = is_inverse(along.kind) && !shape_.halves;
    target_.streamed = along.length * std::int64_t{sizeof(std::complex<T>)} >= streamed_bytes_min;
    target_.swap = is_inverse(along.kind);
    target_.scale = is_inverse(along.kind) ? static_cast<R>(1 / static_cast<double>(n)) : R{1};
    target_.eps = static_cast<R>(along.eps);
  }

  Result<void> run() {
    try {
      // The planner has counted the plan's bytes against the budget, but the system may have less
      // memory.
      plan_ = plan_of<R>(context_.memory.kept(), shape_, context_.interrupt);
    } catch (const Interrupted&) {
      return tl::make_unexpected(context_.interrupt.error());
    } catch (const std::bad_alloc&) {
      return fail(ErrorCode::out_of_memory, "no memory for the roots of a transform of " +
                                                std::to_string(along_.length) + " points");
    }
    OUTRIGGER_TRY(const BufferPtr buffer,
                  context_.memory.allocate(
                      static_cast<std::size_t>(space_.packs(context_.threads)) * sizeof(Pack<R>)));
    const std::int64_t room = conversion_.none() ? 0 : converted_numbers<R>(shape_, along_);
    OUTRIGGER_TRY(
        const BufferPtr converted,
        context_.memory.allocate(static_cast<std::size_t>(space_.at_work(context_.threads) * room) *
                                 sizeof(T)));
    auto* const rooms = reinterpret_cast<T*>(converted->data());
    auto* packs = reinterpret_cast<Pack<R>*>(buffer->data());
    const std::int64_t work = to_.count * along_.length * 8;
    if (!shape_.split) {
      return parallel_ranges(context_, to_.count, space_.grain, work,
                             [&](int thread, std::int64_t begin, std::int64_t end) {
                               Pack<R>* mine = packs + thread * space_.each_thread;
                               for (std::int64_t first = begin; first < end; first += lanes<R>)
                                 side_by_side(first, std::min<std::int64_t>(lanes<R>, end - first),
                                              rooms + thread * room, mine);
                             });
    }
    if (space_.team) {
      // The first tasks write to all of these pages.
      OUTRIGGER_CHECK(
          touch_pages(context_, packs, space_.each_sequence * std::int64_t{sizeof(Pack<R>)}));
      if (out_.storage->buffer != in_.storage->buffer)
        OUTRIGGER_CHECK(touch_pages(context_, out_.data(), byte_count(out_.type)));
      Pack<R>* desks = packs + space_.each_sequence;
      const auto team = [&](std::int64_t count, auto&& f) {
        return parallel_ranges(context_, count, 1, work,
                               [&](int thread, std::int64_t i, std::int64_t) {
                                 f(desks + thread * space_.each_thread, i);
                               });
      };
      for (std::int64_t sequence = 0; sequence < to_.count; ++sequence)
        OUTRIGGER_CHECK(one(sequence, rooms, packs, team));
      return {};
    }
    return parallel_ranges(
        context_, to_.count, 1, work, [&](int thread, std::int64_t sequence, std::int64_t) {
          Pack<R>* middle = packs + thread * (space_.each_sequence + space_.each_thread);
          const auto alone = [&](std::int64_t count, auto&& f) -> Result<void> {
            for (std::int64_t i = 0; i < count; ++i) f(middle + space_.each_sequence, i);
            return {};
          };
          (void)one(sequence, rooms + thread * room, middle, alone);
        });
  }

 private:
  using Numbers = Line<T, R>;

  Numbers line_of(const Tensor& tensor, bool real) const {
    const std::int64_t step = tensor.strides[along_.axis];
    return Numbers{.data = tensor.as<T>(), .stride = real ? step : 2 * step, .imaginary = 1};
  }
  /// Changes a line of real numbers into a line of pairs.
  static void make_pairs(Numbers& line) {
    line.imaginary = line.stride;
    line.stride *= 2;
    line.imaginaries = line.reals / 2;
    line.reals = (line.reals + 1) / 2;
  }
  /// The line of a sequence. Elements of another type than T are converted to `room`.
  template <typename Each>
  Result<Numbers> source(std::int64_t sequence, T* room, const Each& each) const {
    Numbers line = source_;
    const std::int64_t at = from_.offset(sequence);
    if (conversion_.none()) {
      line.data += at * (real_ ? 1 : 2);
      return line;
    }
    line.data = room;
    const auto width = static_cast<std::int64_t>(conversion_.from_width());
    const std::int64_t step = in_.strides[along_.axis];
    constexpr std::int64_t chunk = 1 << 14;
    OUTRIGGER_CHECK(each((read_ + chunk - 1) / chunk, [&](Pack<R>*, std::int64_t i) {
      conversion_.gather(in_.data() + (at + i * chunk * step) * width, step, room + i * chunk,
                         std::min(chunk, read_ - i * chunk));
    }));
    return line;
  }
  Numbers target(std::int64_t sequence) const {
    Numbers line = target_;
    line.data += to_.offset(sequence) * (along_.kind == Direction::real_inverse ? 1 : 2);
    return line;
  }

  using Lines = std::array<Numbers, lanes<R>>;

  /// The distance between consecutive lines, in elements. It is 0 if the distances differ, or if
  /// the lines are not adjacent.
  static std::int64_t apart(const Lines& lines, std::int64_t count) {
    if (count < lanes<R>) return 0;
    const std::int64_t first = lines[1].data - lines[0].data;
    for (std::size_t l = 2; l < lines.size(); ++l) {
      if (lines[l].data - lines[l - 1].data != first) return 0;
    }
    const bool pairs = lines[0].imaginaries > 0 && lines[0].imaginary == 1;
    return first == 1 || (first == 2 && pairs) ? first : 0;
  }

  void load(const Lines& lines, std::int64_t count, std::int64_t points, Pack<R>* to) const {
    constexpr int n = lanes<R>;
    if (const std::int64_t distance = apart(lines, count); distance != 0) {
      for (std::int64_t k = 0; k < points; ++k) to[k] = lines[0].load_across(k, distance);
      return;
    }
    for (std::int64_t k = 0; k < points; k += n) {
      Vector<R> re[n], im[n];
      for (std::int64_t l = 0; l < n; ++l) {
        const Pack<R> x = l < count ? lines[static_cast<std::size_t>(l)].load(k) : Pack<R>{};
        re[l] = x.re;
        im[l] = x.im;
      }
      transpose_square(re);
      transpose_square(im);
      const std::int64_t given = std::min<std::int64_t>(n, points - k);
      for (std::int64_t c = 0; c < given; ++c) to[k + c] = Pack<R>{re[c], im[c]};
    }
  }

  void store(const Lines& lines, std::int64_t count, std::int64_t points,
             const Pack<R>* from) const {
    constexpr int n = lanes<R>;
    if (const std::int64_t distance = apart(lines, count); distance != 0) {
      for (std::int64_t k = 0; k < points; ++k)
        lines[0].store_across(k, distance, lines[0].finished(from[k]));
      return;
    }
    for (std::int64_t k = 0; k < points; k += n) {
      const std::int64_t given = std::min<std::int64_t>(n, points - k);
      Vector<R> re[n], im[n];
      for (std::int64_t c = 0; c < n; ++c) {
        const Pack<R> x = c < given ? lines[0].finished(from[k + c]) : Pack<R>{};
        re[c] = x.re;
        im[c] = x.im;
      }
      transpose_square(re);
      transpose_square(im);
      for (std::int64_t l = 0; l < count; ++l)
        lines[static_cast<std::size_t>(l)].store(k, Pack<R>{re[l], im[l]}, given);
    }
  }

  /// Transforms sequences first … first + count − 1, one in each lane.
  void side_by_side(std::int64_t first, std::int64_t count, T* room, Pack<R>* data) const {
    const std::int64_t n = shape_.points;
    Pack<R>* const scratch = data + n + 1;
    const auto alone = [&](std::int64_t pieces, auto&& f) -> Result<void> {
      for (std::int64_t i = 0; i < pieces; ++i) f(scratch, i);
      return {};
    };
    Lines from, to;
    for (std::int64_t l = 0; l < lanes<R>; ++l) {
      const auto lane = static_cast<std::size_t>(l);
      // Lanes beyond `count` repeat the address of the last sequence. Their results are not used.
      from[lane] = l < count ? *source(first + l, room + l * along_.length, alone) : from[lane - 1];
      to[lane] = target(first + std::min(l, count - 1));
    }
    const bool joined = shape_.halves && is_inverse(along_.kind);
    load(from, count, joined ? n + 1 : n, data);
    const Root<R>* roots = plan_->halves.data();
    if (joined) {
      data[0].im = data[n].im = Vector<R>{};
      for (std::int64_t k = 0; k <= n / 2; ++k) join_halves(data[k], data[n - k], roots[k]);
      for (std::int64_t k = 0; k < n; ++k) data[k] = data[k].swapped();
    }
    Pack<R>* y = plan_->lane->transform(data, scratch);
    std::int64_t points = along_.kind == Direction::real_forward ? along_.length / 2 + 1 : n;
    if (shape_.halves && !joined) {
      y[n] = y[0];
      for (std::int64_t k = 0; k <= n / 2; ++k) split_halves<R>(y[k], y[n - k], roots[k]);
      points = n + 1;
    }
    store(to, count, points, y);
  }

  /// Transforms one sequence as a matrix. each(count, f) calls f(desk, i) for all i < count.
  template <typename Each>
  Result<void> one(std::int64_t sequence, T* room, Pack<R>* middle, const Each& each) const {
    OUTRIGGER_TRY(Numbers from, source(sequence, room, each));
    const Numbers to = target(sequence);
    const bool joined = shape_.halves && is_inverse(along_.kind);
    if (joined) {
      OUTRIGGER_CHECK(join(from, to, each));
      from = to;
    }
    const auto load = [&](std::int64_t k) { return from.load(k); };
    if (shape_.halves && !joined) {
      OUTRIGGER_CHECK(matrix(
          load,
          [&](std::int64_t k, const Pack<R>& x, std::int64_t count) { to.store(k, x, count); },
          middle, each));
      return part(to, each);
    }
    return matrix(
        load,
        [&](std::int64_t k, const Pack<R>& x, std::int64_t count) {
          to.store(k, to.finished(x), count);
        },
        middle, each);
  }

  template <typename Source, typename Sink, typename Each>
  Result<void> matrix(const Source& source, const Sink& sink, Pack<R>* middle,
                      const Each& each) const {
    const SplitPlan<R>& split = *plan_->split;
    if (plan_->chirp.empty()) {
      OUTRIGGER_CHECK(each(split.column_groups(), [&](Pack<R>* desk, std::int64_t g) {
        split.columns(g, source, middle, desk);
      }));
      return each(split.row_groups(), [&](Pack<R>* desk, std::int64_t g) {
        split.rows(g, sink, middle, desk);
        end_stream();
      });
    }
    const std::int64_t n = shape_.points;
    const auto* chirp = reinterpret_cast<const R*>(plan_->chirp.data());
    const auto spread = [&](std::int64_t k) {
      return k < n ? source(k) * load_pairs<R>(chirp + 2 * k) : Pack<R>{};
    };
    const auto gather = [&](std::int64_t k, const Pack<R>& x, std::int64_t count) {
      if (k < n) sink(k, x.swapped() * load_pairs<R>(chirp + 2 * k), std::min(count, n - k));
    };
    OUTRIGGER_CHECK(each(split.column_groups(), [&](Pack<R>* desk, std::int64_t g) {
      split.columns(g, spread, middle, desk);
    }));
    OUTRIGGER_CHECK(each(split.row_groups(), [&](Pack<R>* desk, std::int64_t g) {
      split.convolve(g, plan_->spectrum.data(), middle, desk);
    }));
    return each(split.column_groups(), [&](Pack<R>* desk, std::int64_t g) {
      split.columns_back(g, gather, middle, desk);
      end_stream();
    });
  }

  /// Calls f(k, many) for the pairs k, points − k: `lanes` pairs if `many`, otherwise one.
  template <typename Each, typename F>
  Result<void> for_each_pair(const Each& each, F&& f) const {
    constexpr std::int64_t chunk = 4096;
    const std::int64_t n = shape_.points;
    const std::int64_t pairs = n / 2 + 1;
    return each((pairs + chunk - 1) / chunk, [&](Pack<R>*, std::int64_t i) {
      const std::int64_t end = std::min(pairs, (i + 1) * chunk);
      for (std::int64_t k = i * chunk; k < end;) {
        const bool many = k > 0 && k + lanes<R> <= end && 2 * (k + lanes<R>) <= n;
        f(k, many);
        k += many ? lanes<R> : 1;
      }
    });
  }

  /// Changes the transform of pairs into the transform of all numbers.
  template <typename Each>
  Result<void> part(const Numbers& line, const Each& each) const {
    const std::int64_t n = shape_.points;
    const Root<R>* roots = plan_->halves.data();
    return for_each_pair(each, [&](std::int64_t k, bool many) {
      if (many) {
        const std::int64_t mirrored = n - k - lanes<R> + 1;
        Pack<R> low = line.load(k);
        Pack<R> high = reversed<R>(line.load(mirrored));
        split_halves<R>(low, high, load_pairs<R>(&roots[k].re));
        line.store(k, line.finished(low), lanes<R>);
        line.store(mirrored, reversed<R>(line.finished(high)), lanes<R>);
      } else {
        Number<R> low = line.at(k);
        Number<R> high = k == 0 ? low : line.at(n - k);
        split_halves<R>(low, high, roots[k]);
        line.put(n - k, line.finished(high));
        line.put(k, line.finished(low));
      }
    });
  }

  /// The first step of the inverse transform of pairs.
  template <typename Each>
  Result<void> join(const Numbers& from, const Numbers& to, const Each& each) const {
    const std::int64_t n = shape_.points;
    const Root<R>* roots = plan_->halves.data();
    return for_each_pair(each, [&](std::int64_t k, bool many) {
      if (many) {
        const std::int64_t mirrored = n - k - lanes<R> + 1;
        Pack<R> low = from.load(k);
        Pack<R> high = reversed<R>(from.load(mirrored));
        join_halves(low, high, load_pairs<R>(&roots[k].re));
        to.store(k, low, lanes<R>);
        to.store(mirrored, reversed<R>(high), lanes<R>);
      } else {
        Number<R> low = from.at(k);
        Number<R> high = from.at(n - k);
        if (k == 0) low.im = high.im = 0;
        join_halves(low, high, roots[k]);
        if (k > 0) to.put(n - k, high);
        to.put(k, low);
      }
    });
  }

  const Context& context_;
  const Along& along_;
  WalkedAxes from_, to_;  ///< the axes other than the transformed one
  Shape shape_;
  Space space_;
  const Tensor& in_;
  const Tensor& out_;
  bool real_;
  Conversion conversion_;
  Numbers source_, target_;
  std::int64_t read_ = 0;  ///< the numbers of an operand's sequence that are read
  std::shared_ptr<const Plan<R>> plan_;
};

/// Calls f(tag of T, tag of R); see Transform.
template <typename F>
decltype(auto) with_types(const Along& along, DType dtype, F&& f) {
  if (to_real(dtype) == DType::f64) return f(type_tag<double>{}, type_tag<double>{});
  if (along.length <= wide_points_max) return f(type_tag<float>{}, type_tag<double>{});
  return f(type_tag<float>{}, type_tag<float>{});
}

}  // namespace

Result<void> transform_axis(const Context& context, const Along& along, const Tensor& in,
                            const Tensor& out) {
  if (out.size() == 0) return {};
  return with_types(along, out.dtype(), [&](auto element, auto compute) {
    using T = typename decltype(element)::type;
    using R = typename decltype(compute)::type;
    return Transform<T, R>(context, along, in, out).run();
  });
}

std::uint64_t axis_scratch(const Along& along, DType in, const TensorType& out, int threads) {
  const std::int64_t points = out.shape[along.axis];
  const std::int64_t sequences = points == 0 ? 0 : element_count(out.shape) / points;
  if (sequences == 0) return 0;
  return with_types(along, out.dtype, [&](auto element, auto compute) {
    using T = typename decltype(element)::type;
    using R = typename decltype(compute)::type;
    const Shape shape = shape_of<R>(along, sequences);
    const Space space(shape, sequences, threads, compute);
    const std::int64_t converted =
        conversion_of(in, out.dtype).none()
            ? 0
            : space.at_work(threads) * converted_numbers<R>(shape, along);
    return Plan<R>::bytes(shape) +
           buffer_bytes(space.packs(threads) * std::int64_t{sizeof(Pack<R>)}) +
           buffer_bytes(converted * std::int64_t{sizeof(T)});
  });
}

}  // namespace outrigger::ops::fourier
