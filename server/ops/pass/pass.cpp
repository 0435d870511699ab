#include "ops/pass/pass.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include <boost/container/small_vector.hpp>

#include "ops/pass/compile/pass_code.hpp"
#include "ops/pass/lag.hpp"
#include "ops/pass/reduction.hpp"
#include "ops/pass/run.hpp"
#include "ops/pass/run_single.hpp"
#include "ops/pass/slots.hpp"
#include "ops/support/scratch.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {

bool Pass::is_wanted(Register r) const {
  const auto is_reduced = [r](const Reduction& reduction) { return reduction.of == r; };
  return std::find(stores.begin(), stores.end(), r) != stores.end() ||
         std::any_of(reductions.begin(), reductions.end(), is_reduced);
}

void Pass::finish() {
  slot_count = assign_slots(
      *this, micro_ops.size(), slots,
      [this](std::size_t i, auto f) {
        const MicroOp& op = micro_ops[i];
        std::for_each(op.in.begin(), op.in.begin() + op.arity, f);
      },
      [this](std::size_t i, auto f) { f(micro_ops[i].out); });
  std::size_t width = 1;
  for (const DType dtype : registers) width = std::max(width, size_of(dtype));
  slot_bytes = static_cast<std::uint32_t>(width * tile_size);
  code = std::make_shared<PassCode>();
}

void run_single(const Pass& pass, std::span<std::byte* const> in, std::span<std::byte* const> out) {
  constexpr std::size_t element_max = 16;
  alignas(64) std::array<std::byte, pass_registers_max * element_max> values;
  std::array<std::byte*, pass_registers_max> registers;
  std::copy(in.begin(), in.end(), registers.begin());
  for (const Pass::MicroOp& op : pass.micro_ops) {
    registers[op.out] = values.data() + op.out * element_max;
    const std::array<const void*, 3> operands{registers[op.in[0]], registers[op.in[1]],
                                              registers[op.in[2]]};
    op.run(registers[op.out], operands.data(), 1);
  }
  // An output may share memory with an input that another output stores without a change.
  for (const Pass::Register r : pass.stores) {
    if (r >= pass.inputs) continue;
    std::byte* const kept = values.data() + r * element_max;
    if (registers[r] != kept) std::memcpy(kept, registers[r], size_of(pass.registers[r]));
    registers[r] = kept;
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Pass::Register r = pass.stores[i];
    std::memcpy(out[i], registers[r], size_of(pass.registers[r]));
  }
}

namespace {

/// The tiles of one task of a thread: 64 Ki elements.
constexpr std::int64_t tiles_per_chunk = 16;

using Inputs = boost::container::small_vector<Tensor, 8>;

bool overlaps_any(const Tensor& input, std::span<const Tensor> out) {
  return std::any_of(out.begin(), out.end(),
                     [&](const Tensor& output) { return overlap_differently(input, output); });
}

/// The inputs; one that overlaps an output in another layout is replaced by a copy.
Result<Inputs> inputs_apart(Context& context, std::span<const Tensor> in,
                            std::span<const Tensor> out) {
  Inputs inputs(in.begin(), in.end());
  for (Tensor& input : inputs) {
    if (!overlaps_any(input, out)) continue;
    OUTRIGGER_TRY(Tensor copy, allocate_tensor(context.memory, input.type));
    OUTRIGGER_CHECK(copy_tensor(context, input, copy));
    input = std::move(copy);
  }
  return inputs;
}

/// Runs a pass whose only output overlaps inputs at other positions. It takes at most
/// overlap_scratch().
Result<void> run_overlapping(Context& context, const Pass& pass, std::span<const Tensor> in,
                             std::span<const Tensor> out) {
  Inputs overlapping;
  std::uint64_t copies = 0;
  for (const Tensor& input : in) {
    if (!overlaps_any(input, out)) continue;
    overlapping.push_back(input);
    copies += copy_bytes(input.type);
  }
  const std::uint64_t result = copy_bytes(out[0].type);
  const auto lag =
      find_lag(pass, std::span(overlapping.data(), overlapping.size()), out[0], context.threads);
  if (lag && lag->scratch_bytes <= std::min(copies, result))
    return run_lagging(context, pass, in, out[0], *lag);
  if (copies > result) {
    OUTRIGGER_TRY(const Tensor apart, allocate_tensor(context.memory, out[0].type));
    OUTRIGGER_CHECK(run_pass(context, pass, in, std::span(&apart, 1)));
    return copy_tensor(context, apart, out[0]);
  }
  OUTRIGGER_TRY(const Inputs inputs, inputs_apart(context, in, out));
  return run_pass(context, pass, std::span(inputs.data(), inputs.size()), out);
}

/// A run, and the memory of each thread for it.
class Team {
 public:
  Team(Context& context, const Pass& pass, Inputs inputs, std::span<const Tensor> out,
       std::span<const std::int64_t> order, std::size_t own_bytes)
      : inputs_(std::move(inputs)),
        run_(pass, std::span(inputs_.data(), inputs_.size()), out, order, context),
        elements_(element_count(pass.space)),
        step_(run_.step()),
        own_bytes_((own_bytes + 63) / 64 * 64),
        bytes_(own_bytes_ + run_.scratch_bytes()),
        registers_(static_cast<std::size_t>(context.threads)),
        prepared_(static_cast<std::size_t>(context.threads), false) {
    scratch_ = aligned_scratch(context, bytes_ * static_cast<std::size_t>(context.threads));
  }

  std::byte* own(int thread) const { return scratch_ + static_cast<std::size_t>(thread) * bytes_; }

  void run(int thread, std::int64_t begin, std::int64_t end, std::int64_t unit, TileTaker* taker) {
    const auto t = static_cast<std::size_t>(thread);
    if (!prepared_[t]) {
      // Uniform inputs are written to registers once for each thread, at its first chunk.
      run_.prepare(own(thread) + own_bytes_, elements_, registers_[t]);
      prepared_[t] = true;
    }
    run_.tiles(begin, end, unit <= step_ ? step_ - step_ % unit : step_, registers_[t], taker);
  }

 private:
  Inputs inputs_;
  PassRun run_;
  std::int64_t elements_;
  std::int64_t step_;
  std::size_t own_bytes_;
  std::size_t bytes_;
  boost::container::small_vector<std::array<std::byte*, pass_registers_max>, 2> registers_;
  boost::container::small_vector<bool, 8> prepared_;
  std::byte* scratch_ = nullptr;
};

}  // namespace

Result<void> run_pass(Context& context, const Pass& pass, std::span<const Tensor> in,
                      std::span<const Tensor> out) {
  if (!pass.reductions.empty()) return run_reductions(context, pass, in, out);
  const std::int64_t n = element_count(pass.space);
  if (n == 0) return {};
  if (n == 1) {
    boost::container::small_vector<std::byte*, 8> from, to;
    for (const Tensor& tensor : in) from.push_back(tensor.data());
    for (const Tensor& tensor : out) to.push_back(tensor.data());
    run_single(pass, std::span(from.data(), from.size()), std::span(to.data(), to.size()));
    return {};
  }
  Inputs inputs(in.begin(), in.end());
  if (std::any_of(in.begin(), in.end(), [out](const Tensor& t) { return overlaps_any(t, out); })) {
    if (out.size() == 1) return run_overlapping(context, pass, in, out);
    OUTRIGGER_TRY(inputs, inputs_apart(context, in, out));
  }
  Team team(context, pass, std::move(inputs), out, {}, 0);
  const auto work = n * static_cast<std::int64_t>(1 + pass.micro_ops.size());
  return parallel_ranges(context, n, tile_size * tiles_per_chunk, work,
                         [&](int thread, std::int64_t begin, std::int64_t end) {
                           team.run(thread, begin, end, 1, nullptr);
                         });
}

std::uint64_t overlap_scratch(const Pass& pass, std::uint64_t copies) {
  if (pass.stores.size() != 1 || !pass.reductions.empty()) return copies;
  return std::min(copies, copy_bytes({pass.registers[pass.stores[0]], pass.space}));
}

struct BoundPass::State : Team {
  using Team::Team;
};

BoundPass::BoundPass(std::unique_ptr<State> state) : state_(std::move(state)) {}
BoundPass::BoundPass(BoundPass&&) noexcept = default;
BoundPass::~BoundPass() = default;

Result<BoundPass> BoundPass::bind(Context& context, const Pass& pass, std::span<const Tensor> in,
                                  std::span<const Tensor> out, std::span<const std::int64_t> order,
                                  std::size_t own_bytes) {
  OUTRIGGER_TRY(Inputs inputs, inputs_apart(context, in, out));
  return BoundPass(
      std::make_unique<State>(context, pass, std::move(inputs), out, order, own_bytes));
}

std::byte* BoundPass::own(int thread) const { return state_->own(thread); }

void BoundPass::run(int thread, std::int64_t begin, std::int64_t end, std::int64_t unit,
                    TileTaker& taker) const {
  state_->run(thread, begin, end, unit, &taker);
}

void read_elements(const Tensor& from, std::int64_t begin, std::int64_t n, void* bytes) {
  Dims dims = from.shape();
  std::array<Dims, 1> strides{from.strides};
  collapse(dims, strides);
  with_width(size_of(from.dtype()), [&](auto tag) {
    using T = typename decltype(tag)::type;
    gather_tile(static_cast<T*>(bytes), from.as<T>(), dims, strides[0], begin, n);
  });
}

}  // namespace outrigger::ops
