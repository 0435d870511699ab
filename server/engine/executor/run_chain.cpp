#include <algorithm>
#include <cassert>
#include <limits>
#include <mutex>

#include "engine/planner/chain.hpp"
#include "ops/pass/reduction.hpp"

namespace outrigger::engine {
namespace {

using Tensors = boost::container::small_vector<Tensor, 8>;
std::span<const Tensor> span_of(const Tensors& tensors) { return {tensors.data(), tensors.size()}; }

/// Rows [first, first + n) of a tensor along an axis, as a window onto it.
Tensor window(const Tensor& tensor, std::size_t axis, std::int64_t first, std::int64_t n) {
  Tensor rows = tensor;
  rows.type.shape[axis] = n;
  rows.offset += first * tensor.strides[axis];
  return rows;
}

/// The part of one thread in a chain: it carries out blocks, with temporaries for the values that
/// are not made in their place.
class Lane {
 public:
  Lane(const ops::Context& team, const Plan& plan, const ChainStep& step)
      : context_{team.memory, team.interrupt, 1, scratch_, team.compile, team.stream_from},
        chain_(*step.chain),
        steps_(step.members->steps),
        values_(chain_.values.size()) {
    for (const Chain::Value& value : chain_.values)
      types_.push_back(rows_of(plan.types[value.slot], value.axis, chain_.block_rows));
  }
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  Result<void> allocate() {
    temporaries_.resize(values_.size());
    for (std::size_t m = 0; m < steps_.size(); ++m) {
      if (steps_[m].is<ViewStep>()) continue;
      for (const std::uint32_t v : chain_.members[m].out) {
        if (chain_.values[v].direct) continue;
        OUTRIGGER_TRY(temporaries_[v], allocate_tensor(context_.memory, types_[v]));
      }
    }
    return {};
  }

  Result<void> block(std::int64_t index, std::span<const Tensor> operands,
                     std::span<const Tensor> results) {
    first_ = index * chain_.block_rows;
    rows_ = chain_.rows_of(index);
    for (std::size_t m = 0; m < steps_.size(); ++m) OUTRIGGER_CHECK(member(m, operands, results));
    return {};
  }

 private:
  Result<void> member(std::size_t m, std::span<const Tensor> operands,
                      std::span<const Tensor> results) {
    const Step& step = steps_[m];
    const Chain::Member& member = chain_.members[m];
    if (step.is<ViewStep>()) {
      const std::uint32_t to = member.out[0];
      const TensorType type = rows_of(types_[to], chain_.values[to].axis, rows_);
      const Dims strides = contiguous_strides(type.shape);
      const Tensor& from = values_[*member.in[0].value];
      values_[to] = view_of(from, type, strides, from.offset, true);
      return {};
    }
    Tensors in, out;
    for (const Chain::Operand& from : member.in) in.push_back(operand(from, operands));
    for (const std::uint32_t v : member.out) {
      values_[v] = place(v, results);
      out.push_back(values_[v]);
    }
    if (const auto* compute = step.as<ComputeStep>()) {
      OUTRIGGER_CHECK(step.row->run(
          {context_, span_of(in), span_of(out), ops::AttrView(*compute->attrs), compute->compute}));
    } else {
      assert(step.is<PassStep>());
      const ops::Pass& pass = rows_ == chain_.block_rows ? member.pass : member.last_pass;
      OUTRIGGER_CHECK(ops::run_pass(context_, pass, span_of(in), span_of(out)));
    }
    for (const std::uint32_t v : member.out) {
      const Chain::Value& value = chain_.values[v];
      if (!value.escapes || value.direct) continue;
      const Tensor to = window(results[*value.result], value.axis, first_, rows_);
      OUTRIGGER_CHECK(ops::copy_tensor(context_, values_[v], to));
    }
    return {};
  }

  Tensor operand(const Chain::Operand& operand, std::span<const Tensor> operands) const {
    if (operand.value) return values_[*operand.value];
    const Tensor& tensor = operands[operand.outside];
    return operand.axis ? window(tensor, *operand.axis, first_, rows_) : tensor;
  }

  /// The memory for the block's rows of a value.
  Tensor place(std::uint32_t v, std::span<const Tensor> results) const {
    const Chain::Value& value = chain_.values[v];
    if (value.direct) return window(results[*value.result], value.axis, first_, rows_);
    Tensor rows = temporaries_[v];
    if (rows_ != chain_.block_rows) {
      rows.type = rows_of(std::move(rows.type), value.axis, rows_);
      rows.strides = contiguous_strides(rows.type.shape);
    }
    return rows;
  }

  std::vector<std::byte> scratch_;
  ops::Context context_;
  const Chain& chain_;
  const std::vector<Step>& steps_;
  std::vector<TensorType> types_;  ///< of a block's values
  std::vector<Tensor> temporaries_;
  std::vector<Tensor> values_;
  std::int64_t first_ = 0;
  std::int64_t rows_ = 0;
};

}  // namespace

Result<void> run_chain(ops::Context& context, const Plan& plan, const ChainStep& step,
                       std::span<const Tensor> in, std::span<const Tensor> out) {
  std::vector<std::unique_ptr<Lane>> lanes;
  for (int thread = 0; thread < context.threads; ++thread) {
    lanes.push_back(std::make_unique<Lane>(context, plan, step));
    OUTRIGGER_CHECK(lanes.back()->allocate());
  }
  std::mutex mutex;
  std::optional<Error> first_error;
  const auto run = [&](int thread, std::int64_t begin, std::int64_t) {
    if (auto done = lanes[static_cast<std::size_t>(thread)]->block(begin, in, out); !done) {
      const std::lock_guard lock(mutex);
      if (!first_error) first_error = std::move(done).error();
    }
  };
  const std::int64_t work = std::numeric_limits<std::int32_t>::max();
  OUTRIGGER_CHECK(ops::parallel_ranges(context, step.chain->blocks(), 1, work, run));
  if (first_error) return tl::make_unexpected(std::move(*first_error));
  return {};
}

std::uint64_t chain_scratch(const ChainStep& step, const Plan& plan, int threads) {
  const Chain& chain = *step.chain;
  const std::vector<Step>& steps = step.members->steps;
  std::uint64_t each = 0;
  for (std::size_t m = 0; m < steps.size(); ++m) {
    if (steps[m].is<ViewStep>()) continue;
    boost::container::small_vector<TensorType, 4> out;
    for (const std::uint32_t v : chain.members[m].out) {
      const Chain::Value& value = chain.values[v];
      out.push_back(rows_of(plan.types[value.slot], value.axis, chain.block_rows));
      if (!value.direct)
        each += Memory::capacity_of(static_cast<std::size_t>(byte_count(out.back())));
    }
    if (steps[m].is<PassStep>()) each += ops::reductions_scratch(chain.members[m].pass);
    const auto* compute = steps[m].as<ComputeStep>();
    if (compute == nullptr || steps[m].row->scratch == nullptr) continue;
    // The members run one after the other, so the sum is more than they take together. The
    // difference is small.
    boost::container::small_vector<TensorType, 4> types;
    for (std::size_t i = 0; i < steps[m].in.size(); ++i) {
      const auto& axis = chain.members[m].in[i].axis;
      const TensorType& type = plan.types[steps[m].in[i]];
      types.push_back(axis ? rows_of(type, *axis, chain.block_rows) : type);
    }
    boost::container::small_vector<ops::ScratchOperand, 4> in;
    for (const TensorType& type : types) in.push_back({&type, false, false});
    each +=
        steps[m].row->scratch({std::span(in.data(), in.size()), std::span(out.data(), out.size()),
                               ops::AttrView(*compute->attrs), 1, compute->compute});
  }
  return each * static_cast<std::uint64_t>(threads);
}

}  // namespace outrigger::engine
