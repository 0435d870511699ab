#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include <boost/container/static_vector.hpp>

#include "ops/cast/conversion.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/product/conv_kernel.hpp"
#include "ops/support/look.hpp"
#include "ops/support/scratch.hpp"
#include "ops/window/windows.hpp"

namespace outrigger::ops {

/// A convolution whose operands have their axes in the orders batch, feature, space… and output
/// feature, input feature, space…
struct Convolution {
  Dims input_order, kernel_order, output_order;
  /// The windows over the space of the input. The low and the high padding apply after the input's
  /// dilation.
  Windows windows;
  Dims input_dilation;
  std::int64_t feature_groups = 1;
  std::int64_t batch_groups = 1;
  /// The shape of the result in the order batch, output feature, space…
  Dims out;
};

/// The conversions of the operands' elements for the kernel, and of the kernel's sums for the
/// result; null where the dtypes are equal.
struct ConvConversions {
  const Conversion* input = nullptr;
  const Conversion* kernel = nullptr;
  const Conversion* output = nullptr;
};

/// A run of positions in one panel of a tile that are adjacent along the last axis of the output's
/// space.
struct Segment {
  Dims at;  ///< first position, in the output's space
  std::int64_t to = 0;
  std::int64_t length = 0;
};

/// Computes tiles of the output: the elements of the windows, assembled to panels (im2col), times
/// the kernel.
template <typename T>
class ConvKernel {
 public:
  using Panel = ConvPanel<T>;

  /// The axes of `input` and `out` are in the orders of the Convolution.
  ConvKernel(const Convolution& conv, const Tensor& input, std::int64_t features, const Tensor& out,
             const ConvConversions& conversions)
      : conv_(conv),
        input_(input),
        out_(out),
        conversions_(conversions),
        space_(conv.windows.out.size()),
        features_(features) {
    filters_ = conv.out[1] / (conv.feature_groups * conv.batch_groups);
    depth_ = features_ * conv.windows.taps();
    positions_ = element_count(conv.windows.out);
    // The sums and the panels of a tile fit the L2 cache together.
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
  /// The elements of the packed kernel, and of each thread's scratch.
  std::int64_t packed_size() const { return groups() * filter_blocks_ * Panel::height * depth_; }
  std::int64_t scratch_size() const {
    return tile_ * (depth_block + filter_blocks_ * Panel::height);
  }

  /// Packs the filters, `height` of them side by side: [group][block][depth][height]. Returns false
  /// if it was interrupted.
  bool pack(const Tensor& kernel, std::int64_t begin, std::int64_t end, T* packed,
            const Interrupt& interrupt) const {
    Look look(interrupt);
    const std::int64_t taps = conv_.windows.taps();
    for (std::int64_t block = begin; block < end; ++block) {
      const std::int64_t group = block / filter_blocks_;
      const std::int64_t first = block % filter_blocks_ * Panel::height;
      T* to = packed + block * depth_ * Panel::height;
      for (std::int64_t k = 0; k < depth_; ++k) {
        if (!look.go_on(Panel::height)) return false;
        std::int64_t offset = k / taps * kernel.strides[1];
        std::int64_t rest = k % taps;
        for (std::size_t axis = space_; axis-- > 0; rest /= conv_.windows.window[axis]) {
          offset += rest % conv_.windows.window[axis] * kernel.strides[axis + 2];
        }
        const std::int64_t stride = kernel.strides[0];
        const std::int64_t count = std::min(Panel::height, filters_ - first);
        offset += (group * filters_ + first) * stride;
        if (const Conversion* const conversion = conversions_.kernel) {
          const auto width = static_cast<std::int64_t>(conversion->from_width());
          conversion->gather(kernel.data() + offset * width, stride, to, count);
        } else {
          for (std::int64_t f = 0; f < count; ++f) to[f] = kernel.as<T>()[offset + f * stride];
        }
        std::fill_n(to + count, Panel::height - count, T{0});
        to += Panel::height;
      }
    }
    return true;
  }

  std::int64_t filter_blocks() const { return groups() * filter_blocks_; }

  /// Returns false if it was interrupted.
  bool task(std::int64_t index, const T* packed, T* scratch, const Interrupt& interrupt) const {
    Look look(interrupt);
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
        if (!look.go_on(2 * count)) return false;
        load(batch, group, k + i, segments, columns + i * Panel::width, depth * Panel::width);
      }
      for (std::int64_t block = 0; block < filter_blocks_; ++block) {
        const T* a = filters + (block * depth_ + k) * Panel::height;
        const std::int64_t rows =
            std::min<std::int64_t>(Panel::height, filters_ - block * Panel::height);
        if (!look.go_on(depth * rows * count / 8)) return false;
        for (std::int64_t p = 0; p < panels; ++p) {
          Panel::multiply(a, columns + p * depth * Panel::width,
                          sums + block * Panel::height * tile_ + p * Panel::width, tile_, depth,
                          rows, k > 0);
        }
      }
    }
    for (std::int64_t f = 0; f < filters_; ++f) {
      if (!look.go_on(count)) return false;
      put(batch, group * filters_ + f, segments, sums + f * tile_, count);
    }
    return true;
  }

 private:
  /// The panels of a tile, the depth of one product with them, and the sums of a tile.
  static constexpr std::int64_t tile_panels = 8;
  static constexpr std::int64_t depth_block = 256;
  static constexpr std::int64_t tile_sums = std::int64_t{1} << 16;

  /// There are at most as many segments as positions of a tile, because each segment has at least
  /// one position.
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

  /// The elements of a tile in the dtype of the memory, before or after a conversion.
  static constexpr std::int64_t tile_max = tile_panels * Panel::width;
  template <typename S>
  using Line = std::array<S, static_cast<std::size_t>(tile_max)>;

  /// Loads element k (a feature and a tap) of the windows of all segments, as a row of each panel.
  void load(std::int64_t batch, std::int64_t group, std::int64_t k, const Segments& segments,
            T* row, std::int64_t panel_size) const {
    if (conversions_.input == nullptr) return gather<T>(batch, group, k, segments, row, panel_size);
    if constexpr (!is_complex_v<T>) {
      const std::int64_t count = segments.back().to + segments.back().length;
      Line<T> line;
      with_width(conversions_.input->from_width(), [&](auto tag) {
        using S = typename decltype(tag)::type;
        Line<S> as_it_is;
        gather<S>(batch, group, k, segments, as_it_is.data(), Panel::width);
        conversions_.input->run(as_it_is.data(), line.data(), count);
      });
      for (std::int64_t i = 0; i < count; i += Panel::width, row += panel_size)
        std::copy_n(line.data() + i, std::min(Panel::width, count - i), row);
    }
  }

  /// load() for elements of type S, with 0 in the padding.
  template <typename S>
  void gather(std::int64_t batch, std::int64_t group, std::int64_t k, const Segments& segments,
              S* row, std::int64_t panel_size) const {
    const Windows& windows = conv_.windows;
    const std::int64_t taps = windows.taps();
    const std::int64_t feature = group / conv_.batch_groups * features_ + k / taps;
    const std::int64_t image = group % conv_.batch_groups * conv_.out[0] + batch;
    const S* from = input_.as<S>() + image * input_.strides[0] + feature * input_.strides[1];
    Dims tap(space_);
    std::int64_t rest = k % taps;
    for (std::size_t axis = space_; axis-- > 0; rest /= windows.window[axis]) {
      tap[axis] = rest % windows.window[axis];
    }
    for (const Segment& segment : segments) {
      S* to = row + segment.to / Panel::width * panel_size + segment.to % Panel::width;
      gather_segment(from, tap, segment, to);
    }
  }

  template <typename S>
  void gather_segment(const S* from, const Dims& tap, const Segment& segment, S* to) const {
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
      std::fill_n(to, n, S{});
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
        to[i] = hit ? from[at / dilation * stride] : S{};
      }
      return;
    }
    if (start >= 0 && start + (n - 1) * step < dim) {
      from += start * stride;
      if (step * stride == 1 && n == Panel::width) {
        std::memcpy(static_cast<void*>(to), from, sizeof(S) * Panel::width);
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
      to[i] = at >= 0 && at < dim ? from[at * stride] : S{};
    }
  }

  void put(std::int64_t batch, std::int64_t filter, const Segments& segments, const T* sums,
           std::int64_t count) const {
    if (conversions_.output == nullptr) return store<T>(batch, filter, segments, sums);
    if constexpr (!is_complex_v<T>) {
      with_width(conversions_.output->to_width(), [&](auto tag) {
        using S = typename decltype(tag)::type;
        Line<S> line;
        conversions_.output->run(sums, line.data(), count);
        store<S>(batch, filter, segments, line.data());
      });
    }
  }

  template <typename S>
  void store(std::int64_t batch, std::int64_t filter, const Segments& segments,
             const S* sums) const {
    S* base = out_.as<S>() + batch * out_.strides[0] + filter * out_.strides[1];
    for (const Segment& segment : segments) {
      S* to = base;
      for (std::size_t axis = 0; axis < space_; ++axis) {
        to += segment.at[axis] * out_.strides[axis + 2];
      }
      const std::int64_t stride = space_ == 0 ? 1 : out_.strides[space_ + 1];
      const S* from = sums + segment.to;
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
  ConvConversions conversions_;
  std::size_t space_;
  std::int64_t features_ = 1;
  std::int64_t filters_ = 1;
  std::int64_t depth_ = 1;
  std::int64_t positions_ = 1;
  std::int64_t tile_ = 1;
  std::int64_t tiles_ = 1;
  std::int64_t filter_blocks_ = 1;
};

}  // namespace outrigger::ops
