#include "engine/session/small.hpp"

#include <algorithm>

namespace outrigger::engine {
namespace {

/// Arguments, results and operands take 50 to 100 ns each.
constexpr std::size_t small_values = 128;
constexpr std::size_t planned_instructions = 32;
/// The limit for a program that is only checked, not planned.
constexpr std::size_t checked_instructions = 64;
/// The frame of a kernel that is checked and compiled.
constexpr std::uint64_t checked_kernel_bytes = 2048;
constexpr std::size_t released_handles = 256;
/// Instructions of a program that is forgotten. It takes some 50 ns to free an instruction.
constexpr std::uint64_t forgotten_instructions = 256;

/// True if the region has at most so many instructions and values, and subtracts them. The size of
/// a called program is not known here: a call is too much. So is a kernel, which may loop.
bool fits(const Region& region, std::size_t& instructions, std::size_t& values) {
  const std::size_t named = region.params.size() + region.outputs.size();
  if (region.body.size() > instructions || named > values) return false;
  instructions -= region.body.size();
  values -= named;
  return std::all_of(region.body.begin(), region.body.end(), [&](const Instruction& instruction) {
    const std::size_t operands = instruction.in.size() + instruction.out.size();
    const bool calls = instruction.op == "call" || instruction.op == "kernel";
    if (calls || operands > values) return false;
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

bool may_be_small(const RequestBody& body, std::uint64_t bytes, const Programs& programs,
                  const Bounds& bounds) {
  return std::visit(
      Overloaded{
          [](const wire::Run& run) {
            return run.args.size() + run.results.size() + run.donated.size() <= small_values &&
                   (!run.program || fits(*run.program, planned_instructions));
          },
          [](const wire::Prepare& prepare) {
            return prepare.program && fits(*prepare.program, checked_instructions);
          },
          [&](const wire::Forget& forget) {
            const Extent* extent = programs.extent(forget.program_id);
            return extent == nullptr || extent->instructions <= forgotten_instructions;
          },
          [&](const wire::Download& download) { return download.length <= bounds.bytes; },
          [](const wire::Release& release) { return release.handles.size() <= released_handles; },
          [&](const wire::DefineKernel&) { return bytes <= checked_kernel_bytes; },
          [](const UsesFile auto&) { return false; },
          [](const OneOf<wire::ListNames, wire::Subscribe> auto&) { return false; },
          [](const AnsweredLater auto&) { return false; },
          [&](const auto&) { return bytes <= bounds.bytes; },
      },
      body);
}

bool is_planned_at_once(const Extent& extent) {
  return extent.instructions <= planned_instructions && extent.operands <= 4 * small_values;
}

}  // namespace outrigger::engine
