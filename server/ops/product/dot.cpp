#define EIGEN_DONT_PARALLELIZE
#include <algorithm>
#include <array>
#include <optional>

#include <Eigen/Core>

#include "ops/elementwise/kernels.hpp"
#include "ops/product/gemm.hpp"
#include "ops/product/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {
namespace {

/// The contracted axes and the batch axes of the two operands, all normalised.
struct Axes {
  Dims left, left_batch, right, right_batch;
};

Result<Dims> axes_attr(const InferCall& call, std::string_view name, std::size_t operand,
                       Dims otherwise) {
  if (!call.attrs.has(name)) return otherwise;
  return normalize_axes(call.attrs.integers(name), call.type(operand).shape.size());
}

/// The axes of Nx.dot/2: the last axis of the left operand and the last but one of the right. A
/// scalar multiplies.
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

/// The axes that are neither contracted nor batch axes, in their order.
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
  for (const InferOperand& operand : call.in) {
    // Tensors are converted while they are packed.
    const bool as_it_is = operand.literal == nullptr;
    inferred.operands.push_back(as_it_is ? operand.type.dtype : compute_dtype(result.dtype));
  }
  inferred.results.push_back(std::move(result));
  return inferred;
}

/// Several axes of a tensor as one axis. `memory` owns its table, if there is one.
struct JoinedAxes {
  gemm::Axis axis;
  BufferPtr memory;
};

Result<JoinedAxes> join(const Context& context, const Tensor& tensor, const Dims& axes) {
  Dims dims;
  Dims strides;
  for (const std::int64_t axis : axes) {
    dims.push_back(tensor.shape()[static_cast<std::size_t>(axis)]);
    strides.push_back(tensor.strides[static_cast<std::size_t>(axis)]);
  }
  JoinedAxes joined;
  joined.axis.size = count_along(tensor.shape(), axes);
  if (joined.axis.size <= 1) return joined;
  collapse(dims, std::span(&strides, 1));
  if (dims.size() == 1) {
    joined.axis.stride = strides[0];
    return joined;
  }
  const auto count = static_cast<std::size_t>(joined.axis.size);
  OUTRIGGER_TRY(joined.memory, context.memory.allocate(count * sizeof(std::int64_t)));
  auto* table = reinterpret_cast<std::int64_t*>(joined.memory->data());
  for_each_run(
      dims, strides, 0, joined.axis.size,
      [&](std::int64_t position, std::int64_t offset, std::int64_t stride, std::int64_t length) {
        for (std::int64_t i = 0; i < length; ++i) table[position + i] = offset + i * stride;
      });
  joined.axis.table = table;
  return joined;
}

struct Sizes {
  std::int64_t batch, m, k, n;
};

Sizes sizes_of(const TensorType& left, const TensorType& right, const Axes& axes) {
  return {count_along(left.shape, axes.left_batch),
          count_along(left.shape, free_axes(left.shape.size(), axes.left, axes.left_batch)),
          count_along(left.shape, axes.left),
          count_along(right.shape, free_axes(right.shape.size(), axes.right, axes.right_batch))};
}

/// The rows, columns and depth of a product of complex blocks. It is a constant, because the
/// rounding depends on it.
constexpr std::int64_t complex_block = 256;

/// The elements that a thread copies for one product, of both operands.
std::int64_t complex_room(const Sizes& s) {
  const auto part = [](std::int64_t size) { return std::min(size, complex_block); };
  return (part(s.m) + part(s.n)) * part(s.k);
}

std::uint64_t dot_scratch(const ScratchCall& call) {
  const TensorType& left = *call.in[0].type;
  const TensorType& right = *call.in[1].type;
  const std::array<InferOperand, 2> operands{InferOperand{left}, InferOperand{right}};
  const auto axes = dot_axes(InferCall{operands, call.attrs});
  if (!axes) return 0;
  const Sizes sizes = sizes_of(left, right, *axes);
  const DType dtype = call.out[0].dtype;
  const std::size_t element = std::max<std::size_t>(2, size_of(compute_dtype(dtype)));
  const bool converts = dtype != compute_dtype(dtype);
  std::uint64_t bytes =
      is_complex(dtype)
          ? buffer_bytes(call.threads * complex_room(sizes) * static_cast<std::int64_t>(element))
          : gemm::scratch_bytes(sizes.batch, sizes.m, sizes.k, sizes.n, element, converts,
                                call.threads);
  // There is at most one table for each group of axes.
  for (const std::int64_t count : {sizes.batch, sizes.m, sizes.k, sizes.batch, sizes.k, sizes.n})
    bytes += buffer_bytes(count * std::int64_t{sizeof(std::int64_t)});
  return bytes;
}

/// The free axes of the left operand: the sums do not depend on them.
std::optional<std::size_t> sliced_axis_of_dot(const InferCall& call, std::size_t axis) {
  const auto axes = dot_axes(call);
  if (!axes || !axes->left_batch.empty() || is_complex(merged_dtype(call.in))) return std::nullopt;
  const std::size_t right_rank = call.type(1).shape.size();
  // A product with a vector sums in another order.
  if (count_along(call.type(1).shape, free_axes(right_rank, axes->right, {})) < 2)
    return std::nullopt;
  const Dims free = free_axes(call.type(0).shape.size(), axes->left, {});
  const auto found = std::find(free.begin(), free.end(), static_cast<std::int64_t>(axis));
  if (found == free.end()) return std::nullopt;
  return static_cast<std::size_t>(found - free.begin());
}

/// Copies rows [row, row + rows) × columns [column, column + columns) of the matrix number `group`,
/// in C order.
template <typename T>
void copy_block(const gemm::Matrices<T>& matrices, const Conversion& conversion, std::int64_t group,
                std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns,
                T* to) {
  const auto width = static_cast<std::int64_t>(conversion.from_width());
  const auto* data = static_cast<const std::byte*>(matrices.data);
  const gemm::Axis& along = matrices.columns;
  if (columns == 1 && matrices.rows.table == nullptr) {
    const std::int64_t first = matrices.batch(group) + matrices.rows(row) + along(column);
    conversion.gather(data + first * width, matrices.rows.stride, to, rows);
    return;
  }
  for (std::int64_t i = 0; i < rows; ++i, to += columns) {
    const std::byte* from = data + (matrices.batch(group) + matrices.rows(row + i)) * width;
    if (along.table == nullptr) {
      conversion.gather(from + along(column) * width, along.stride, to, columns);
      continue;
    }
    for (std::int64_t j = 0; j < columns; ++j)
      conversion.run(from + along(column + j) * width, to + j, 1);
  }
}

/// Multiplies complex numbers with Eigen's product. A block whose rows are not contiguous is
/// copied.
template <typename T>
Result<void> multiply_complex(const Context& context, const gemm::Matrices<T>& a,
                              const Conversion& from_a, const gemm::Matrices<T>& b,
                              const Conversion& from_b, T* out, const Sizes& s) {
  if (s.batch * s.m * s.n == 0) return {};
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Rows = Eigen::Map<Matrix, 0, Eigen::OuterStride<>>;
  using ConstRows = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;
  const auto block = [](const gemm::Matrices<T>& from, const Conversion& conversion,
                        std::int64_t group, std::int64_t row, std::int64_t rows,
                        std::int64_t column, std::int64_t columns, T* copy) {
    if (conversion.none() && from.columns.unit() && from.rows.table == nullptr &&
        from.rows.stride >= columns) {
      return ConstRows(from.at(group) + from.rows(row) + column, rows, columns,
                       Eigen::OuterStride<>(from.rows.stride));
    }
    copy_block(from, conversion, group, row, rows, column, columns, copy);
    return ConstRows(copy, rows, columns, Eigen::OuterStride<>(columns));
  };
  const std::int64_t room = complex_room(s);
  OUTRIGGER_TRY(
      const BufferPtr buffer,
      context.memory.allocate(static_cast<std::size_t>(context.threads * room) * sizeof(T)));
  const std::int64_t panels = (s.m + complex_block - 1) / complex_block;
  return looking_ranges(
      context, s.batch * panels, 1, s.batch * s.m * s.n * std::max<std::int64_t>(1, s.k),
      [&](int thread, std::int64_t begin, std::int64_t end) {
        T* const left = reinterpret_cast<T*>(buffer->data()) + thread * room;
        Look look(context.interrupt);
        for (std::int64_t task = begin; task < end; ++task) {
          const std::int64_t group = task / panels;
          const std::int64_t row = task % panels * complex_block;
          const std::int64_t rows = std::min(complex_block, s.m - row);
          T* const panel = out + (group * s.m + row) * s.n;
          if (s.k == 0) std::fill_n(panel, rows * s.n, T{0});
          for (std::int64_t k = 0; k < s.k; k += complex_block) {
            const std::int64_t depth = std::min(complex_block, s.k - k);
            const ConstRows x = block(a, from_a, group, row, rows, k, depth, left);
            for (std::int64_t column = 0; column < s.n; column += complex_block) {
              const std::int64_t columns = std::min(complex_block, s.n - column);
              if (!look.go_on(rows * depth + rows * columns * depth / 2)) return false;
              const ConstRows y =
                  block(b, from_b, group, k, depth, column, columns, left + rows * depth);
              Rows sums(panel + column, rows, columns, Eigen::OuterStride<>(s.n));
              if (k == 0) sums.setZero();
              sums.noalias() += x * y;
            }
          }
        }
        return true;
      });
}

Result<void> run_dot(const RunCall& call) {
  const Tensor& left = call.in[0];
  const Tensor& right = call.in[1];
  const std::array<InferOperand, 2> operands{InferOperand{left.type}, InferOperand{right.type}};
  OUTRIGGER_TRY(const Axes axes, dot_axes(InferCall{operands, call.attrs}));
  const Context& context = call.context;
  OUTRIGGER_TRY(const JoinedAxes left_batch, join(context, left, axes.left_batch));
  OUTRIGGER_TRY(const JoinedAxes rows,
                join(context, left, free_axes(left.shape().size(), axes.left, axes.left_batch)));
  OUTRIGGER_TRY(const JoinedAxes left_k, join(context, left, axes.left));
  OUTRIGGER_TRY(const JoinedAxes right_batch, join(context, right, axes.right_batch));
  OUTRIGGER_TRY(const JoinedAxes right_k, join(context, right, axes.right));
  OUTRIGGER_TRY(
      const JoinedAxes columns,
      join(context, right, free_axes(right.shape().size(), axes.right, axes.right_batch)));
  const DType dtype = call.out[0].dtype();
  const DType compute = compute_dtype(dtype);
  const Conversion from_left(left.dtype(), compute);
  const Conversion from_right(right.dtype(), compute);
  const Conversion to_result(compute, dtype);
  if (is_complex(dtype)) {
    return with_complex_type(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      return multiply_complex<T>(
          context, {left.data(), left_batch.axis, rows.axis, left_k.axis}, from_left,
          {right.data(), right_batch.axis, right_k.axis, columns.axis}, from_right,
          call.out[0].as<T>(), sizes_of(left.type, right.type, axes));
    });
  }
  const auto if_any = [](const Conversion& c) { return c.none() ? nullptr : &c; };
  return with_type(compute, [&](auto tag) {
    using T = typename decltype(tag)::type;
    // Sums and products of integers do not depend on the sign, so that one kernel computes both.
    using U = typename gemm::Unsigned<T>::type;
    const gemm::Matrices<U> a{left.data(), left_batch.axis, rows.axis, left_k.axis,
                              if_any(from_left)};
    const gemm::Matrices<U> b{right.data(), right_batch.axis, right_k.axis, columns.axis,
                              if_any(from_right)};
    return gemm::multiply(context, a, b, gemm::Output{call.out[0].data(), if_any(to_result)});
  });
}

}  // namespace

void add_dot_rows(std::vector<OpRow>& rows) {
  const AttrType integers = AttrType::integers;
  rows.push_back(OpRow{
      .name = "dot",
      .family = "dot",
      .kind = Kind::compute,
      .operands = {{"left"}, {"right"}},
      .attrs = {{"left_axes", integers, false, "",
                 "contracted axes of the left operand; by default its last axis"},
                {"left_batch_axes", integers, false, "", "batch axes of the left operand"},
                {"right_axes", integers, false, "",
                 "contracted axes of the right operand; by default its last but one axis"},
                {"right_batch_axes", integers, false, "", "batch axes of the right operand"}},
      .any_dtype = true,
      .complex = true,
      .cost = Cost::quadratic,
      .infer = infer_dot,
      .run = run_dot,
      .sliced_axis = sliced_axis_of_dot,
      .scratch = dot_scratch,
      .doc = "Sum of products over the contracted axes. The shape of the result is the batch axes, "
             "then the other axes of the left operand, then those of the right operand. Operands "
             "are converted to their common dtype, which is the dtype of the result. Integers wrap "
             "around. If the common dtype is a small float, operands of any dtype are converted "
             "directly to f32; sums are computed in f32 and rounded once. Conversions are done "
             "piece by piece. Each element is summed in a fixed order, whatever the number of "
             "threads. Blocks as in Goto and van de Geijn, Anatomy of High-Performance Matrix "
             "Multiplication (2008). Complex numbers: Eigen's product."});
}

}  // namespace outrigger::ops
