#include "differential/whole.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "ops/op.hpp"

namespace outrigger::test {
namespace {

using List = std::vector<std::int64_t>;

/// The position of an element, with one number for each axis.
List position_of(const Dims& shape, std::int64_t index) {
  List position(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0; index /= shape[axis])
    position[axis] = index % shape[axis];
  return position;
}

std::int64_t index_of(const Dims& shape, const List& position) {
  std::int64_t index = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    index = index * shape[axis] + position[axis];
  return index;
}

class Check {
 public:
  Check(const Instruction& instruction, std::span<const Given> in, const Tensor& result)
      : op_(instruction.op),
        attrs_(instruction.attrs),
        in_(in),
        type_(result.type),
        got_(cells_of(result)) {}

  Verdict run() {
    if (op_ == "reshape" || op_ == "squeeze") {
      each([&](std::int64_t i) { return cast(0, i); });
    } else if (op_ == "transpose") {
      each([&](std::int64_t i) { return transposed(i); });
    } else if (op_ == "reverse") {
      each([&](std::int64_t i) { return reversed(i); });
    } else if (op_ == "slice") {
      each([&](std::int64_t i) { return sliced(i); });
    } else if (op_ == "concatenate") {
      each([&](std::int64_t i) { return concatenated(i); });
    } else if (op_ == "pad") {
      each([&](std::int64_t i) { return padded(i); });
    } else if (op_.starts_with("cumulative_")) {
      scan();
    } else if (op_ == "sort" || op_ == "argsort") {
      sort();
    } else if (op_ == "sum" || op_ == "product" || op_ == "reduce_max" || op_ == "reduce_min" ||
               op_ == "all" || op_ == "any") {
      reduce();
    }
    return std::move(verdict_);
  }

 private:
  /// The element of an operand, cast to the result's dtype.
  Cell cast(std::size_t operand, std::int64_t index) const {
    return cast_cell(in_[operand].cells[static_cast<std::size_t>(index)], in_[operand].type.dtype,
                     type_.dtype);
  }

  void compare(std::int64_t i, Cell expected, const Slack& slack) {
    verdict_.checked = true;
    if (verdict_.wrong) return;
    verdict_.wrong = disagreement(expected, got_[static_cast<std::size_t>(i)], type_.dtype, slack);
    if (verdict_.wrong) *verdict_.wrong += " in " + to_string(type_) + " at " + std::to_string(i);
  }

  template <typename F>
  void each(F&& expected) {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(got_.size()); ++i)
      compare(i, expected(i), {0, type_.dtype});
  }

  Cell transposed(std::int64_t i) const {
    const Dims& from = in_[0].type.shape;
    const auto axes = attrs_.integers("axes");
    const List to = position_of(type_.shape, i);
    List at(from.size());
    for (std::size_t axis = 0; axis < from.size(); ++axis) {
      const std::size_t source =
          axes.empty() ? from.size() - 1 - axis : static_cast<std::size_t>(axes[axis]);
      at[source] = to[axis];
    }
    return cast(0, index_of(from, at));
  }

  Cell reversed(std::int64_t i) const {
    List at = position_of(type_.shape, i);
    const auto axes = attrs_.integers("axes");
    for (std::size_t axis = 0; axis < at.size(); ++axis) {
      const bool turned = !attrs_.has("axes") ||
                          std::count(axes.begin(), axes.end(), static_cast<std::int64_t>(axis)) > 0;
      if (turned) at[axis] = type_.shape[axis] - 1 - at[axis];
    }
    return cast(0, index_of(type_.shape, at));
  }

  Cell sliced(std::int64_t i) const {
    const Dims& from = in_[0].type.shape;
    const auto lengths = attrs_.integers("lengths");
    const auto strides = attrs_.integers("strides");
    List at = position_of(type_.shape, i);
    for (std::size_t axis = 0; axis < at.size(); ++axis) {
      const auto wanted = static_cast<std::int64_t>(in_[axis + 1].cells[0].re);
      const std::int64_t start = std::clamp<std::int64_t>(wanted, 0, from[axis] - lengths[axis]);
      at[axis] = start + at[axis] * (strides.empty() ? 1 : strides[axis]);
    }
    return cast(0, index_of(from, at));
  }

  Cell concatenated(std::int64_t i) const {
    const auto axis = static_cast<std::size_t>(attrs_.integer("axis"));
    List at = position_of(type_.shape, i);
    std::size_t part = 0;
    while (at[axis] >= in_[part].type.shape[axis]) at[axis] -= in_[part++].type.shape[axis];
    return cast(part, index_of(in_[part].type.shape, at));
  }

  Cell padded(std::int64_t i) const {
    const Dims& from = in_[0].type.shape;
    const auto amount = [&](const char* name, std::size_t axis) {
      const auto all = attrs_.integers(name);
      return all.empty() ? 0 : all[axis];
    };
    List at = position_of(type_.shape, i);
    for (std::size_t axis = 0; axis < at.size(); ++axis) {
      const std::int64_t spread = amount("interior", axis) + 1;
      const std::int64_t inner = at[axis] - amount("low", axis);
      if (inner < 0 || inner % spread != 0 || inner / spread >= from[axis]) return cast(1, 0);
      at[axis] = inner / spread;
    }
    return cast(0, index_of(from, at));
  }

  /// Compares element i with the sum, product or other fold of cells, which have the operand's
  /// dtype.
  void fold(std::int64_t i, const Cells& cells) {
    const DType from = in_[0].type.dtype;
    if (is_complex(from)) return;
    const bool integer = is_integer(from);
    const bool product = op_.ends_with("product");
    if (op_.ends_with("sum") || product) {
      if (integer) return fold_integers(i, cells, product);
      long double exact = product ? 1 : 0;
      long double magnitude = product ? 1 : 0;
      for (const Cell& x : cells) {
        exact = product ? exact * x.re : exact + x.re;
        magnitude = product ? magnitude * std::fabs(x.re) : magnitude + std::fabs(x.re);
      }
      // Partial results may overflow or underflow in one order but not in another.
      const DType computed = type_.dtype == DType::f64 ? DType::f64 : DType::f32;
      const long double largest = computed == DType::f64 ? 1e300L : 1e37L;
      if (std::isfinite(magnitude) && magnitude > largest) return;
      long double exponents = 0;
      for (const Cell& x : cells) {
        if (x.re != 0 && std::isfinite(x.re)) exponents += std::fabs(std::logb(x.re));
      }
      if (product && exponents > 900) return;
      const auto n = static_cast<long double>(cells.size() + 1);
      const long double rounding = n * spacing(computed, 1.0L);
      return compare(i, {exact},
                     {1, computed, std::isfinite(magnitude) ? magnitude * rounding : 0});
    }
    const bool largest = op_.ends_with("max");
    if (largest || op_.ends_with("min")) {
      if (cells.empty()) return;
      Cell best = cells[0];
      for (const Cell& x : cells) {
        if (std::isnan(best.re)) break;
        if (std::isnan(x.re) || (largest ? x.re > best.re : x.re < best.re)) best = x;
      }
      // The sign of a zero is not defined.
      return compare(i, best, {0, type_.dtype, std::numeric_limits<long double>::denorm_min()});
    }
    const auto truth = [](const Cell& x) { return x.re != 0; };
    const bool all = op_ == "all" ? std::all_of(cells.begin(), cells.end(), truth)
                                  : std::any_of(cells.begin(), cells.end(), truth);
    compare(i, {all ? 1.0L : 0.0L}, {0, type_.dtype});
  }

  void fold_integers(std::int64_t i, const Cells& cells, bool product) {
    std::uint64_t exact = product ? 1 : 0;
    for (const Cell& x : cells) {
      const auto bits = x.re < 0 ? static_cast<std::uint64_t>(static_cast<std::int64_t>(x.re))
                                 : static_cast<std::uint64_t>(x.re);
      exact = product ? exact * bits : exact + bits;
    }
    const Cell whole{static_cast<long double>(exact)};
    compare(i, cast_cell(whole, DType::u64, type_.dtype), {0, type_.dtype});
  }

  void reduce() {
    const Dims& from = in_[0].type.shape;
    const auto axes = attrs_.integers("axes");
    const auto gone = [&](std::size_t axis) {
      return !attrs_.has("axes") ||
             std::count(axes.begin(), axes.end(), static_cast<std::int64_t>(axis)) > 0;
    };
    std::vector<Cells> groups(got_.size());
    for (std::size_t i = 0; i < in_[0].cells.size(); ++i) {
      const List at = position_of(from, static_cast<std::int64_t>(i));
      std::int64_t to = 0;
      for (std::size_t axis = 0; axis < from.size(); ++axis) {
        if (!gone(axis)) to = to * from[axis] + at[axis];
      }
      groups[static_cast<std::size_t>(to)].push_back(in_[0].cells[i]);
    }
    for (std::size_t i = 0; i < groups.size(); ++i) fold(static_cast<std::int64_t>(i), groups[i]);
  }

  /// Calls f(indices of the line's elements) for each line along the attribute's axis.
  template <typename F>
  void lines(F&& f) {
    const Dims& shape = in_[0].type.shape;
    const auto axis = static_cast<std::size_t>(attrs_.integer("axis"));
    std::int64_t inner = 1;
    for (std::size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
    const std::int64_t n = shape[axis];
    if (got_.empty()) return;
    for (std::int64_t line = 0; line < static_cast<std::int64_t>(got_.size()) / n; ++line) {
      std::vector<std::int64_t> indices(static_cast<std::size_t>(n));
      for (std::int64_t k = 0; k < n; ++k)
        indices[static_cast<std::size_t>(k)] = (line / inner * n + k) * inner + line % inner;
      f(indices);
    }
  }

  void scan() {
    // Each prefix is computed again from its beginning. This is slow, so that only short lines are
    // checked.
    if (in_[0].type.shape[static_cast<std::size_t>(attrs_.integer("axis"))] > 100) return;
    lines([&](std::vector<std::int64_t> indices) {
      if (attrs_.boolean("reverse")) std::reverse(indices.begin(), indices.end());
      Cells prefix;
      for (const std::int64_t index : indices) {
        prefix.push_back(in_[0].cells[static_cast<std::size_t>(index)]);
        fold(index, prefix);
      }
    });
  }

  void sort() {
    const bool down = attrs_.string("direction", "asc") == "desc";
    const auto before = [&](const Cell& a, const Cell& b) {
      const bool nan_a = std::isnan(a.re), nan_b = std::isnan(b.re);
      if (nan_a || nan_b) return down ? nan_a && !nan_b : nan_b && !nan_a;
      return down ? a.re > b.re : a.re < b.re;
    };
    lines([&](const std::vector<std::int64_t>& indices) {
      std::vector<std::size_t> order(indices.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      const auto cell = [&](std::size_t k) {
        return in_[0].cells[static_cast<std::size_t>(indices[k])];
      };
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return before(cell(a), cell(b)); });
      for (std::size_t k = 0; k < order.size(); ++k) {
        const Cell expected =
            op_ == "sort" ? cell(order[k]) : Cell{static_cast<long double>(order[k])};
        compare(indices[k], expected,
                {0, type_.dtype, std::numeric_limits<long double>::denorm_min()});
      }
    });
  }

  std::string_view op_;
  ops::AttrView attrs_;
  std::span<const Given> in_;
  TensorType type_;
  Cells got_;
  Verdict verdict_;
};

}  // namespace

Verdict check_whole(const Instruction& instruction, std::span<const Given> in,
                    const Tensor& result) {
  return Check(instruction, in, result).run();
}

}  // namespace outrigger::test
