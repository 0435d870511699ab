#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/pass/pass.hpp"

namespace outrigger::ops {

/// Assigns slots of the scratch to the registers of a pass. Each input has its own slot for the
/// whole pass, because uniform inputs are filled only once. Other registers share a slot if their
/// lives do not overlap. The pass runs in `parts`; reads(part, f) and writes(part, f) call f with
/// the registers that the part reads and writes. Returns the number of slots.
template <typename Reads, typename Writes>
std::uint16_t assign_slots(const Pass& pass, std::size_t parts, std::vector<std::uint16_t>& slots,
                           Reads&& reads, Writes&& writes) {
  const std::size_t count = pass.registers.size();
  std::vector<std::size_t> last_use(count, 0);
  for (std::size_t i = 0; i < parts; ++i) reads(i, [&](Pass::Register r) { last_use[r] = i; });
  for (const Pass::Register r : pass.stores) last_use[r] = parts;
  for (const Pass::Reduction& reduction : pass.reductions) last_use[reduction.of] = parts;
  slots.assign(count, 0);
  std::uint16_t slot_count = 0;
  for (std::size_t r = 0; r < pass.inputs; ++r) slots[r] = slot_count++;
  std::vector<std::uint16_t> free_slots;
  std::vector<Pass::Register> living;
  for (std::size_t i = 0; i < parts; ++i) {
    writes(i, [&](Pass::Register r) {
      if (free_slots.empty()) free_slots.push_back(slot_count++);
      slots[r] = free_slots.back();
      free_slots.pop_back();
      living.push_back(r);
    });
    std::erase_if(living, [&](Pass::Register r) {
      if (last_use[r] != i) return false;
      free_slots.push_back(slots[r]);
      return true;
    });
  }
  return slot_count;
}

}  // namespace outrigger::ops
