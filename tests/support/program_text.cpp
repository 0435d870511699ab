#include "support/program_text.hpp"

#include <sstream>

namespace outrigger::test {
namespace {

std::string operand_text(const Operand& operand) {
  if (const auto* id = std::get_if<ValueId>(&operand)) return "%" + std::to_string(*id);
  std::ostringstream text;
  text.precision(17);
  std::visit([&](auto number) { text << number; }, std::get<Number>(operand));
  return text.str();
}

template <typename Range, typename F>
std::string joined(const Range& range, F&& text) {
  std::string out;
  for (const auto& item : range) out += (out.empty() ? "" : ", ") + text(item);
  return out;
}

std::string attr_text(const AttrValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<Number>(&value)) return operand_text(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value)) {
    return "[" + joined(*list, [](std::int64_t i) { return std::to_string(i); }) + "]";
  }
  return "bytes";
}

}  // namespace

std::string to_text(const Program& program, int indent) {
  const std::string space(static_cast<std::size_t>(indent), ' ');
  const auto id = [](ValueId value) { return "%" + std::to_string(value); };
  std::string out = space + "params " + joined(program.params, id) + "\n";
  for (const Instruction& instruction : program.body) {
    out += space + joined(instruction.out, id) + " = " + instruction.op + "(" +
           joined(instruction.in, operand_text) + ")";
    for (const auto& [name, value] : instruction.attrs) out += " " + name + "=" + attr_text(value);
    if (instruction.in_place) out += " in place";
    out += "\n";
    for (const Region& region : instruction.regions) out += to_text(region, indent + 4);
  }
  return out + space + "outputs " + joined(program.outputs, id) + "\n";
}

}  // namespace outrigger::test
