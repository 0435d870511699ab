#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>

#include <boost/container/static_vector.hpp>

#include "ops/catalogue.hpp"
#include "ops/conv_kernel.hpp"
#include "ops/kernels.hpp"
#include "ops/scratch.hpp"
#include "ops/shapes.hpp"
#include "ops/windows.hpp"

namespace outrigger::ops {
namespace {

/// A convolution with its operands' axes in the order batch, feature, space… and output feature,
/// input feature, space…
struct Convolution {
  Dims input_order, kernel_order, output_order;
  /// Over the input's space; low and high padding count after the input's dilation.
  Windows windows;
  Dims input_dilation;
  std::int64_t feature_groups = 1;
  std::int64_t batch_groups = 1;
  /// The result in the order batch, output feature, space…
  Dims out;
};

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
  inferred.operands = {result.dtype, result.dtype};
  inferred.results.push_back(std::move(result));
  return inferred;
}

/// A run of positions of a tile that lie beside each other along the last axis of the output's
/// space and in one panel.
struct Segment {
  Dims at;  ///< of the first position, in the output's space
  std::int64_t to = 0;
  std::int64_t length = 0;
};

/// Works out tiles of the output: the elements that its windows see, put together to panels
/// (im2col), times the kernel.
template <typename T>
class ConvKernel {
 public:
  using Panel = ConvPanel<T>;

  /// `input` and `out` have the axes that the convolution works on.
  ConvKernel(const Convolution& conv, const Tensor& input, std::int64_t features, const Tensor& out)
      : conv_(conv),
        input_(input),
        out_(out),
        space_(conv.windows.out.size()),
        features_(features) {
    filters_ = conv.out[1] / (conv.feature_groups * conv.batch_groups);
    depth_ = features_ * conv.windows.taps();
    positions_ = element_count(conv.windows.out);
    // A tile's sums stay in the L2 cache together with its panels.
    const std::int64_t fitting = tile_sums / std::max<std::int64_t>(1, filters_);
    tile_ = std::clamp<std::int64_t>(fitting / Panel::width, 1, tile_panels) * Panel::width;
    tiles_ = (positions_ + tile_ - 1) / tile_;
    filter_blocks_ = (filters_ + Panel::height - 1) / Panel::height;
  }

  std::uint64_t scratch_bytes(int threads) const {
    constexpr auto width = static_cast<std::int64_t>(sizeof(T));
    return buffer_bytes(packed_size() * width) + buffer_bytes(scratch_size() * width * threads);
  }
  std::int64_t groups() const { return conv_.feature_groups * conv_.batch_groups; }
  std::int64_t tasks() const { return conv_.out[0] * groups() * tiles_; }
  std::int64_t work() const { return element_count(conv_.out) * std::max<std::int64_t>(1, depth_); }
  /// Elements of the packed kernel, and of each thread's scratch.
  std::int64_t packed_size() const { return groups() * filter_blocks_ * Panel::height * depth_; }
  std::int64_t scratch_size() const {
    return tile_ * (depth_block + filter_blocks_ * Panel::height);
  }

  /// Filters `height` at a time, their elements side by side: [group][block][depth][height].
  void pack(const Tensor& kernel, std::int64_t begin, std::int64_t end, T* packed) const {
    const std::int64_t taps = conv_.windows.taps();
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t group = block / filter_blocks_;
      const std::int64_t first = block % filter_blocks_ * Panel::height;
      T* to = packed + block * depth_ * Panel::height;
      for (std::int64_t k = 0; k < depth_; ++k) {
        std::int64_t offset = k / taps * kernel.strides[1];
        std::int64_t rest = k % taps;
        for (std::size_t axis = space_; axis-- > 0; rest /= conv_.windows.window[axis]) {
          offset += rest % conv_.windows.window[axis] * kernel.strides[axis + 2];
        }
        for (std::int64_t f = 0; f < Panel::height; ++f) {
          const std::int64_t filter = group * filters_ + first + f;
          *to++ = first + f < filters_ ? kernel.as<T>()[offset + filter * kernel.strides[0]] : T{0};
        }
      }
    }
  }

  std::int64_t filter_blocks() const { return groups() * filter_blocks_; }

  void task(std::int64_t index, const T* packed, T* scratch) const {
    const std::int64_t tile = index % tiles_;
    const std::int64_t group = index / tiles_ % groups();
    const std::int64_t batch = index / tiles_ / groups();
    const std::int64_t first = tile * tile_;
    const std::int64_t count = std::min(tile_, positions_ - first);
    const std::int64_t panels = (count + Panel::width - 1) / Panel::width;
    Segments segments;
    cut(first, count, segments);
    T* columns = scratch;
    T* sums = scratch + tile_ * depth_block;
    const T* filters = packed + group * filter_blocks_ * depth_ * Panel::height;
    if (depth_ == 0) std::fill_n(sums, filter_blocks_ * Panel::height * tile_, T{0});
    for (std::int64_t k = 0; k < depth_; k += depth_block) {
      const std::int64_t depth = std::min(depth_block, depth_ - k);
      if (count % Panel::width != 0) {
        std::fill_n(columns + (panels - 1) * depth * Panel::width, depth * Panel::width, T{0});
      }
      for (std::int64_t i = 0; i < depth; ++i) {
        gather(batch, group, k + i, segments, columns + i * Panel::width, depth * Panel::width);
      }
      for (std::int64_t block = 0; block < filter_blocks_; ++block) {
        const T* a = filters + (block * depth_ + k) * Panel::height;
        const std::int64_t rows =
            std::min<std::int64_t>(Panel::height, filters_ - block * Panel::height);
        for (std::int64_t p = 0; p < panels; ++p) {
          Panel::multiply(a, columns + p * depth * Panel::width,
                          sums + block * Panel::height * tile_ + p * Panel::width, tile_, depth,
                          rows, k > 0);
        }
      }
    }
    for (std::int64_t f = 0; f < filters_; ++f) {
      store(batch, group * filters_ + f, segments, sums + f * tile_);
    }
  }

 private:
  /// Panels of a tile, elements that their columns are multiplied with at a time, and sums of a
  /// tile.
  static constexpr std::int64_t tile_panels = 8;
  static constexpr std::int64_t depth_block = 256;
  static constexpr std::int64_t tile_sums = std::int64_t{1} << 16;

  /// No more than the positions of a tile: one is at least one of them.
  using Segments = boost::container::static_vector<Segment, tile_panels * Panel::width>;

  void cut(std::int64_t first, std::int64_t count, Segments& segments) const {
    const Dims& shape = conv_.windows.out;
    for (std::int64_t i = 0; i < count;) {
      Segment segment;
      segment.at.resize(space_);
      std::int64_t rest = first + i;
      for (std::size_t axis = space_; axis-- > 0; rest /= shape[axis]) {
        segment.at[axis] = rest % shape[axis];
      }
      const std::int64_t row = space_ == 0 ? 1 : shape[space_ - 1] - segment.at[space_ - 1];
      segment.to = i;
      segment.length = std::min({row, count - i, Panel::width - i % Panel::width});
      segments.push_back(segment);
      i += segment.length;
    }
  }

  /// What element k (feature and tap) of the windows of all segments is: a row of each panel.
  void gather(std::int64_t batch, std::int64_t group, std::int64_t k, const Segments& segments,
              T* row, std::int64_t panel_size) const {
    const Windows& windows = conv_.windows;
    const std::int64_t taps = windows.taps();
    const std::int64_t feature = group / conv_.batch_groups * features_ + k / taps;
    const std::int64_t image = group % conv_.batch_groups * conv_.out[0] + batch;
    const T* from = input_.as<T>() + image * input_.strides[0] + feature * input_.strides[1];
    Dims tap(space_);
    std::int64_t rest = k % taps;
    for (std::size_t axis = space_; axis-- > 0; rest /= windows.window[axis]) {
      tap[axis] = rest % windows.window[axis];
    }
    for (const Segment& segment : segments) {
      T* to = row + segment.to / Panel::width * panel_size + segment.to % Panel::width;
      gather_segment(from, tap, segment, to);
    }
  }

  void gather_segment(const T* from, const Dims& tap, const Segment& segment, T* to) const {
    const Windows& windows = conv_.windows;
    const std::int64_t n = segment.length;
    if (space_ == 0) {
      *to = *from;
      return;
    }
    const std::size_t last = space_ - 1;
    bool inside = true;
    for (std::size_t axis = 0; axis < last; ++axis) {
      const std::int64_t at = windows.position(axis, segment.at[axis], tap[axis]);
      const std::int64_t source = at / conv_.input_dilation[axis];
      inside = inside && at >= 0 && source * conv_.input_dilation[axis] == at &&
               source < input_.shape()[axis + 2];
      from += source * input_.strides[axis + 2];
    }
    if (!inside) {
      std::fill_n(to, n, T{0});
      return;
    }
    const std::int64_t dim = input_.shape()[last + 2];
    const std::int64_t stride = input_.strides[last + 2];
    const std::int64_t step = windows.strides[last];
    const std::int64_t dilation = conv_.input_dilation[last];
    const std::int64_t start = windows.position(last, segment.at[last], tap[last]);
    if (dilation != 1) {
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t at = start + i * step;
        const bool hit = at >= 0 && at % dilation == 0 && at / dilation < dim;
        to[i] = hit ? from[at / dilation * stride] : T{0};
      }
      return;
    }
    if (start >= 0 && start + (n - 1) * step < dim) {
      from += start * stride;
      if (step * stride == 1 && n == Panel::width) {
        std::memcpy(to, from, sizeof(T) * Panel::width);
      } else if (step * stride == 1) {
        OUTRIGGER_INDEPENDENT
        for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
      } else {
        for (std::int64_t i = 0; i < n; ++i) to[i] = from[i * step * stride];
      }
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t at = start + i * step;
      to[i] = at >= 0 && at < dim ? from[at * stride] : T{0};
    }
  }

  void store(std::int64_t batch, std::int64_t filter, const Segments& segments,
             const T* sums) const {
    T* base = out_.as<T>() + batch * out_.strides[0] + filter * out_.strides[1];
    for (const Segment& segment : segments) {
      T* to = base;
      for (std::size_t axis = 0; axis < space_; ++axis) {
        to += segment.at[axis] * out_.strides[axis + 2];
      }
      const std::int64_t stride = space_ == 0 ? 1 : out_.strides[space_ + 1];
      const T* from = sums + segment.to;
      if (stride == 1) {
        std::copy_n(from, segment.length, to);
      } else {
        for (std::int64_t i = 0; i < segment.length; ++i) to[i * stride] = from[i];
      }
    }
  }

  const Convolution& conv_;
  const Tensor& input_;
  const Tensor& out_;
  std::size_t space_;
  std::int64_t features_ = 1;
  std::int64_t filters_ = 1;
  std::int64_t depth_ = 1;
  std::int64_t positions_ = 1;
  std::int64_t tile_ = 1;
  std::int64_t tiles_ = 1;
  std::int64_t filter_blocks_ = 1;
};

template <typename T>
Result<void> convolve(Context& context, const Convolution& conv, const Tensor& input,
                      const Tensor& weights, const Tensor& out) {
  const ConvKernel<T> kernel(conv, input, weights.shape()[1], out);
  const auto threads = static_cast<std::size_t>(context.threads);
  const auto packed_bytes = static_cast<std::size_t>(kernel.packed_size()) * sizeof(T);
  const auto scratch_bytes = static_cast<std::size_t>(kernel.scratch_size()) * sizeof(T);
  OUTRIGGER_TRY(const BufferPtr packed, context.memory.allocate(packed_bytes));
  OUTRIGGER_TRY(const BufferPtr scratch, context.memory.allocate(scratch_bytes * threads));
  auto* filters = reinterpret_cast<T*>(packed->data());
  auto* spaces = reinterpret_cast<T*>(scratch->data());
  OUTRIGGER_CHECK(parallel_ranges(context, kernel.filter_blocks(), 16, kernel.packed_size(),
                                  [&](int, std::int64_t begin, std::int64_t end) {
                                    kernel.pack(weights, begin, end, filters);
                                  }));
  return parallel_ranges(context, kernel.tasks(), 1, kernel.work(),
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t task = begin; task < end; ++task)
                             kernel.task(task, filters, spaces + thread * kernel.scratch_size());
                         });
}

Result<void> run_conv(const RunCall& call) {
  OUTRIGGER_TRY(const Convolution conv,
                convolution_of(call.in[0].shape(), call.in[1].shape(), call.attrs));
  if (call.out[0].size() == 0) return {};
  const Tensor input = permute(call.in[0], conv.input_order);
  const Tensor kernel = permute(call.in[1], conv.kernel_order);
  const Tensor out = permute(call.out[0], conv.output_order);
  if (out.dtype() == DType::f32) return convolve<float>(call.context, conv, input, kernel, out);
  return convolve<double>(call.context, conv, input, kernel, out);
}

std::uint64_t conv_scratch(const ScratchCall& call) {
  const auto conv = convolution_of(call.in[0].type->shape, call.in[1].type->shape, call.attrs);
  if (!conv) return 0;
  const std::int64_t features =
      call.in[1].type->shape[static_cast<std::size_t>(conv->kernel_order[1])];
  const Tensor none{};
  if (call.out[0].dtype == DType::f32)
    return ConvKernel<float>(*conv, none, features, none).scratch_bytes(call.threads);
  return ConvKernel<double>(*conv, none, features, none).scratch_bytes(call.threads);
}

}  // namespace

void register_conv(std::vector<OpRow>& rows) {
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
            "groups of features that are convolved apart"},
           {"batch_group_size", AttrType::integer, false, "1",
            "groups of the batch that are convolved with a part of the filters each"},
           {"input_permutation", ints, false, "",
            "the tensor's axes in the order batch, feature, space…"},
           {"kernel_permutation", ints, false, "",
            "the kernel's axes in the order output feature, input feature, space…"},
           {"output_permutation", ints, false, "",
            "the result's axes in the order batch, feature, space…"}},
      .infer = infer_conv,
      .run = run_conv,
      .scratch = conv_scratch,
      .doc =
          "Convolution of a tensor [batch][feature][space…] with a kernel [output feature][input "
          "feature][space…], as in machine learning: the kernel is not reversed. Any number of "
          "axes of space. Both meet in one dtype; integers become f32. Padding counts as 0. "
          "Shapes and groups that do not fit, and windows of which none fits, are `bad_shape`. "
          "Tiles of the input are put together to panels (im2col) and multiplied with the packed "
          "kernel; it takes memory for that kernel and for a tile of each thread."});
}

}  // namespace outrigger::ops
