#include <algorithm>

#include "ops/pass/compile/pass_code.hpp"
#include "ops/pass/slots.hpp"

namespace outrigger::ops {
namespace {

bool can_compile(const Pass& pass, const Pass::MicroOp& op, Isa isa) {
  if (op.record == nullptr) return false;
  Trace trace(isa);
  std::array<Trace::Id, 3> in{};
  for (std::size_t k = 0; k < op.arity; ++k) in[k] = trace.input(pass.registers[op.in[k]], k);
  op.record(trace, in.data());
  return trace.complete();
}

/// The levels of the micro-ops. In each level, the segment runs before the calls. A call has the
/// earliest possible level. A compiled micro-op has the level of its first use, so that few values
/// go through tiles.
std::vector<std::size_t> levels_of(const Pass& pass, const std::vector<bool>& compiled) {
  const std::size_t count = pass.micro_ops.size();
  std::vector<std::size_t> level(count, 0);
  for (std::size_t i = 0; i < count; ++i) {
    const Pass::MicroOp& op = pass.micro_ops[i];
    for (std::size_t k = 0; k < op.arity; ++k) {
      if (op.in[k] < pass.inputs) continue;
      const std::size_t maker = op.in[k] - pass.inputs;
      const std::size_t after = compiled[i] && !compiled[maker] ? 1 : 0;
      level[i] = std::max(level[i], level[maker] + after);
    }
  }
  constexpr std::size_t nobody = ~std::size_t{0};
  std::vector<std::size_t> needed(count, nobody);
  for (std::size_t i = count; i-- > 0;) {
    if (compiled[i] && needed[i] != nobody) level[i] = needed[i];
    const Pass::MicroOp& op = pass.micro_ops[i];
    for (std::size_t k = 0; k < op.arity; ++k) {
      if (op.in[k] < pass.inputs) continue;
      std::size_t& by = needed[op.in[k] - pass.inputs];
      by = std::min(by, level[i]);
    }
  }
  return level;
}

/// The micro-ops that an output needs.
std::vector<bool> live_of(const Pass& pass) {
  std::vector<bool> live(pass.micro_ops.size());
  for (std::size_t i = live.size(); i-- > 0;) {
    const Pass::MicroOp& op = pass.micro_ops[i];
    live[i] = live[i] || pass.is_wanted(op.out);
    for (std::size_t k = 0; live[i] && k < op.arity; ++k) {
      if (op.in[k] >= pass.inputs) live[op.in[k] - pass.inputs] = true;
    }
  }
  return live;
}

void add_once(std::vector<Pass::Register>& registers, Pass::Register r) {
  if (std::find(registers.begin(), registers.end(), r) == registers.end()) registers.push_back(r);
}

/// Finds the registers that the part reads from other parts, and those that other parts read from
/// it.
void connect(const Pass& pass, const std::vector<bool>& live, Schedule::Part& part) {
  const auto mine = [&](std::size_t position) {
    return std::find(part.micro_ops.begin(), part.micro_ops.end(), position) !=
           part.micro_ops.end();
  };
  for (const std::uint16_t position : part.micro_ops) {
    const Pass::MicroOp& op = pass.micro_ops[position];
    for (std::size_t k = 0; k < op.arity; ++k) {
      if (op.in[k] < pass.inputs || !mine(op.in[k] - pass.inputs)) add_once(part.in, op.in[k]);
    }
    bool needed = pass.is_wanted(op.out);
    for (std::size_t other = position + std::size_t{1}; other < pass.micro_ops.size(); ++other) {
      const Pass::MicroOp& user = pass.micro_ops[other];
      const auto* const end = user.in.begin() + user.arity;
      needed =
          needed || (live[other] && !mine(other) && std::find(user.in.begin(), end, op.out) != end);
    }
    if (needed) part.out.push_back(op.out);
  }
}

}  // namespace

Schedule::Schedule(const Pass& pass, Isa isa) {
  const std::size_t count = pass.micro_ops.size();
  std::vector<bool> compiled(count);
  for (std::size_t i = 0; i < count; ++i) compiled[i] = can_compile(pass, pass.micro_ops[i], isa);
  const std::vector<bool> live = live_of(pass);
  const std::vector<std::size_t> levels = levels_of(pass, compiled);
  const std::size_t last = count == 0 ? 0 : *std::max_element(levels.begin(), levels.end());
  for (std::size_t level = 0; level <= last; ++level) {
    Part segment;
    segment.segment = true;
    std::vector<Part> calls;
    for (std::size_t i = 0; i < count; ++i) {
      if (levels[i] != level || !live[i]) continue;
      const auto position = static_cast<std::uint16_t>(i);
      if (compiled[i])
        segment.micro_ops.push_back(position);
      else
        calls.emplace_back().micro_ops = {position};
    }
    if (!segment.micro_ops.empty()) parts.push_back(std::move(segment));
    std::move(calls.begin(), calls.end(), std::back_inserter(parts));
  }
  for (Part& part : parts) connect(pass, live, part);
  slot_count = assign_slots(
      pass, parts.size(), slots,
      [&](std::size_t i, auto f) { std::for_each(parts[i].in.begin(), parts[i].in.end(), f); },
      [&](std::size_t i, auto f) { std::for_each(parts[i].out.begin(), parts[i].out.end(), f); });
}

std::size_t Schedule::compiled() const {
  std::size_t sum = 0;
  for (const Part& part : parts) sum += part.segment ? part.micro_ops.size() : 0;
  return sum;
}

}  // namespace outrigger::ops
