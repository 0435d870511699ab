#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "engine/planner/chain.hpp"
#include "ops/pass/reduction.hpp"

// The part of engine/planner/chain.cpp that decides which steps may be in one chain.

namespace outrigger::engine {

/// Bytes of a row of a chain. The values of a longer row would not stay in the cache.
inline constexpr std::int64_t row_bytes_max = std::int64_t{1} << 20;
/// Bytes of an operand that each block of an op needs as a whole.
inline constexpr std::int64_t whole_bytes_max = std::int64_t{1} << 16;
inline constexpr std::size_t members_max = 16;

inline constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

/// Bytes of a type, cut so that sums of them do not overflow: a type may be larger than any memory.
inline std::int64_t countable(const TensorType& type) {
  return std::min(byte_count(type), std::int64_t{1} << 48);
}

inline std::int64_t leading_product(const TensorType& type, std::size_t axis) {
  return element_count(std::span(type.shape).first(axis));
}

/// Steps of a block that may become a chain.
class Candidate {
 public:
  Candidate(const std::vector<Step>& steps, const Plan& plan, std::int64_t rows)
      : steps_(&steps), plan_(&plan), rows_(rows) {}

  /// Adds the step at that position if it can be a member. The first step is cut along `axis`.
  bool join(std::size_t position, std::size_t axis = nowhere) {
    if (members_.size() == members_max) return false;
    const Step& step = (*steps_)[position];
    Chain::Member member;
    std::vector<std::size_t> out_axes;
    if (has_effects(step) || !find_axes(step, axis, member, out_axes)) return false;
    for (std::size_t o = 0; o < step.out.size(); ++o) {
      member.out.push_back(static_cast<std::uint32_t>(values_.size()));
      values_.push_back({.slot = step.out[o].slot, .axis = out_axes[o]});
    }
    members_.push_back(std::move(member));
    positions_.push_back(position);
    return true;
  }

  bool makes(Slot slot) const { return value_of(slot).has_value(); }
  bool empty() const { return members_.empty(); }
  std::size_t size() const { return members_.size(); }
  std::size_t end() const { return positions_.back() + 1; }
  bool has(std::size_t position) const {
    return std::find(positions_.begin(), positions_.end(), position) != positions_.end();
  }

  /// Finds the values that steps outside use. A view cannot be such a value: the chain ends before
  /// it.
  void close(const std::vector<std::size_t>& last_uses) {
    while (!members_.empty()) {
      std::size_t cut = members_.size();
      for (std::size_t m = 0; m < members_.size(); ++m) {
        const bool view = is_view(m);
        bool used = false;
        for (const std::uint32_t v : members_[m].out) {
          values_[v].escapes = last_uses[values_[v].slot] >= end();
          used = used || values_[v].escapes;
        }
        if (view && (used || m + 1 == members_.size())) cut = std::min(cut, m);
      }
      if (cut == members_.size()) break;
      members_.resize(cut);
      positions_.resize(cut);
      values_.resize(cut == 0 ? 0 : members_.back().out.back() + 1);
    }
    for (std::size_t m = 0; m < members_.size(); ++m) {
      for (std::size_t o = 0; o < members_[m].out.size(); ++o) {
        Chain::Value& value = values_[members_[m].out[o]];
        value.direct = value.escapes && (rows_together(value) || stores_anywhere(m, o, value));
      }
    }
  }

  /// Bytes that the chain does not write to memory and read again.
  std::int64_t saved() const {
    std::int64_t bytes = 0;
    for (std::size_t m = 0; m < members_.size(); ++m) {
      if (is_view(m)) continue;
      for (const std::uint32_t v : members_[m].out) {
        if (!values_[v].escapes) bytes += countable(plan_->types[values_[v].slot]);
      }
    }
    return bytes;
  }

  /// The chain; nothing if there is no good size for its blocks.
  std::optional<Chain> finish(int threads, std::int64_t block_bytes) {
    const std::int64_t row_bytes = bytes_per_row();
    if (row_bytes > row_bytes_max) return std::nullopt;
    const std::int64_t most = std::max<std::int64_t>(1, rows_ / (std::int64_t{4} * threads));
    const std::int64_t wanted = std::clamp<std::int64_t>(block_bytes / row_bytes, 1, most);
    constexpr std::int64_t tries = 16;
    for (std::int64_t n = wanted; n < std::min(wanted + tries, rows_); ++n) {
      Chain chain{rows_, n, values_, members_};
      if (fill(chain)) return chain;
    }
    return std::nullopt;
  }

 private:
  bool is_view(std::size_t member) const { return (*steps_)[positions_[member]].is<ViewStep>(); }

  std::optional<std::uint32_t> value_of(Slot slot) const {
    const auto found = std::find_if(values_.begin(), values_.end(),
                                    [slot](const Chain::Value& v) { return v.slot == slot; });
    if (found == values_.end()) return std::nullopt;
    return static_cast<std::uint32_t>(found - values_.begin());
  }

  bool find_axes(const Step& step, std::size_t axis, Chain::Member& member,
                 std::vector<std::size_t>& out_axes) const {
    if (const auto* kind = step.as<PassStep>())
      return pass(step, *kind->pass, axis, member, out_axes);
    if (const auto* kind = step.as<ComputeStep>())
      return compute(step, *kind, axis, member, out_axes);
    return step.is<ViewStep>() && view(step, member, out_axes);
  }

  /// Operands of a pass broadcast to its space: their axes are its last ones.
  bool pass(const Step& step, const ops::Pass& pass, std::size_t axis, Chain::Member& member,
            std::vector<std::size_t>& out_axes) const {
    const Dims& space = pass.space;
    const auto shift = [&](Slot slot) { return space.size() - plan_->types[slot].shape.size(); };
    for (const Slot slot : step.in) {
      const auto value = value_of(slot);
      if (!value) continue;
      const std::size_t wanted = values_[*value].axis + shift(slot);
      if (axis != nowhere && axis != wanted) return false;
      axis = wanted;
    }
    if (axis >= space.size() || space[axis] != rows_) return false;
    bool any = false;
    for (const Slot slot : step.in) {
      Chain::Operand operand{.value = value_of(slot)};
      if (axis >= shift(slot) && plan_->types[slot].shape[axis - shift(slot)] == rows_)
        operand.axis = axis - shift(slot);
      any = any || operand.axis;
      member.in.push_back(operand);
    }
    if (!any) return false;
    for (std::size_t o = 0; o < step.out.size(); ++o) {
      if (o < pass.stores.size()) {
        out_axes.push_back(axis);
      } else if (const auto kept =
                     kept_axis(pass.folding, space, axis, plan_->types[step.out[o].slot])) {
        out_axes.push_back(*kept);
      } else {
        return false;
      }
    }
    return true;
  }

  /// The position of an axis in the result of a reduction.
  std::optional<std::size_t> kept_axis(const ops::Folding& folding, const Dims& space,
                                       std::size_t axis, const TensorType& result) const {
    const auto whole = ops::folding_of_rows(folding, space, axis, rows_);
    if (!whole) return std::nullopt;
    const std::size_t kept = whole->outer ? axis : axis - (space.size() - result.shape.size());
    if (kept >= result.shape.size() || result.shape[kept] != rows_) return std::nullopt;
    return kept;
  }

  /// An op whose results depend on the rows of its first operand, or a reduction that is a step.
  bool compute(const Step& step, const ComputeStep& kind, std::size_t axis, Chain::Member& member,
               std::vector<std::size_t>& out_axes) const {
    if (step.in.empty() || step.out.size() != 1) return false;
    const auto value = value_of(step.in[0]);
    if (value && axis == nowhere) axis = values_[*value].axis;
    const TensorType& type = plan_->types[step.in[0]];
    if (axis >= type.shape.size() || type.shape[axis] != rows_) return false;
    member.in.push_back({.value = value, .axis = axis});
    for (std::size_t i = 1; i < step.in.size(); ++i) {
      if (makes(step.in[i]) || byte_count(plan_->types[step.in[i]]) > whole_bytes_max) return false;
      member.in.push_back({});
    }
    std::optional<std::size_t> kept;
    if (step.row->reduction != nullptr) {
      kept = kept_axis(folding_of(step, kind), type.shape, axis, plan_->types[step.out[0].slot]);
    } else if (step.row->sliced_axis != nullptr) {
      boost::container::small_vector<ops::InferOperand, 2> operands;
      for (const Slot slot : step.in) operands.push_back(ops::InferOperand{plan_->types[slot]});
      const std::span span(operands.data(), operands.size());
      kept = step.row->sliced_axis(ops::InferCall{span, ops::AttrView(*kind.attrs)}, axis);
    }
    if (!kept) return false;
    out_axes.push_back(*kept);
    return true;
  }

  ops::Folding folding_of(const Step& step, const ComputeStep& kind) const {
    return step.row
        ->reduction(plan_->types[step.in[0]], plan_->types[step.out[0].slot].dtype,
                    ops::AttrView(*kind.attrs))
        .folding;
  }

  /// A value of the chain in another shape that has the same rows.
  bool view(const Step& step, Chain::Member& member, std::vector<std::size_t>& out_axes) const {
    if (!step.row->keeps_order || step.in.size() != 1) return false;
    const auto value = value_of(step.in[0]);
    if (!value) return false;
    const std::int64_t before = leading_product(plan_->types[step.in[0]], values_[*value].axis);
    const TensorType& to = plan_->types[step.out[0].slot];
    for (std::size_t axis = 0; axis < to.shape.size(); ++axis) {
      if (to.shape[axis] != rows_ || leading_product(to, axis) != before) continue;
      member.in.push_back({.value = value, .axis = values_[*value].axis});
      out_axes.push_back(axis);
      return true;
    }
    return false;
  }

  /// True if some rows of the value are in C order in the whole value.
  bool rows_together(const Chain::Value& value) const {
    return leading_product(plan_->types[value.slot], value.axis) == 1;
  }

  /// True if a pass stores the value, and no view of it needs C order.
  bool stores_anywhere(std::size_t member, std::size_t o, const Chain::Value& value) const {
    const Step& step = (*steps_)[positions_[member]];
    const auto* pass = step.as<PassStep>();
    if (pass == nullptr || o >= pass->pass->stores.size()) return false;
    for (std::size_t m = 0; m < members_.size(); ++m) {
      if (is_view(m) && (*steps_)[positions_[m]].in[0] == value.slot) return false;
    }
    return true;
  }

  std::int64_t bytes_per_row() const {
    std::int64_t bytes = 1;
    std::vector<Slot> seen;
    const auto count = [&](Slot slot) {
      if (std::find(seen.begin(), seen.end(), slot) != seen.end()) return;
      seen.push_back(slot);
      bytes += countable(plan_->types[slot]) / rows_;
    };
    for (std::size_t m = 0; m < members_.size(); ++m) {
      const Step& step = (*steps_)[positions_[m]];
      for (std::size_t i = 0; i < step.in.size(); ++i) {
        if (members_[m].in[i].axis) count(step.in[i]);
      }
      if (is_view(m)) continue;
      for (const Output& output : step.out) count(output.slot);
    }
    return bytes;
  }

  /// Makes the members' passes for blocks of that size. False if a result would have other bits.
  bool fill(Chain& chain) const {
    const std::int64_t last = chain.rows_of(chain.blocks() - 1);
    for (std::size_t m = 0; m < chain.members.size(); ++m) {
      const Step& step = (*steps_)[positions_[m]];
      Chain::Member& member = chain.members[m];
      if (const auto* pass = step.as<PassStep>()) {
        const std::size_t axis = space_axis(step, pass->pass->space, member);
        if (!shrink(*pass->pass, axis, chain.block_rows, member.pass)) return false;
        if (!shrink(*pass->pass, axis, last, member.last_pass)) return false;
      } else if (const auto* compute = step.as<ComputeStep>()) {
        if (!fits(step, *compute, *member.in[0].axis, chain.block_rows, last)) return false;
      }
    }
    return true;
  }

  /// True if an op gives the same bits for blocks of so many rows, and for the last block.
  bool fits(const Step& step, const ComputeStep& kind, std::size_t axis, std::int64_t rows,
            std::int64_t last) const {
    if (step.row->reduction == nullptr) return std::min(rows, last) >= 2;
    const Dims& space = plan_->types[step.in[0]].shape;
    const ops::Folding folding = folding_of(step, kind);
    return ops::folding_of_rows(folding, space, axis, rows).has_value() &&
           ops::folding_of_rows(folding, space, axis, last).has_value();
  }

  std::size_t space_axis(const Step& step, const Dims& space, const Chain::Member& member) const {
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      if (!member.in[i].axis) continue;
      return *member.in[i].axis + space.size() - plan_->types[step.in[i]].shape.size();
    }
    return nowhere;  // not reached: each pass has an operand with the rows of its space
  }

  static bool shrink(const ops::Pass& pass, std::size_t axis, std::int64_t rows, ops::Pass& to) {
    to = pass;
    to.space[axis] = rows;
    if (pass.reductions.empty()) return true;
    const auto folding = ops::folding_of_rows(pass.folding, pass.space, axis, rows);
    if (folding) to.folding = folding->folding;
    return folding.has_value();
  }

  const std::vector<Step>* steps_;
  const Plan* plan_;
  std::int64_t rows_;
  std::vector<Chain::Value> values_;
  std::vector<Chain::Member> members_;
  std::vector<std::size_t> positions_;
};

}  // namespace outrigger::engine
