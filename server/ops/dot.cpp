#define EIGEN_DONT_PARALLELIZE
#include <algorithm>
#include <array>

#include <Eigen/Core>

#include "ops/catalogue.hpp"
#include "ops/complex_math.hpp"
#include "ops/kernels.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"

namespace outrigger::ops {
namespace {

/// Which axes of the two operands are contracted and which are batches; all normalised.
struct Axes {
  Dims left, left_batch, right, right_batch;
};

Result<Dims> axes_attr(const InferCall& call, std::string_view name, std::size_t operand,
                       Dims otherwise) {
  if (!call.attrs.has(name)) return otherwise;
  return normalize_axes(call.attrs.integers(name), call.type(operand).shape.size());
}

/// Nx.dot/2: the last axis of the left with the last but one of the right; a scalar multiplies.
Result<Axes> dot_axes(const InferCall& call) {
  const auto left_rank = static_cast<std::int64_t>(call.type(0).shape.size());
  const auto right_rank = static_cast<std::int64_t>(call.type(1).shape.size());
  Axes defaults;
  if (left_rank > 0 && right_rank > 0) {
    defaults.left = {left_rank - 1};
    defaults.right = {right_rank == 1 ? 0 : right_rank - 2};
  }
  Axes axes;
  OUTRIGGER_TRY(axes.left, axes_attr(call, "left_axes", 0, defaults.left));
  OUTRIGGER_TRY(axes.left_batch, axes_attr(call, "left_batch_axes", 0, Dims{}));
  OUTRIGGER_TRY(axes.right, axes_attr(call, "right_axes", 1, defaults.right));
  OUTRIGGER_TRY(axes.right_batch, axes_attr(call, "right_batch_axes", 1, Dims{}));
  return axes;
}

Result<void> check_pairs(const InferCall& call, const Dims& left, const Dims& right,
                         std::string_view what) {
  bool fits = left.size() == right.size();
  for (std::size_t i = 0; fits && i < left.size(); ++i) {
    fits = call.type(0).shape[static_cast<std::size_t>(left[i])] ==
           call.type(1).shape[static_cast<std::size_t>(right[i])];
  }
  if (fits) return {};
  return fail(ErrorCode::bad_shape, "the " + std::string(what) + " axes " + to_string(left) +
                                        " of " + to_string(call.type(0)) + " and " +
                                        to_string(right) + " of " + to_string(call.type(1)) +
                                        " do not match");
}

/// Axes that are neither contracted nor batches, in their order.
Dims free_axes(std::size_t rank, const Dims& contracted, const Dims& batch) {
  Dims axes;
  for (const std::int64_t axis : all_axes(rank)) {
    if (!contains(contracted, axis) && !contains(batch, axis)) axes.push_back(axis);
  }
  return axes;
}

std::int64_t count_along(const Dims& shape, const Dims& axes) {
  std::int64_t count = 1;
  for (const std::int64_t axis : axes) count *= shape[static_cast<std::size_t>(axis)];
  return count;
}

Result<Inferred> infer_dot(const InferCall& call) {
  OUTRIGGER_TRY(const Axes axes, dot_axes(call));
  OUTRIGGER_CHECK(check_pairs(call, axes.left, axes.right, "contracted"));
  OUTRIGGER_CHECK(check_pairs(call, axes.left_batch, axes.right_batch, "batch"));
  for (std::size_t i = 0; i < 2; ++i) {
    for (const std::int64_t axis : i == 0 ? axes.left_batch : axes.right_batch) {
      if (!contains(i == 0 ? axes.left : axes.right, axis)) continue;
      return fail(ErrorCode::bad_axis,
                  "axis " + std::to_string(axis) + " is both contracted and a batch axis");
    }
  }
  TensorType result{merged_dtype(call.in), {}};
  for (const std::int64_t axis : axes.left_batch)
    result.shape.push_back(call.type(0).shape[static_cast<std::size_t>(axis)]);
  for (const std::int64_t axis : free_axes(call.type(0).shape.size(), axes.left, axes.left_batch)) {
    result.shape.push_back(call.type(0).shape[static_cast<std::size_t>(axis)]);
  }
  for (const std::int64_t axis :
       free_axes(call.type(1).shape.size(), axes.right, axes.right_batch)) {
    result.shape.push_back(call.type(1).shape[static_cast<std::size_t>(axis)]);
  }
  OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  Inferred inferred;
  inferred.operands = {result.dtype, result.dtype};
  inferred.results.push_back(std::move(result));
  return inferred;
}

/// Rows of C that one task computes. Fixed, so that blocking, and with it rounding, does not depend
/// on the number of threads.
constexpr std::int64_t panel_rows = 256;

/// C = A · B for row-major panels. Eigen's product for floats; for integers, which it does not
/// vectorise as well, rows of B are added up.
template <typename T>
void multiply_panel(const T* a, const T* b, T* c, std::int64_t m, std::int64_t k, std::int64_t n) {
  if constexpr (std::is_floating_point_v<T> || is_complex_v<T>) {
    using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    Eigen::Map<Matrix>(c, m, n).noalias() =
        Eigen::Map<const Matrix>(a, m, k) * Eigen::Map<const Matrix>(b, k, n);
  } else {
    std::fill_n(c, m * n, T{0});
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < k; ++j) {
        const T factor = a[i * k + j];
        OUTRIGGER_INDEPENDENT
        for (std::int64_t l = 0; l < n; ++l)
          c[i * n + l] = static_cast<T>(c[i * n + l] + factor * b[j * n + l]);
      }
    }
  }
}

/// Batch, free, contracted axes.
Dims left_order(std::size_t rank, const Axes& axes) {
  Dims order = axes.left_batch;
  const Dims free = free_axes(rank, axes.left, axes.left_batch);
  order.append(free.begin(), free.end());
  order.append(axes.left.begin(), axes.left.end());
  return order;
}

/// Batch, contracted, free axes.
Dims right_order(std::size_t rank, const Axes& axes) {
  Dims order = axes.right_batch;
  const Dims free = free_axes(rank, axes.right, axes.right_batch);
  order.append(axes.right.begin(), axes.right.end());
  order.append(free.begin(), free.end());
  return order;
}

std::uint64_t dot_scratch(const ScratchCall& call) {
  const std::array<InferOperand, 2> operands{InferOperand{*call.in[0].type},
                                             InferOperand{*call.in[1].type}};
  const auto axes = dot_axes(InferCall{operands, call.attrs});
  if (!axes) return 0;
  return contiguous_bytes(call.in[0], left_order(call.in[0].type->shape.size(), *axes)) +
         contiguous_bytes(call.in[1], right_order(call.in[1].type->shape.size(), *axes));
}

Result<void> run_dot(const RunCall& call) {
  const std::array<InferOperand, 2> operands{InferOperand{call.in[0].type},
                                             InferOperand{call.in[1].type}};
  OUTRIGGER_TRY(const Axes axes, dot_axes(InferCall{operands, call.attrs}));
  const Dims left_free = free_axes(call.in[0].shape().size(), axes.left, axes.left_batch);
  const Dims right_free = free_axes(call.in[1].shape().size(), axes.right, axes.right_batch);
  const std::int64_t batch = count_along(call.in[0].shape(), axes.left_batch);
  const std::int64_t m = count_along(call.in[0].shape(), left_free);
  const std::int64_t k = count_along(call.in[0].shape(), axes.left);
  const std::int64_t n = count_along(call.in[1].shape(), right_free);

  const Tensor ordered_left = permute(call.in[0], left_order(call.in[0].shape().size(), axes));
  const Tensor ordered_right = permute(call.in[1], right_order(call.in[1].shape().size(), axes));
  OUTRIGGER_TRY(const Tensor left, to_contiguous(call.context, ordered_left));
  OUTRIGGER_TRY(const Tensor right, to_contiguous(call.context, ordered_right));
  if (batch * m * n == 0) return {};

  const std::int64_t panels = (m + panel_rows - 1) / panel_rows;
  const auto multiply = [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* a = left.as<T>();
    const T* b = right.as<T>();
    T* c = call.out[0].as<T>();
    return parallel_ranges(
        call.context, batch * panels, 1, batch * m * n * std::max<std::int64_t>(1, k),
        [&](int, std::int64_t begin, std::int64_t end) {
          for (std::int64_t task = begin; task < end; ++task) {
            const std::int64_t group = task / panels;
            const std::int64_t row = task % panels * panel_rows;
            multiply_panel(a + (group * m + row) * k, b + group * k * n, c + (group * m + row) * n,
                           std::min(panel_rows, m - row), k, n);
          }
        });
  };
  const DType dtype = call.out[0].dtype();
  return is_complex(dtype) ? with_complex_type(dtype, multiply) : with_type(dtype, multiply);
}

}  // namespace

void register_dot(std::vector<OpRow>& rows) {
  const AttrType integers = AttrType::integers;
  rows.push_back(
      OpRow{.name = "dot",
            .family = "dot",
            .kind = Kind::compute,
            .operands = {{"left"}, {"right"}},
            .attrs = {{"left_axes", integers, false, "",
                       "contracted axes of the left operand; by default its last"},
                      {"left_batch_axes", integers, false, "", "batch axes of the left operand"},
                      {"right_axes", integers, false, "",
                       "contracted axes of the right operand; by default its last but one"},
                      {"right_batch_axes", integers, false, "", "batch axes of the right operand"}},
            .complex = true,
            .infer = infer_dot,
            .run = run_dot,
            .scratch = dot_scratch,
            .doc = "Sum of products over the contracted axes. Shape: batch axes, then the other "
                   "axes of the left, then those of the right. "
                   "Operands meet in one dtype, which the result keeps; integers wrap around. "
                   "Floats: Eigen's matrix product."});
}

}  // namespace outrigger::ops
