#include <cstddef>

#include "kernel/code.hpp"

namespace outrigger::kernel {
namespace {

/// Walks the statements and expressions in their order. A variable has the register of its number;
/// an expression has one behind them, by its position; more follow.
class Compiler {
 public:
  Compiler(const CheckedKernel& kernel, const CheckedUnit& unit) : kernel_(kernel), unit_(unit) {
    out_.registers.assign(slots() + nodes().size(), 0);
  }

  Compiled run() {
    block(static_cast<std::uint32_t>(kernel_.kernel.blocks.size() - 1));
    emit({.op = Op::give_back, .a = list({})});
    return std::move(out_);
  }

 private:
  struct Loop {
    std::vector<std::size_t> breaks;
    std::vector<std::size_t> continues;
  };

  const std::vector<Node>& nodes() const { return kernel_.kernel.nodes; }
  std::size_t slots() const { return kernel_.kernel.slots.size(); }
  Type type_of(std::uint32_t at) const { return kernel_.types[at]; }

  std::size_t emit(const Instruction& instruction) {
    out_.instructions.push_back(instruction);
    return out_.instructions.size() - 1;
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(out_.instructions.size()); }
  void land(std::size_t jump) { out_.instructions[jump].c = here(); }

  std::uint32_t hidden() {
    out_.registers.push_back(0);
    return static_cast<std::uint32_t>(out_.registers.size() - 1);
  }

  std::uint32_t list(std::vector<Typed> registers) {
    out_.lists.push_back(std::move(registers));
    return static_cast<std::uint32_t>(out_.lists.size() - 1);
  }

  std::uint32_t list_of(const std::vector<std::uint32_t>& operands, std::size_t from) {
    return list(typed(operands, from));
  }

  std::vector<Typed> typed(const std::vector<std::uint32_t>& operands, std::size_t from) {
    std::vector<Typed> all;
    for (std::size_t i = from; i < operands.size(); ++i)
      all.push_back({expression(operands[i]), type_of(operands[i])});
    return all;
  }

  void move(std::uint32_t dst, std::uint32_t from) {
    emit({.op = Op::move, .dst = dst, .a = from});
  }

  /// The register with the value of an expression, which the code before has computed.
  std::uint32_t expression(std::uint32_t at) {
    const Node& n = nodes()[at];
    const auto own = static_cast<std::uint32_t>(slots() + at);
    switch (n.what) {
      case What::number:
        out_.registers[own] = n.bits;
        return own;
      // No variable changes while an expression is evaluated.
      case What::slot:
        return n.at;
      case What::dim:
        out_.dims.emplace_back(own, n.at);
        return own;
      case What::size:
        out_.sizes.push_back({own, {n.at, n.operands[0]}});
        return own;
      case What::load: {
        const std::uint32_t indices = list_of(n.operands, 0);
        emit({.op = Op::load, .dst = own, .a = n.at, .b = indices, .line = n.line});
        return own;
      }
      case What::as: {
        const std::uint32_t from = expression(n.operands[0]);
        Instruction instruction{.op = Op::unary, .dst = own, .a = from};
        instruction.f1 = conversion(type_of(n.operands[0]), n.type);
        emit(instruction);
        return own;
      }
      case What::logical_and:
      case What::logical_or: {
        move(own, expression(n.operands[0]));
        const Op op = n.what == What::logical_and ? Op::jump_if_not : Op::jump_if;
        const std::size_t done = emit({.op = op, .a = own});
        move(own, expression(n.operands[1]));
        land(done);
        return own;
      }
      case What::select: {
        const std::size_t no = emit_if_not(n.operands[0]);
        move(own, expression(n.operands[1]));
        const std::size_t done = emit({.op = Op::jump});
        land(no);
        move(own, expression(n.operands[2]));
        land(done);
        return own;
      }
      case What::call:
        return call(n);
      default:
        return operation(n, own);
    }
  }

  std::size_t emit_if_not(std::uint32_t condition) {
    const std::uint32_t reg = expression(condition);
    return emit({.op = Op::jump_if_not, .a = reg});
  }

  std::uint32_t operation(const Node& n, std::uint32_t own) {
    const Type type = type_of(n.operands[0]);
    const std::uint32_t a = expression(n.operands[0]);
    if (n.operands.size() == 1) {
      Instruction instruction{.op = Op::unary, .dst = own, .a = a};
      instruction.f1 = unary_operation(n.what, type);
      emit(instruction);
      return own;
    }
    const std::uint32_t b = expression(n.operands[1]);
    const bool divides = n.what == What::quotient || n.what == What::remainder;
    Instruction instruction{
        .op = divides ? Op::divide : Op::binary, .dst = own, .a = a, .b = b, .line = n.line};
    instruction.f2 = binary_operation(n.what, type);
    emit(instruction);
    return own;
  }

  /// The register of the first result.
  std::uint32_t call(const Node& n) {
    CallSite site{.kernel = n.at, .given = {}, .results = {}};
    for (const Argument& argument : n.arguments) {
      CallSite::Given given{.is_tensor = argument.is_tensor, .at = argument.at, .indices = {}};
      if (argument.is_tensor)
        given.indices = typed(argument.indices, 0);
      else
        given.at = expression(argument.at);
      site.given.push_back(std::move(given));
    }
    for (std::size_t i = 0; i < unit_.kernels[n.at].kernel.results.size(); ++i)
      site.results.push_back(hidden());
    const std::uint32_t first = site.results.empty() ? 0 : site.results.front();
    out_.calls.push_back(std::move(site));
    emit({.op = Op::call, .a = static_cast<std::uint32_t>(out_.calls.size() - 1), .line = n.line});
    return first;
  }

  void block(std::uint32_t number) {
    for (const std::uint32_t at : kernel_.kernel.blocks[number]) statement(nodes()[at]);
  }

  void statement(const Node& n) {
    switch (n.what) {
      case What::set:
        move(n.at, expression(n.operands[0]));
        return;
      case What::store: {
        const std::uint32_t value = expression(n.operands[0]);
        const std::uint32_t indices = list_of(n.operands, 1);
        emit({.op = Op::store, .dst = value, .a = n.at, .b = indices, .line = n.line});
        return;
      }
      case What::if_: {
        const std::size_t no = emit_if_not(n.operands[0]);
        block(n.operands[1]);
        const std::size_t done = emit({.op = Op::jump});
        land(no);
        block(n.operands[2]);
        land(done);
        return;
      }
      case What::while_: {
        const std::uint32_t top = here();
        emit({.op = Op::poll, .line = n.line});
        block(n.operands[0]);
        const std::size_t exit = emit_if_not(n.operands[1]);
        loops_.emplace_back();
        block(n.operands[2]);
        for (const std::size_t jump : loops_.back().continues) out_.instructions[jump].c = top;
        emit({.op = Op::jump, .c = top});
        land(exit);
        leave();
        return;
      }
      case What::for_:
        range(n);
        return;
      case What::break_:
        loops_.back().breaks.push_back(emit({.op = Op::jump}));
        return;
      case What::continue_:
        loops_.back().continues.push_back(emit({.op = Op::jump}));
        return;
      case What::return_: {
        const std::uint32_t values = list_of(n.operands, 0);
        emit({.op = Op::give_back, .a = values});
        return;
      }
      case What::raise: {
        const std::uint32_t values = list_of(n.operands, 0);
        emit({.op = Op::fail, .a = n.at, .b = values, .line = n.line});
        return;
      }
      default: {
        const Node& callee = nodes()[n.operands[0]];
        call(callee);
        const std::vector<std::uint32_t> results = out_.calls.back().results;
        for (std::size_t i = 1; i < n.operands.size(); ++i) move(n.operands[i], results[i - 1]);
      }
    }
  }

  /// The counter, the end and the step are registers of their own: the body may bind the variables
  /// that gave them.
  void range(const Node& n) {
    const std::uint32_t counter = hidden();
    const std::uint32_t end = hidden();
    const std::uint32_t step = hidden();
    move(counter, expression(n.operands[0]));
    move(end, expression(n.operands[1]));
    move(step, expression(n.operands[2]));
    const std::size_t exit =
        emit({.op = Op::begin_range, .dst = counter, .a = end, .b = step, .line = n.line});
    const std::uint32_t top = here();
    emit({.op = Op::poll, .line = n.line});
    move(n.at, counter);
    loops_.emplace_back();
    block(n.operands[3]);
    for (const std::size_t jump : loops_.back().continues) land(jump);
    emit({.op = Op::next, .dst = counter, .a = end, .b = step, .c = top});
    land(exit);
    leave();
  }

  void leave() {
    for (const std::size_t jump : loops_.back().breaks) land(jump);
    loops_.pop_back();
  }

  const CheckedKernel& kernel_;
  const CheckedUnit& unit_;
  Compiled out_;
  std::vector<Loop> loops_;
};

}  // namespace

Compiled compile(const CheckedKernel& kernel, const CheckedUnit& unit) {
  return Compiler(kernel, unit).run();
}

}  // namespace outrigger::kernel
