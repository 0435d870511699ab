#include "engine/session/small.hpp"

#include <algorithm>

namespace outrigger::engine {
namespace {

constexpr std::uint64_t small_work = 4096;
constexpr std::uint64_t small_bytes = std::uint64_t{256} << 10;
/// Arguments, results, operands: some 50 to 100 ns each.
constexpr std::size_t small_values = 128;
constexpr std::size_t planned_instructions = 32;
/// The limit for a program that is only checked, not planned.
constexpr std::size_t checked_instructions = 64;
constexpr std::size_t released_handles = 256;

/// Whether the region has at most so many instructions and values, which are taken off. Nobody
/// knows yet what a call is worth.
bool fits(const Region& region, std::size_t& instructions, std::size_t& values) {
  const std::size_t named = region.params.size() + region.outputs.size();
  if (region.body.size() > instructions || named > values) return false;
  instructions -= region.body.size();
  values -= named;
  return std::all_of(region.body.begin(), region.body.end(), [&](const Instruction& instruction) {
    const std::size_t operands = instruction.in.size() + instruction.out.size();
    if (instruction.op == "call" || operands > values) return false;
    values -= operands;
    return std::all_of(instruction.regions.begin(), instruction.regions.end(),
                       [&](const Region& inner) { return fits(inner, instructions, values); });
  });
}

bool fits(const Region& region, std::size_t instructions) {
  std::size_t values = 4 * small_values;
  return fits(region, instructions, values);
}

}  // namespace

bool may_be_small(const wire::Run& run) {
  if (run.args.size() + run.results.size() + run.donated.size() > small_values) return false;
  return !run.program || fits(*run.program, planned_instructions);
}

bool may_be_small(const decltype(wire::Request::body)& body, std::uint64_t bytes) {
  if (const auto* download = std::get_if<wire::Download>(&body))
    return download->length <= small_bytes;
  if (const auto* prepare = std::get_if<wire::Prepare>(&body))
    return prepare->program && fits(*prepare->program, checked_instructions);
  if (const auto* release = std::get_if<wire::Release>(&body))
    return release->handles.size() <= released_handles;
  if (std::holds_alternative<wire::Load>(body) || std::holds_alternative<wire::LoadRaw>(body) ||
      std::holds_alternative<wire::LoadCsv>(body) || std::holds_alternative<wire::Save>(body) ||
      std::holds_alternative<wire::SaveNpz>(body))
    return false;
  return bytes <= small_bytes;
}

bool is_planned_at_once(const Extent& extent) {
  return extent.instructions <= planned_instructions && extent.operands <= 4 * small_values;
}

bool is_small(const Plan& plan) { return plan.work <= small_work; }

}  // namespace outrigger::engine
