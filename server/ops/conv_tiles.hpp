#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <boost/container/static_vector.hpp>

#include "ops/conv_kernel.hpp"
#include "ops/kernels.hpp"
#include "ops/scratch.hpp"
#include "ops/windows.hpp"

namespace outrigger::ops {

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
        std::memcpy(static_cast<void*>(to), from, sizeof(T) * Panel::width);
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

}  // namespace outrigger::ops
