#include <array>
#include <string>
#include <type_traits>
#include <variant>

#include "ops/catalogue.hpp"
#include "ops/fourier/run.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/scratch.hpp"

namespace outrigger::ops {
namespace {

using fourier::Along;
using fourier::Direction;

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
  // The limit leaves space for Bluestein's algorithm, which multiplies the length by a small
  // factor.
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

/// Real operands keep their dtype.
DType operand_dtype(const InferCall& call, DType complex) {
  const DType dtype = call.type(0).dtype;
  return is_complex(dtype) ? complex : dtype;
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
  inferred.operands = {operand_dtype(call, complex)};
  TensorType result{kind == Direction::real_inverse ? to_real(complex) : complex, from.shape};
  result.shape[along.axis] = kind == Direction::real_forward ? along.length / 2 + 1 : along.length;
  inferred.results.push_back(std::move(result));
  return inferred;
}

template <Direction kind>
std::uint64_t fft_scratch(const ScratchCall& call) {
  const auto along = along_of<kind>(*call.in[0].type, call.attrs);
  return along ? fourier::axis_scratch(*along, call.in[0].type->dtype, call.out[0], call.threads)
               : 0;
}

template <Direction kind>
Result<void> run_fft(const RunCall& call) {
  OUTRIGGER_TRY(const Along along, along_of<kind>(call.in[0].type, call.attrs));
  return fourier::transform_axis(call.context, along, call.in[0], call.out[0]);
}

/// The two transforms of fft2 and ifft2 in their order: the last axis is first.
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
  inferred.operands = {operand_dtype(call, result.dtype)};
  inferred.results.push_back(std::move(result));
  return inferred;
}

/// The type of the result of the first of two transforms.
TensorType between_type(const TensorType& from, DType complex, const Along& first) {
  TensorType type{complex, from.shape};
  type.shape[first.axis] = first.length;
  return type;
}

template <Direction kind>
std::uint64_t fft2_scratch(const ScratchCall& call) {
  const auto both = along_both<kind>(*call.in[0].type, call.attrs);
  if (!both) return 0;
  const TensorType between = between_type(*call.in[0].type, call.out[0].dtype, (*both)[0]);
  const std::uint64_t middle = between.shape == call.out[0].shape ? 0 : copy_bytes(between);
  const DType dtype = call.out[0].dtype;
  return middle +
         std::max(fourier::axis_scratch((*both)[0], call.in[0].type->dtype, between, call.threads),
                  fourier::axis_scratch((*both)[1], dtype, call.out[0], call.threads));
}

template <Direction kind>
Result<void> run_fft2(const RunCall& call) {
  OUTRIGGER_TRY(const auto both, along_both<kind>(call.in[0].type, call.attrs));
  if (call.out[0].size() == 0) return {};
  // If the result of the first transform fits into the part of the output that it fills, it is
  // stored there. That is safe, because a sequence is read completely before it is written.
  const TensorType middle = between_type(call.in[0].type, call.out[0].dtype(), both[0]);
  Tensor between = call.out[0];
  if (middle.shape != call.out[0].shape()) {
    OUTRIGGER_TRY(between, allocate_tensor(call.context.memory, middle));
  }
  OUTRIGGER_CHECK(fourier::transform_axis(call.context, both[0], call.in[0], between));
  return fourier::transform_axis(call.context, both[1], between, call.out[0]);
}

AttrSpec eps_attr() {
  return {"eps", AttrType::number, false, "1e-10",
          "parts of the result whose magnitude is not larger become 0"};
}

OpRow fft_row(std::string_view name, Result<Inferred> (*infer)(const InferCall&),
              Result<void> (*run)(const RunCall&), std::uint64_t (*scratch)(const ScratchCall&),
              std::string_view doc) {
  return OpRow{
      .name = name,
      .family = "fft",
      .kind = Kind::compute,
      .operands = {{"tensor"}},
      .attrs = {{"axis", AttrType::integer, false, "-1", "the axis to transform"},
                {"length", AttrType::integer, false, "",
                 "points of the transform; the axis is cut, or padded with zeros, to this length"},
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
       "points of the transforms; the axes are cut, or padded with zeros, to these lengths"},
      eps_attr()};
  return row;
}

}  // namespace

void register_fourier(std::vector<OpRow>& rows) {
  rows.push_back(fft_row(
      "fft", infer_fft<Direction::forward>, run_fft<Direction::forward>,
      fft_scratch<Direction::forward>,
      "Discrete Fourier transform of any length along an axis: `y[k] = sum(x[j] * exp(-2 * pi * i "
      "* j * k / n))`. The result is c128 for f64 and c128, else c64. Stockham's algorithm for "
      "lengths with prime factors up to 13, Bluestein's algorithm for others. Errors grow with the "
      "logarithm of the length; c64 is computed in f64 up to 4096 points."));
  rows.push_back(fft_row("ifft", infer_fft<Direction::inverse>, run_fft<Direction::inverse>,
                         fft_scratch<Direction::inverse>,
                         "The inverse of `fft`, divided by the number of points."));
  rows.push_back(fft_row("rfft", infer_fft<Direction::real_forward>,
                         run_fft<Direction::real_forward>, fft_scratch<Direction::real_forward>,
                         "`fft` of a real tensor (`bad_dtype`): the first `div(length, 2) + 1` "
                         "points. The other points are their conjugates."));
  rows.push_back(fft_row(
      "irfft", infer_fft<Direction::real_inverse>, run_fft<Direction::real_inverse>,
      fft_scratch<Direction::real_inverse>,
      "The inverse of `rfft`: a real tensor with `length` points, by default `2 * (n - 1)`. Uses "
      "the first `div(length, 2) + 1` elements of the axis; missing elements count as 0."));
  rows.push_back(fft2_row("fft2", infer_fft2<Direction::forward>, run_fft2<Direction::forward>,
                          fft2_scratch<Direction::forward>,
                          "`fft` along two axes; the second axis is first."));
  rows.push_back(fft2_row("ifft2", infer_fft2<Direction::inverse>, run_fft2<Direction::inverse>,
                          fft2_scratch<Direction::inverse>,
                          "`ifft` along two axes; the second axis is first."));
}

}  // namespace outrigger::ops
