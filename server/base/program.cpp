#include "base/program.hpp"

namespace outrigger {
namespace {

std::uint64_t held_bytes(const AttrValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text->capacity();
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value))
    return list->capacity() * sizeof(std::int64_t);
  if (const auto* data = std::get_if<Bytes>(&value)) return data->capacity();
  return 0;
}

}  // namespace

std::uint64_t held_bytes(const Instruction& instruction) {
  std::uint64_t bytes = sizeof(Instruction) + instruction.in.capacity() * sizeof(Operand) +
                        instruction.out.capacity() * sizeof(ValueId) + instruction.op.capacity();
  for (const auto& [name, value] : instruction.attrs)
    bytes += sizeof(Attrs::value_type) + name.capacity() + held_bytes(value);
  return bytes;
}

std::uint64_t held_bytes(const Region& region) {
  std::uint64_t bytes =
      sizeof(Region) + (region.params.capacity() + region.outputs.capacity()) * sizeof(ValueId);
  for (const Instruction& instruction : region.body) {
    bytes += held_bytes(instruction);
    for (const Region& inner : instruction.regions) bytes += held_bytes(inner);
  }
  return bytes;
}

}  // namespace outrigger
