#include <algorithm>
#include <limits>
#include <string>

#include "ops/product/conv_tiles.hpp"
#include "ops/product/rows.hpp"
#include "ops/support/axes.hpp"
#include "ops/support/look.hpp"

namespace outrigger::ops {
namespace {

Result<Dims> order_of(const AttrView& attrs, std::string_view name, std::size_t rank) {
  if (!attrs.has(name)) return all_axes(rank);
  OUTRIGGER_TRY(Dims order, normalize_axes(attrs.integers(name), rank));
  if (order.size() == rank) return order;
  return fail(ErrorCode::bad_axis,
              std::string(name) + " must name each of the " + std::to_string(rank) + " axes once");
}

Dims in_order(const Dims& shape, const Dims& order) {
  Dims ordered;
  for (const std::int64_t axis : order) ordered.push_back(shape[static_cast<std::size_t>(axis)]);
  return ordered;
}

Result<void> check_groups(const Convolution& conv, const Dims& input, const Dims& kernel) {
  const std::int64_t features = conv.feature_groups;
  const std::int64_t batches = conv.batch_groups;
  if (features < 1 || batches < 1 || (features > 1 && batches > 1)) {
    return fail(ErrorCode::bad_attr, "feature_group_size " + std::to_string(features) +
                                         " and batch_group_size " + std::to_string(batches) +
                                         " must be at least 1, and one of them must be 1");
  }
  if (input[0] % batches != 0 || kernel[0] % batches != 0) {
    return fail(ErrorCode::bad_shape,
                "batch size " + std::to_string(input[0]) + " and " + std::to_string(kernel[0]) +
                    " output features must be multiples of batch_group_size " +
                    std::to_string(batches));
  }
  if (input[1] % features != 0 || kernel[0] % features != 0 || input[1] / features != kernel[1]) {
    return fail(ErrorCode::bad_shape, "a kernel with " + std::to_string(kernel[1]) + " input and " +
                                          std::to_string(kernel[0]) +
                                          " output features does not fit an input with " +
                                          std::to_string(input[1]) + " features in " +
                                          std::to_string(features) + " groups");
  }
  return {};
}

Result<Convolution> convolution_of(const Dims& input_shape, const Dims& kernel_shape,
                                   const AttrView& attrs) {
  const std::size_t rank = input_shape.size();
  if (rank < 2 || kernel_shape.size() != rank) {
    return fail(ErrorCode::bad_shape, "input and kernel must have the same rank, at least 2, got " +
                                          to_string(input_shape) + " and " +
                                          to_string(kernel_shape));
  }
  Convolution conv;
  OUTRIGGER_TRY(conv.input_order, order_of(attrs, "input_permutation", rank));
  OUTRIGGER_TRY(conv.kernel_order, order_of(attrs, "kernel_permutation", rank));
  OUTRIGGER_TRY(conv.output_order, order_of(attrs, "output_permutation", rank));
  conv.feature_groups = attrs.integer("feature_group_size", 1);
  conv.batch_groups = attrs.integer("batch_group_size", 1);
  const Dims input = in_order(input_shape, conv.input_order);
  const Dims kernel = in_order(kernel_shape, conv.kernel_order);
  OUTRIGGER_CHECK(check_groups(conv, input, kernel));

  const std::size_t space = rank - 2;
  Windows windows;
  windows.window = Dims(kernel.begin() + 2, kernel.end());
  OUTRIGGER_TRY(windows.strides, per_axis(attrs, "strides", space, 1));
  OUTRIGGER_TRY(windows.dilations, per_axis(attrs, "kernel_dilation", space, 1));
  OUTRIGGER_TRY(conv.input_dilation, per_axis(attrs, "input_dilation", space, 1));
  OUTRIGGER_TRY(windows.low, per_axis(attrs, "padding_low", space, 0));
  OUTRIGGER_TRY(windows.high, per_axis(attrs, "padding_high", space, 0));
  Dims dilated;
  for (std::size_t axis = 0; axis < space; ++axis) {
    const std::int64_t dim = input[axis + 2];
    const Wide extent = Wide{std::max<std::int64_t>(dim - 1, 0)} * conv.input_dilation[axis] +
                        std::min<std::int64_t>(dim, 1);
    if (conv.input_dilation[axis] < 1 || extent > std::numeric_limits<std::int64_t>::max()) {
      return fail(ErrorCode::bad_shape,
                  "input dilation " + std::to_string(conv.input_dilation[axis]) +
                      " of an axis of size " + std::to_string(dim) + " is impossible");
    }
    dilated.push_back(static_cast<std::int64_t>(extent));
  }
  OUTRIGGER_TRY(conv.windows, fit_windows(std::move(windows), dilated));
  conv.out = {input[0] / conv.batch_groups, kernel[0]};
  conv.out.append(conv.windows.out);
  return conv;
}

Result<Inferred> infer_conv(const InferCall& call) {
  OUTRIGGER_TRY(const Convolution conv,
                convolution_of(call.type(0).shape, call.type(1).shape, call.attrs));
  TensorType result{to_floating(merged_dtype(call.in)), Dims(conv.out.size())};
  for (std::size_t i = 0; i < conv.out.size(); ++i) {
    result.shape[static_cast<std::size_t>(conv.output_order[i])] = conv.out[i];
  }
  OUTRIGGER_CHECK(check_shape(result.shape, size_of(result.dtype)));
  Inferred inferred;
  for (const InferOperand& operand : call.in) {
    // Real operands are converted while tiles are assembled.
    const bool as_it_is = operand.literal == nullptr && !is_complex(result.dtype);
    inferred.operands.push_back(as_it_is ? operand.type.dtype : result.dtype);
  }
  inferred.results.push_back(std::move(result));
  return inferred;
}

template <typename T>
Result<void> convolve(Context& context, const Convolution& conv, const Tensor& input,
                      const Tensor& weights, const Tensor& out,
                      const ConvConversions& conversions) {
  const ConvKernel<T> kernel(conv, input, weights.shape()[1], out, conversions);
  const auto threads = static_cast<std::size_t>(context.threads);
  const auto packed_bytes = static_cast<std::size_t>(kernel.packed_size()) * sizeof(T);
  const auto scratch_bytes = static_cast<std::size_t>(kernel.scratch_size()) * sizeof(T);
  OUTRIGGER_TRY(const BufferPtr packed, context.memory.allocate(packed_bytes));
  OUTRIGGER_TRY(const BufferPtr scratch, context.memory.allocate(scratch_bytes * threads));
  auto* filters = reinterpret_cast<T*>(packed->data());
  auto* spaces = reinterpret_cast<T*>(scratch->data());
  OUTRIGGER_CHECK(looking_ranges(context, kernel.filter_blocks(), 16, kernel.packed_size(),
                                 [&](int, std::int64_t begin, std::int64_t end) {
                                   return kernel.pack(weights, begin, end, filters,
                                                      context.interrupt);
                                 }));
  return looking_ranges(context, kernel.tasks(), 1, kernel.work(),
                        [&](int thread, std::int64_t begin, std::int64_t end) {
                          T* const space = spaces + thread * kernel.scratch_size();
                          for (std::int64_t task = begin; task < end; ++task) {
                            if (!kernel.task(task, filters, space, context.interrupt)) return false;
                          }
                          return true;
                        });
}

template <typename F>
decltype(auto) with_conv_type(DType dtype, F&& f) {
  if (is_complex(dtype)) return with_complex_type(dtype, f);
  return compute_dtype(dtype) == DType::f32 ? f(type_tag<float>{}) : f(type_tag<double>{});
}

Result<void> run_conv(const RunCall& call) {
  OUTRIGGER_TRY(const Convolution conv,
                convolution_of(call.in[0].shape(), call.in[1].shape(), call.attrs));
  if (call.out[0].size() == 0) return {};
  const Tensor input = permute(call.in[0], conv.input_order);
  const Tensor kernel = permute(call.in[1], conv.kernel_order);
  const Tensor out = permute(call.out[0], conv.output_order);
  const DType dtype = out.dtype();
  const DType compute = compute_dtype(dtype);
  const Conversion from_input(input.dtype(), compute);
  const Conversion from_kernel(kernel.dtype(), compute);
  const Conversion to_output(compute, dtype);
  const auto if_any = [](const Conversion& c) { return c.none() ? nullptr : &c; };
  const ConvConversions conversions{if_any(from_input), if_any(from_kernel), if_any(to_output)};
  return with_conv_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return convolve<T>(call.context, conv, input, kernel, out, conversions);
  });
}

std::uint64_t conv_scratch(const ScratchCall& call) {
  const auto conv = convolution_of(call.in[0].type->shape, call.in[1].type->shape, call.attrs);
  if (!conv) return 0;
  const std::int64_t features =
      call.in[1].type->shape[static_cast<std::size_t>(conv->kernel_order[1])];
  const Tensor none{};
  return with_conv_type(call.out[0].dtype, [&](auto tag) {
    return ConvKernel<typename decltype(tag)::type>(*conv, none, features, none, {})
        .scratch_bytes(call.threads);
  });
}

}  // namespace

void add_conv_rows(std::vector<OpRow>& rows) {
  const AttrType ints = AttrType::integers;
  rows.push_back(OpRow{
      .name = "conv",
      .family = "dot",
      .kind = Kind::compute,
      .operands = {{"tensor"}, {"kernel"}},
      .attrs =
          {{"strides", ints, false, "",
            "step from window to window along each axis of space; "
            "by default 1"},
           {"padding_low", ints, false, "",
            "padding before each axis of space, after the input's dilation; by default 0. "
            "Negative padding cuts off"},
           {"padding_high", ints, false, "", "padding behind each axis of space; by default 0"},
           {"input_dilation", ints, false, "", "distance of the input's elements; by default 1"},
           {"kernel_dilation", ints, false, "", "distance of the kernel's elements; by default 1"},
           {"feature_group_size", AttrType::integer, false, "1",
            "number of groups of features that are convolved separately"},
           {"batch_group_size", AttrType::integer, false, "1",
            "number of groups of the batch; each is convolved with its part of the filters"},
           {"input_permutation", ints, false, "",
            "the tensor's axes in the order batch, feature, space…"},
           {"kernel_permutation", ints, false, "",
            "the kernel's axes in the order output feature, input feature, space…"},
           {"output_permutation", ints, false, "",
            "the result's axes in the order batch, feature, space…"}},
      .any_dtype = true,
      .complex = true,
      .cost = Cost::quadratic,
      .infer = infer_conv,
      .run = run_conv,
      .scratch = conv_scratch,
      .doc = "Convolution of a tensor [batch][feature][space…] with a kernel [output "
             "feature][input feature][space…], as in machine learning: the kernel is not reversed. "
             "The number of axes of space is free. Both operands are converted to their common "
             "dtype; integers become f32; small floats are summed in f32 and rounded once. Padding "
             "counts as 0. Shapes and groups that do not agree, and windows that do not fit, are "
             "errors (`bad_shape`). Tiles of the input are assembled to panels (im2col) and "
             "multiplied by the packed kernel. The op takes memory for the packed kernel, and for "
             "a tile of each thread."});
}

}  // namespace outrigger::ops
