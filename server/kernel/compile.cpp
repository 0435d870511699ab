#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "kernel/arithmetic.hpp"
#include "kernel/code.hpp"
#include "ops/op.hpp"

namespace outrigger::kernel {
namespace {

/// The op whose function for one element an operation has; empty if the machine has it itself.
constexpr std::array function_names{
    std::pair{What::pow, std::string_view("pow")},
    std::pair{What::atan2, std::string_view("atan2")},
    std::pair{What::exp, std::string_view("exp")},
    std::pair{What::log, std::string_view("log")},
    std::pair{What::sin, std::string_view("sin")},
    std::pair{What::cos, std::string_view("cos")},
    std::pair{What::tan, std::string_view("tan")},
    std::pair{What::asin, std::string_view("asin")},
    std::pair{What::acos, std::string_view("acos")},
    std::pair{What::atan, std::string_view("atan")},
    std::pair{What::sinh, std::string_view("sinh")},
    std::pair{What::cosh, std::string_view("cosh")},
    std::pair{What::tanh, std::string_view("tanh")},
    std::pair{What::asinh, std::string_view("asinh")},
    std::pair{What::acosh, std::string_view("acosh")},
    std::pair{What::atanh, std::string_view("atanh")},
};

/// Walks the statements and expressions in their order. A variable has the register of its number.
/// Numbers and sizes have a register each. Other registers hold the values of expressions until the
/// end of their statement.
class Translator {
 public:
  Translator(const CheckedKernel& kernel, const CheckedUnit& unit) : kernel_(kernel), unit_(unit) {
    out_.registers.assign(kernel.kernel.slots.size(), 0);
  }

  Compiled run() {
    block(static_cast<std::uint32_t>(kernel_.kernel.blocks.size() - 1));
    emit({.run = give_back_handler(), .a = list({})});
    return std::move(out_);
  }

 private:
  /// Positions of instructions that jump to one place.
  using Jumps = std::vector<std::size_t>;
  struct Loop {
    Jumps breaks;
    Jumps continues;
  };

  const std::vector<Node>& nodes() const { return kernel_.kernel.nodes; }
  Type type_of(std::uint32_t at) const { return kernel_.types[at]; }

  std::size_t emit(const Instruction& instruction) {
    out_.instructions.push_back(instruction);
    return out_.instructions.size() - 1;
  }
  /// An instruction whose only effect is to set `dst`, and that reads its operands before.
  std::uint32_t emit_value(const Instruction& instruction) {
    value_ = emit(instruction);
    return instruction.dst;
  }

  /// The next instruction, as the target of a jump.
  std::size_t here() { return label_ = out_.instructions.size(); }
  void link(std::size_t from, std::size_t to) {
    out_.instructions[from].jump = static_cast<std::int32_t>(to) - static_cast<std::int32_t>(from);
  }
  void land(const Jumps& jumps) {
    if (jumps.empty()) return;
    const std::size_t to = here();
    for (const std::size_t from : jumps) link(from, to);
  }
  Jumps jump(bool back = false, std::uint32_t line = 0) {
    return {emit({.run = jump_handler(back), .line = line})};
  }

  std::uint32_t new_register(std::uint64_t bits = 0) {
    out_.registers.push_back(bits);
    return static_cast<std::uint32_t>(out_.registers.size() - 1);
  }
  std::uint32_t temporary() {
    const std::uint32_t reg = free_.empty() ? new_register() : free_.back();
    if (!free_.empty()) free_.pop_back();
    used_.push_back(reg);
    return reg;
  }
  /// Frees the temporaries that were taken since `used_` had that size.
  void free_from(std::size_t used) {
    free_.insert(free_.end(), used_.begin() + static_cast<std::ptrdiff_t>(used), used_.end());
    used_.resize(used);
  }

  std::uint32_t list(std::vector<Typed> registers) {
    out_.lists.push_back(std::move(registers));
    return static_cast<std::uint32_t>(out_.lists.size() - 1);
  }
  std::vector<Typed> typed(const std::vector<std::uint32_t>& operands, std::size_t from) {
    std::vector<Typed> all;
    for (std::size_t i = from; i < operands.size(); ++i)
      all.push_back({expression(operands[i]), type_of(operands[i])});
    return all;
  }

  /// Puts the value of an expression into a register.
  void assign(std::uint32_t dst, std::uint32_t e) { put(dst, expression(e)); }
  void put(std::uint32_t dst, std::uint32_t from) {
    if (from == dst) return;
    // The instruction before has made the value, and no jump leads past it.
    const bool made = value_ && *value_ + 1 == out_.instructions.size() &&
                      label_ != out_.instructions.size() &&
                      out_.instructions[*value_].dst == from && is_temporary(from);
    if (made)
      out_.instructions[*value_].dst = dst;
    else
      emit({.run = move_handler(), .dst = dst, .a = from});
  }
  bool is_temporary(std::uint32_t reg) const {
    return std::find(used_.rbegin(), used_.rend(), reg) != used_.rend();
  }

  /// The register with the value of an expression, which the code before has computed.
  std::uint32_t expression(std::uint32_t at) {
    const Node& n = nodes()[at];
    switch (n.what) {
      case What::number: {
        const auto [known, added] = numbers_.try_emplace(n.bits, 0);
        if (added) known->second = new_register(n.bits);
        return known->second;
      }
      // No variable changes while an expression is evaluated.
      case What::slot:
        return n.at;
      case What::dim: {
        const auto [known, added] = dims_.try_emplace(n.at, 0);
        if (added) {
          known->second = new_register();
          out_.dims.emplace_back(known->second, n.at);
        }
        return known->second;
      }
      case What::size: {
        const std::pair place{n.at, n.operands[0]};
        const auto [known, added] = sizes_.try_emplace(place, 0);
        if (added) {
          known->second = new_register();
          out_.sizes.emplace_back(known->second, place);
        }
        return known->second;
      }
      case What::load: {
        const Type type = kernel_.tensors[n.at].type;
        Instruction instruction = place(n.at, typed(n.operands, 0), n.line);
        instruction.run = load_handler(type, n.operands.size());
        instruction.dst = temporary();
        return emit_value(instruction);
      }
      case What::as: {
        const std::uint32_t from = expression(n.operands[0]);
        return emit_value({.run = conversion_handler(type_of(n.operands[0]), n.type),
                           .dst = temporary(),
                           .a = from});
      }
      case What::logical_and:
      case What::logical_or: {
        const std::uint32_t own = temporary();
        assign(own, n.operands[0]);
        const bool when = n.what == What::logical_or;
        const Jumps done{emit({.run = condition_handler(when, false), .a = own})};
        assign(own, n.operands[1]);
        land(done);
        return own;
      }
      case What::select: {
        const std::uint32_t own = temporary();
        const Jumps no = branch(n.operands[0], false);
        assign(own, n.operands[1]);
        const Jumps done = jump();
        land(no);
        assign(own, n.operands[2]);
        land(done);
        return own;
      }
      case What::call:
        return call(n);
      default:
        return operation(n);
    }
  }

  /// An access to an element, without its handler.
  Instruction place(std::uint32_t tensor, std::vector<Typed> indices, std::uint32_t line) {
    Instruction instruction{.a = tensor, .line = line};
    instruction.b = indices[0].reg;
    if (indices.size() > 1) instruction.c = indices[1].reg;
    instruction.jump = static_cast<std::int32_t>(list(std::move(indices)));
    return instruction;
  }

  std::uint32_t operation(const Node& n) {
    const Type type = type_of(n.operands[0]);
    const std::uint32_t a = expression(n.operands[0]);
    const bool one = n.operands.size() == 1;
    const std::uint32_t b = one ? a : expression(n.operands[1]);
    Instruction instruction{.dst = temporary(), .a = a, .b = b, .line = n.line};
    if (const ops::TileFn function = function_of(n.what, type)) {
      instruction.run = function_handler(type);
      instruction.c = static_cast<std::uint32_t>(out_.functions.size());
      out_.functions.push_back(function);
    } else {
      instruction.run = one ? unary_handler(n.what, type) : binary_handler(n.what, type);
    }
    return emit_value(instruction);
  }

  /// Jumps that are taken if a condition gives `when`. With `back`, they begin a turn of a loop.
  Jumps branch(std::uint32_t condition, bool when, bool back = false) {
    const Node& n = nodes()[condition];
    if (n.what == What::logical_not) return branch(n.operands[0], !when, back);
    if (n.what == What::logical_and || n.what == What::logical_or) {
      const bool either = (n.what == What::logical_or) == when;
      // With `either`, one operand alone decides for the jump; otherwise it decides against it.
      Jumps first = branch(n.operands[0], either ? when : !when, either && back);
      Jumps second = branch(n.operands[1], when, back);
      if (!either) {
        land(first);
        return second;
      }
      first.insert(first.end(), second.begin(), second.end());
      return first;
    }
    if (n.what == What::number && (n.bits != 0) == when) return jump(back, n.line);
    if (n.what == What::number) return {};
    if (is_comparison(n.what)) {
      const std::uint32_t a = expression(n.operands[0]);
      const std::uint32_t b = expression(n.operands[1]);
      const Handler handler = branch_handler(n.what, type_of(n.operands[0]), when, back);
      return {emit({.run = handler, .a = a, .b = b, .line = n.line})};
    }
    const std::uint32_t reg = expression(condition);
    return {emit({.run = condition_handler(when, back), .a = reg, .line = n.line})};
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
      site.results.push_back(temporary());
    const std::uint32_t first = site.results.empty() ? 0 : site.results.front();
    out_.calls.push_back(std::move(site));
    emit({.run = call_handler(),
          .a = static_cast<std::uint32_t>(out_.calls.size() - 1),
          .line = n.line});
    return first;
  }

  void block(std::uint32_t number) {
    for (const std::uint32_t at : kernel_.kernel.blocks[number]) {
      const std::size_t used = used_.size();
      statement(nodes()[at]);
      free_from(used);
    }
  }

  void statement(const Node& n) {
    switch (n.what) {
      case What::set:
        assign(n.at, n.operands[0]);
        return;
      case What::store: {
        const std::uint32_t value = expression(n.operands[0]);
        Instruction instruction = place(n.at, typed(n.operands, 1), n.line);
        instruction.run = store_handler(kernel_.tensors[n.at].type, n.operands.size() - 1);
        instruction.dst = value;
        emit(instruction);
        return;
      }
      case What::if_:
        return condition(n);
      case What::while_:
        return loop(n);
      case What::for_:
        return range(n);
      case What::break_:
        loops_.back().breaks.push_back(jump().front());
        return;
      case What::continue_:
        loops_.back().continues.push_back(jump().front());
        return;
      case What::return_: {
        const std::uint32_t values = list(typed(n.operands, 0));
        emit({.run = give_back_handler(), .a = values});
        return;
      }
      case What::raise: {
        const std::uint32_t values = list(typed(n.operands, 0));
        emit({.run = fail_handler(), .a = n.at, .b = values, .line = n.line});
        return;
      }
      default: {
        call(nodes()[n.operands[0]]);
        const std::vector<std::uint32_t> results = out_.calls.back().results;
        for (std::size_t i = 1; i < n.operands.size(); ++i) put(n.operands[i], results[i - 1]);
      }
    }
  }

  void condition(const Node& n) {
    const std::size_t used = used_.size();
    const Jumps no = branch(n.operands[0], false);
    free_from(used);
    block(n.operands[1]);
    if (kernel_.kernel.blocks[n.operands[2]].empty()) return land(no);
    const Jumps done = jump();
    land(no);
    block(n.operands[2]);
    land(done);
  }

  /// The condition stands behind the body, so that a turn has one jump.
  void loop(const Node& n) {
    const Jumps begin = jump();
    const std::size_t top = here();
    loops_.emplace_back();
    block(n.operands[2]);
    land(loops_.back().continues);
    land(begin);
    block(n.operands[0]);
    const std::size_t used = used_.size();
    for (const std::size_t from : branch(n.operands[1], true, true)) link(from, top);
    free_from(used);
    leave();
  }

  /// The counter, the end and the step are registers of their own: the body may bind the variables
  /// that gave them.
  void range(const Node& n) {
    const std::uint32_t counter = temporary();
    const std::uint32_t end = temporary();
    const std::uint32_t step = temporary();
    const std::uint32_t left = temporary();
    assign(counter, n.operands[0]);
    assign(end, n.operands[1]);
    assign(step, n.operands[2]);
    const Jumps exit{emit({.run = begin_range_handler(),
                           .dst = counter,
                           .a = end,
                           .b = step,
                           .c = left,
                           .line = n.line})};
    emit({.run = move_handler(), .dst = n.at, .a = counter});
    const std::size_t top = here();
    loops_.emplace_back();
    block(n.operands[3]);
    land(loops_.back().continues);
    link(emit({.run = next_handler(),
               .dst = n.at,
               .a = counter,
               .b = step,
               .c = left,
               .line = n.line}),
         top);
    land(exit);
    leave();
  }

  void leave() {
    const Jumps breaks = std::move(loops_.back().breaks);
    loops_.pop_back();
    land(breaks);
  }

  const CheckedKernel& kernel_;
  const CheckedUnit& unit_;
  Compiled out_;
  std::vector<Loop> loops_;
  std::map<std::uint64_t, std::uint32_t> numbers_;
  std::map<std::uint32_t, std::uint32_t> dims_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> sizes_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> used_;
  std::optional<std::size_t> value_;  ///< the last instruction of emit_value()
  std::size_t label_ = 0;             ///< the last target of a jump
};

}  // namespace

ops::TileFn function_of(What what, Type type) {
  const auto* const found =
      std::find_if(function_names.begin(), function_names.end(),
                   [what](const auto& function) { return function.first == what; });
  if (found == function_names.end()) return nullptr;
  return ops::kernel_of(*ops::find_op(found->second), type == Type::f32 ? DType::f32 : DType::f64)
      .run;
}

Compiled compile(const CheckedKernel& kernel, const CheckedUnit& unit) {
  return Translator(kernel, unit).run();
}

}  // namespace outrigger::kernel
