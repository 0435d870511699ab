#include "ops/fft.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <new>
#include <string>
#include <type_traits>
#include <variant>

#include "ops/catalogue.hpp"
#include "ops/kernels.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

/// Complex numbers that are transformed at a time, about: their planes stay in the L2 cache.
constexpr std::int64_t task_numbers = std::int64_t{1} << 13;
/// Transforms beside each other, at most.
constexpr std::int64_t batch_max = 16;

enum class Direction : std::uint8_t { forward, inverse, real_forward, real_inverse };

/// One transform along one axis of a tensor.
struct Along {
  Direction kind;
  std::size_t axis;
  /// Points of the transform: the operand's axis is cut or padded with zeros.
  std::int64_t length;
  double eps;
};

bool is_inverse(Direction kind) {
  return kind == Direction::inverse || kind == Direction::real_inverse;
}

/// Where the sequences of a tensor are: outer × inner of them, elements `step` apart.
struct Sequences {
  Dims others;
  Dims strides;
  std::int64_t step = 1;
  std::int64_t count = 1;

  Sequences(const Tensor& tensor, std::size_t axis) : step(tensor.strides[axis]) {
    for (std::size_t k = 0; k < tensor.shape().size(); ++k) {
      if (k == axis) continue;
      others.push_back(tensor.shape()[k]);
      strides.push_back(tensor.strides[k]);
      count *= tensor.shape()[k];
    }
  }

  std::int64_t offset(std::int64_t sequence) const {
    std::int64_t at = 0;
    for (std::size_t k = others.size(); k-- > 0; sequence /= others[k]) {
      at += sequence % others[k] * strides[k];
    }
    return at;
  }
};

/// Reads and writes the elements of a transform, whose points are held as f64.
template <typename T>
class Mover {
 public:
  Mover(const Along& along, const Tensor& in, const Tensor& out)
      : along_(along), in_(in), out_(out), from_(in, along.axis), to_(out, along.axis) {}

  std::int64_t sequences() const { return from_.count; }

  /// Points [begin, end) of sequences [first, first + batch).
  void load(std::int64_t first, std::int64_t batch, std::int64_t begin, std::int64_t end,
            Planes data) const {
    const std::int64_t n = along_.length;
    const std::int64_t dim = in_.shape()[along_.axis];
    const bool half = along_.kind == Direction::real_inverse;
    const std::int64_t given = std::min(dim, half ? n / 2 + 1 : n);
    const Offsets from = offsets(from_, first, batch);
    for_each(from_, batch, begin, std::min(end, given), [&](std::int64_t k, std::int64_t b) {
      set(data, k * batch + b, element(from[static_cast<std::size_t>(b)] + k * from_.step));
    });
    for_each(from_, batch, std::max(begin, given), end, [&](std::int64_t k, std::int64_t b) {
      // The other half of the spectrum of real numbers mirrors what is given.
      const bool mirrored = half && n - k < given && k > n / 2;
      const std::int64_t at = from[static_cast<std::size_t>(b)] + (n - k) * from_.step;
      set(data, k * batch + b, mirrored ? std::conj(element(at)) : std::complex<double>{});
    });
  }

  std::int64_t points_out() const { return out_.shape()[along_.axis]; }

  void store(std::int64_t first, std::int64_t batch, std::int64_t begin, std::int64_t end,
             Planes data) const {
    const double scale = is_inverse(along_.kind) ? 1 / static_cast<double>(along_.length) : 1;
    // The inverse is the conjugate of the forward transform of the conjugate.
    const double sign = is_inverse(along_.kind) ? -scale : scale;
    const Offsets to = offsets(to_, first, batch);
    T* y = out_.as<T>();
    for_each(to_, batch, begin, end, [&](std::int64_t k, std::int64_t b) {
      const std::int64_t at = to[static_cast<std::size_t>(b)] + k * to_.step;
      const std::int64_t i = k * batch + b;
      if (along_.kind == Direction::real_inverse) {
        y[at] = clean(data.re[i] * scale);
      } else {
        y[2 * at] = clean(data.re[i] * scale);
        y[2 * at + 1] = clean(data.im[i] * sign);
      }
    });
  }

 private:
  using Offsets = std::array<std::int64_t, batch_max>;

  static Offsets offsets(const Sequences& sequences, std::int64_t first, std::int64_t batch) {
    Offsets all{};
    for (std::int64_t b = 0; b < batch; ++b) {
      all[static_cast<std::size_t>(b)] = sequences.offset(first + b);
    }
    return all;
  }

  /// Goes along memory: through a sequence whose elements are neighbours, otherwise across them.
  template <typename F>
  static void for_each(const Sequences& sequences, std::int64_t batch, std::int64_t begin,
                       std::int64_t end, F&& f) {
    if (sequences.step == 1) {
      for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t k = begin; k < end; ++k) f(k, b);
      }
    } else {
      for (std::int64_t k = begin; k < end; ++k) {
        for (std::int64_t b = 0; b < batch; ++b) f(k, b);
      }
    }
  }

  static void set(Planes data, std::int64_t i, std::complex<double> x) {
    data.re[i] = x.real();
    data.im[i] = x.imag();
  }

  std::complex<double> element(std::int64_t at) const {
    const T* x = in_.as<T>();
    if (along_.kind == Direction::real_forward) return {static_cast<double>(x[at]), 0};
    const auto im = static_cast<double>(x[2 * at + 1]);
    return {static_cast<double>(x[2 * at]), is_inverse(along_.kind) ? -im : im};
  }

  T clean(double x) const { return static_cast<T>(std::fabs(x) <= along_.eps ? 0.0 : x); }

  const Along& along_;
  const Tensor& in_;
  const Tensor& out_;
  Sequences from_;
  Sequences to_;
};

Result<std::unique_ptr<const FourierPlan>> make_plan(std::int64_t n) {
  // The planner has counted its bytes against the budget; the system may have fewer.
  try {
    return std::make_unique<const FourierPlan>(n);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::out_of_memory,
                "no memory for the roots of a transform of " + std::to_string(n) + " points");
  }
}

std::int64_t batch_of(std::int64_t n) {
  return std::clamp<std::int64_t>(task_numbers / n, 1, batch_max);
}

/// Numbers of each plane of a thread, or of the team that works on one long sequence.
std::int64_t plane_size(std::int64_t n, int threads) {
  const bool team = FourierPlan::is_long(n);
  return n * batch_of(n) + FourierPlan::scratch_size(n, batch_of(n), team ? threads : 1);
}

/// Bytes of all planes.
std::uint64_t planes_bytes(std::int64_t n, std::int64_t sequences, int threads) {
  const bool alone = FourierPlan::is_long(n) || sequences <= batch_of(n);
  return static_cast<std::uint64_t>(2 * plane_size(n, threads)) * sizeof(double) *
         static_cast<std::uint64_t>(alone ? 1 : threads);
}

/// Long sequences one after the other, each by the whole team.
template <typename T>
Result<void> transform_long(Context& context, const Mover<T>& mover, const FourierPlan& plan,
                            Planes data) {
  constexpr std::int64_t grain = std::int64_t{1} << 14;
  const std::int64_t n = plan.length();
  for (std::int64_t sequence = 0; sequence < mover.sequences(); ++sequence) {
    OUTRIGGER_CHECK(
        parallel_ranges(context, n, grain, n, [&](int, std::int64_t begin, std::int64_t end) {
          mover.load(sequence, 1, begin, end, data);
        }));
    OUTRIGGER_CHECK(plan.transform_long(context, data, data + n));
    OUTRIGGER_CHECK(parallel_ranges(context, mover.points_out(), grain, n,
                                    [&](int, std::int64_t begin, std::int64_t end) {
                                      mover.store(sequence, 1, begin, end, data);
                                    }));
  }
  return {};
}

template <typename T>
Result<void> transform(Context& context, const Along& along, const FourierPlan& plan,
                       const Tensor& in, const Tensor& out) {
  const Mover<T> mover(along, in, out);
  const std::int64_t n = along.length;
  const std::int64_t batch = batch_of(n);
  const std::int64_t plane = plane_size(n, context.threads);
  OUTRIGGER_TRY(const BufferPtr buffer,
                context.memory.allocate(planes_bytes(n, mover.sequences(), context.threads)));
  auto* planes = reinterpret_cast<double*>(buffer->data());
  if (FourierPlan::is_long(n)) {
    return transform_long(context, mover, plan, Planes{planes, planes + plane});
  }
  return parallel_ranges(context, mover.sequences(), batch, mover.sequences() * n * 8,
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           double* mine = planes + 2 * plane * thread;
                           const Planes data{mine, mine + plane};
                           const std::int64_t count = end - begin;
                           mover.load(begin, count, 0, n, data);
                           plan.transform(data, count, data + n * batch);
                           mover.store(begin, count, 0, mover.points_out(), data);
                         });
}

Result<void> transform_axis(Context& context, const Along& along, const Tensor& in,
                            const Tensor& out) {
  if (out.size() == 0) return {};
  OUTRIGGER_TRY(const auto plan, make_plan(along.length));
  const bool wide = to_real(out.dtype()) == DType::f64;
  return wide ? transform<double>(context, along, *plan, in, out)
              : transform<float>(context, along, *plan, in, out);
}

constexpr double default_eps = 1e-10;

Result<double> eps_of(const AttrView& attrs) {
  if (!attrs.has("eps")) return default_eps;
  const Number eps = attrs.number("eps");
  if (std::holds_alternative<std::complex<double>>(eps)) {
    return fail(ErrorCode::bad_attr, "eps must be real");
  }
  return std::visit(
      [](auto x) {
        if constexpr (std::is_arithmetic_v<decltype(x)>) return static_cast<double>(x);
        return default_eps;
      },
      eps);
}

Result<std::int64_t> length_of(const AttrView& attrs, std::int64_t otherwise) {
  const std::int64_t length = attrs.integer("length", otherwise);
  // Bluestein's algorithm takes several times the length.
  constexpr std::int64_t length_max = std::int64_t{1} << 40;
  if (length >= 1 && length <= length_max) return length;
  return fail(attrs.has("length") ? ErrorCode::bad_attr : ErrorCode::bad_shape,
              "a transform of " + std::to_string(length) + " points is impossible");
}

template <Direction kind>
Result<Along> along_of(const TensorType& from, const AttrView& attrs) {
  if (from.shape.empty()) return fail(ErrorCode::bad_shape, "a scalar has no axis to transform");
  OUTRIGGER_TRY(const std::int64_t axis,
                normalize_axis(attrs.integer("axis", -1), from.shape.size()));
  const std::int64_t dim = from.shape[static_cast<std::size_t>(axis)];
  const std::int64_t usual = kind == Direction::real_inverse ? 2 * (dim - 1) : dim;
  OUTRIGGER_TRY(const std::int64_t length, length_of(attrs, usual));
  OUTRIGGER_TRY(const double eps, eps_of(attrs));
  return Along{kind, static_cast<std::size_t>(axis), length, eps};
}

template <Direction kind>
Result<Inferred> infer_fft(const InferCall& call) {
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const Along along, along_of<kind>(from, call.attrs));
  if (kind == Direction::real_forward && is_complex(from.dtype)) {
    return fail(ErrorCode::bad_dtype, "the operand must be real, got " + to_string(from));
  }
  const DType complex = to_complex(from.dtype);
  Inferred inferred;
  inferred.operands = {kind == Direction::real_forward ? to_real(complex) : complex};
  TensorType result{kind == Direction::real_inverse ? to_real(complex) : complex, from.shape};
  result.shape[along.axis] = kind == Direction::real_forward ? along.length / 2 + 1 : along.length;
  inferred.results.push_back(std::move(result));
  return inferred;
}

std::uint64_t along_scratch(const Along& along, const TensorType& out, int threads) {
  const std::int64_t points = out.shape[along.axis];
  const std::int64_t sequences = points == 0 ? 0 : element_count(out.shape) / points;
  return FourierPlan::bytes(along.length) + planes_bytes(along.length, sequences, threads);
}

template <Direction kind>
std::uint64_t fft_scratch(const ScratchCall& call) {
  const auto along = along_of<kind>(*call.in[0].type, call.attrs);
  return along ? along_scratch(*along, call.out[0], call.threads) : 0;
}

template <Direction kind>
Result<void> run_fft(const RunCall& call) {
  OUTRIGGER_TRY(const Along along, along_of<kind>(call.in[0].type, call.attrs));
  return transform_axis(call.context, along, call.in[0], call.out[0]);
}

/// The two transforms of fft2 and ifft2, in the order that they are done: the last axis first.
template <Direction kind>
Result<std::array<Along, 2>> along_both(const TensorType& from, const AttrView& attrs) {
  const std::size_t rank = from.shape.size();
  if (rank < 2) {
    return fail(ErrorCode::bad_shape,
                "a tensor of at least two axes is needed, got " + to_string(from));
  }
  Dims axes{-2, -1};
  if (attrs.has("axes")) {
    const auto named = attrs.integers("axes");
    if (named.size() != 2) {
      return fail(ErrorCode::bad_attr, "axes must name two axes, got " + to_string(named));
    }
    axes = Dims(named.begin(), named.end());
  }
  OUTRIGGER_TRY(axes, normalize_axes(axes, rank));
  Dims lengths{from.shape[static_cast<std::size_t>(axes[0])],
               from.shape[static_cast<std::size_t>(axes[1])]};
  if (attrs.has("lengths")) {
    const auto named = attrs.integers("lengths");
    if (named.size() != 2 || named[0] < 1 || named[1] < 1 || named[0] > (std::int64_t{1} << 40) ||
        named[1] > (std::int64_t{1} << 40)) {
      return fail(ErrorCode::bad_attr,
                  "lengths must be two numbers of points, got " + to_string(named));
    }
    lengths = Dims(named.begin(), named.end());
  } else if (lengths[0] < 1 || lengths[1] < 1) {
    return fail(ErrorCode::bad_shape, "a transform of no points is impossible: " + to_string(from));
  }
  OUTRIGGER_TRY(const double eps, eps_of(attrs));
  return std::array<Along, 2>{Along{kind, static_cast<std::size_t>(axes[1]), lengths[1], eps},
                              Along{kind, static_cast<std::size_t>(axes[0]), lengths[0], eps}};
}

template <Direction kind>
Result<Inferred> infer_fft2(const InferCall& call) {
  const TensorType& from = call.type(0);
  OUTRIGGER_TRY(const auto both, along_both<kind>(from, call.attrs));
  TensorType result{to_complex(from.dtype), from.shape};
  for (const Along& along : both) result.shape[along.axis] = along.length;
  Inferred inferred;
  inferred.operands = {result.dtype};
  inferred.results.push_back(std::move(result));
  return inferred;
}

template <Direction kind>
std::uint64_t fft2_scratch(const ScratchCall& call) {
  const auto both = along_both<kind>(*call.in[0].type, call.attrs);
  if (!both) return 0;
  TensorType between = *call.in[0].type;
  between.shape[(*both)[0].axis] = (*both)[0].length;
  const std::uint64_t middle = between.shape == call.out[0].shape ? 0 : copy_bytes(between);
  return middle + std::max(along_scratch((*both)[0], between, call.threads),
                           along_scratch((*both)[1], call.out[0], call.threads));
}

template <Direction kind>
Result<void> run_fft2(const RunCall& call) {
  OUTRIGGER_TRY(const auto both, along_both<kind>(call.in[0].type, call.attrs));
  if (call.out[0].size() == 0) return {};
  // The first transform leaves its result in the part of the output that it fills, if it fits:
  // sequences are read whole before they are written.
  TensorType middle = call.in[0].type;
  middle.shape[both[0].axis] = both[0].length;
  Tensor between = call.out[0];
  if (middle.shape != call.out[0].shape()) {
    OUTRIGGER_TRY(between, allocate_tensor(call.context.memory, middle));
  }
  OUTRIGGER_CHECK(transform_axis(call.context, both[0], call.in[0], between));
  return transform_axis(call.context, both[1], between, call.out[0]);
}

AttrSpec eps_attr() {
  return {"eps", AttrType::number, false, "1e-10",
          "parts of the result that are no larger become 0"};
}

OpRow fft_row(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
              Result<void> (*run)(const RunCall&), std::uint64_t (*scratch)(const ScratchCall&),
              std::string_view doc) {
  return OpRow{.name = name,
               .family = "fft",
               .kind = Kind::compute,
               .operands = {{"tensor"}},
               .attrs = {{"axis", AttrType::integer, false, "-1", "the axis to transform"},
                         {"length", AttrType::integer, false, "",
                          "points of the transform; the axis is cut or padded with zeros to it"},
                         eps_attr()},
               .any_dtype = true,
               .cost = Cost::transform,
               .infer = infer,
               .run = run,
               .scratch = scratch,
               .doc = doc};
}

OpRow fft2_row(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
               Result<void> (*run)(const RunCall&), std::uint64_t (*scratch)(const ScratchCall&),
               std::string_view doc) {
  OpRow row = fft_row(name, infer, run, scratch, doc);
  row.attrs = {
      {"axes", AttrType::integers, false, "", "the two axes to transform; by default the last two"},
      {"lengths", AttrType::integers, false, "",
       "points of the transforms; the axes are cut or padded with zeros to them"},
      eps_attr()};
  return row;
}

}  // namespace

void register_fft(std::vector<OpRow>& rows) {
  rows.push_back(fft_row(
      "fft", infer_fft<Direction::forward>, run_fft<Direction::forward>,
      fft_scratch<Direction::forward>,
      "Discrete Fourier transform along an axis: `y[k] = sum(x[j] * exp(-2 * pi * i * j * k / "
      "n))`, "
      "of any length. c128 of f64 and c128, else c64; computed in f64. Stockham's algorithm for "
      "lengths with prime factors up to 13, Bluestein's for others."));
  rows.push_back(fft_row("ifft", infer_fft<Direction::inverse>, run_fft<Direction::inverse>,
                         fft_scratch<Direction::inverse>,
                         "The inverse of `fft`, divided by the number of points."));
  rows.push_back(
      fft_row("rfft", infer_fft<Direction::real_forward>, run_fft<Direction::real_forward>,
              fft_scratch<Direction::real_forward>,
              "`fft` of a real tensor (`bad_dtype`): the first `div(length, 2) + 1` points, which "
              "the others mirror."));
  rows.push_back(fft_row(
      "irfft", infer_fft<Direction::real_inverse>, run_fft<Direction::real_inverse>,
      fft_scratch<Direction::real_inverse>,
      "The inverse of `rfft`: a real tensor with `length` points, by default `2 * (n - 1)`. Uses "
      "the first `div(length, 2) + 1` elements of the axis; what is missing counts as 0."));
  rows.push_back(fft2_row("fft2", infer_fft2<Direction::forward>, run_fft2<Direction::forward>,
                          fft2_scratch<Direction::forward>,
                          "`fft` along two axes, the second first."));
  rows.push_back(fft2_row("ifft2", infer_fft2<Direction::inverse>, run_fft2<Direction::inverse>,
                          fft2_scratch<Direction::inverse>,
                          "`ifft` along two axes, the second first."));
}

}  // namespace outrigger::ops
