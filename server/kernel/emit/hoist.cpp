#include <algorithm>

#include "kernel/emit/function.hpp"

namespace outrigger::kernel {
namespace {

/// More checks in front of a loop would take longer than they save.
constexpr std::size_t hoists_max = 16;
constexpr std::int64_t scale_max = std::int64_t{1} << 31;
/// A variable that stands for a sum of others makes a sum of any length.
constexpr std::size_t terms_max = 8;
constexpr int visits_max = 64;
/// Nodes that are evaluated for nothing, at most.
constexpr int harmless_nodes_max = 24;

/// Operations of integers that cannot fail.
bool is_plain(What what) {
  switch (what) {
    case What::add:
    case What::subtract:
    case What::multiply:
    case What::min:
    case What::max:
    case What::negate:
    case What::bitwise_and:
    case What::bitwise_or:
    case What::bitwise_xor:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::vector<FunctionEmitter::Hoist> FunctionEmitter::find_hoists(const Node& loop) const {
  std::vector<Hoist> found;
  if (bounds_.assigns(loop.operands[3], loop.at)) return found;
  Bounds turn = bounds_;
  turn.enter(loop);
  find_in_block({loop, turn}, loop.operands[3], found);
  return found;
}

void FunctionEmitter::find_in_block(const Turn& turn, std::uint32_t block,
                                    std::vector<Hoist>& found) const {
  for (const std::uint32_t at : kernel_.kernel.blocks[block]) {
    const Node& n = nodes()[at];
    switch (n.what) {
      case What::if_:
        find_in_expression(turn, n.operands[0], found);
        find_in_block(turn, n.operands[1], found);
        find_in_block(turn, n.operands[2], found);
        break;
      case What::store:
        find_in_expression(turn, n.operands[0], found);
        find_in_indices(turn, n.at, n.operands, 1, found);
        break;
      case What::give:
        find_in_expression(turn, n.operands[0], found);
        break;
      default:
        for (const std::uint32_t operand : n.operands) find_in_expression(turn, operand, found);
    }
  }
}

void FunctionEmitter::find_in_expression(const Turn& turn, std::uint32_t at,
                                         std::vector<Hoist>& found) const {
  const Node& n = nodes()[at];
  if (n.what == What::size) return;
  if (n.what == What::load) return find_in_indices(turn, n.at, n.operands, 0, found);
  for (const std::uint32_t operand : n.operands) find_in_expression(turn, operand, found);
  for (const Argument& argument : n.arguments) {
    if (argument.is_tensor)
      find_in_indices(turn, argument.at, argument.indices, 0, found);
    else
      find_in_expression(turn, argument.at, found);
  }
}

void FunctionEmitter::find_in_indices(const Turn& turn, std::uint32_t tensor,
                                      const std::vector<std::uint32_t>& operands, std::size_t from,
                                      std::vector<Hoist>& found) const {
  for (std::size_t i = from; i < operands.size(); ++i) {
    find_in_expression(turn, operands[i], found);
    Hoist hoist{
        .expression = operands[i], .tensor = tensor, .axis = static_cast<std::uint32_t>(i - from)};
    if (found.size() < hoists_max && type_of(operands[i]) == Type::s64 &&
        !turn.bounds.inside(operands[i], tensor, hoist.axis) &&
        linear(turn.loop, operands[i], 1, hoist))
      found.push_back(std::move(hoist));
  }
}

/// Adds scale * expression. It holds modulo 2^64: the condition is about the sum of all, for which
/// no number is cut.
bool FunctionEmitter::linear(const Node& loop, std::uint32_t at, std::int64_t scale,
                             Hoist& out) const {
  const Node& n = nodes()[at];
  if (++out.visits > visits_max) return false;
  if (n.what == What::number) {
    out.constant += static_cast<std::uint64_t>(scale) * n.bits;
    return true;
  }
  if (invariant(loop, at)) {
    out.terms.emplace_back(at, scale);
    return out.terms.size() <= terms_max;
  }
  if (type_of(at) != Type::s64) return false;
  switch (n.what) {
    case What::slot: {
      if (n.at == loop.at) {
        out.factor += scale;
        return out.factor < scale_max && out.factor > -scale_max;
      }
      // A variable that is assigned once, in this turn, has the value of its expression.
      const auto value = bounds_.only_value(n.at);
      return value && linear(loop, *value, scale, out);
    }
    case What::add:
      return linear(loop, n.operands[0], scale, out) && linear(loop, n.operands[1], scale, out);
    case What::subtract:
      return linear(loop, n.operands[0], scale, out) && linear(loop, n.operands[1], -scale, out);
    case What::negate:
      return linear(loop, n.operands[0], -scale, out);
    case What::multiply: {
      const bool first = nodes()[n.operands[0]].what == What::number;
      const Node& number = nodes()[n.operands[first ? 0 : 1]];
      const auto factor = static_cast<std::int64_t>(number.bits);
      std::int64_t product = 0;
      return number.what == What::number && !__builtin_mul_overflow(scale, factor, &product) &&
             product < scale_max && product > -scale_max &&
             linear(loop, n.operands[first ? 1 : 0], product, out);
    }
    default:
      return false;
  }
}

/// True if the expression has one value in all turns, and can be evaluated before the first one.
bool FunctionEmitter::invariant(const Node& loop, std::uint32_t at) const {
  const Node& n = nodes()[at];
  if (!is_integer(type_of(at))) return false;
  switch (n.what) {
    case What::number:
    case What::dim:
    case What::size:
      return true;
    case What::slot:
      return n.at != loop.at && !bounds_.assigns(loop.operands[3], n.at);
    default:
      return (is_plain(n.what) || n.what == What::as) &&
             std::all_of(n.operands.begin(), n.operands.end(),
                         [&](std::uint32_t operand) { return invariant(loop, operand); });
  }
}

std::string FunctionEmitter::hoisted_condition(const Range& range,
                                               const std::vector<Hoist>& hoists) {
  // Both ends of the variable, in 128 bits.
  const std::string distance = w_.value("mul i64 ", range.turns, ", ", range.step);
  const std::string last = w_.value("add i64 ", range.first, ", ", distance);
  const std::string least =
      w_.value("call i64 @llvm.smin.i64(i64 ", range.first, ", i64 ", last, ")");
  const std::string most =
      w_.value("call i64 @llvm.smax.i64(i64 ", range.first, ", i64 ", last, ")");
  const std::string low = w_.value("sext i64 ", least, " to i128");
  const std::string high = w_.value("sext i64 ", most, " to i128");
  std::string all = "true";
  for (const Hoist& hoist : hoists) {
    std::string rest = std::to_string(static_cast<std::int64_t>(hoist.constant));
    for (const auto& [term, scale] : hoist.terms) {
      std::string value = as_cell(expression(term), type_of(term));
      if (scale != 1) value = w_.value("mul i64 ", value, ", ", scale);
      rest = w_.value("add i64 ", rest, ", ", value);
    }
    const std::string base = w_.value("sext i64 ", rest, " to i128");
    const auto end = [&](const std::string& of) {
      const std::string product = w_.value("mul i128 ", of, ", ", hoist.factor);
      return w_.value("add i128 ", product, ", ", base);
    };
    const std::string first = end(hoist.factor >= 0 ? low : high);
    const std::string final = end(hoist.factor >= 0 ? high : low);
    const std::string size =
        w_.value("zext i64 ", tensors_[hoist.tensor].sizes[hoist.axis], " to i128");
    const std::string above = w_.value("icmp sge i128 ", first, ", 0");
    const std::string below = w_.value("icmp slt i128 ", final, ", ", size);
    all = w_.value("and i1 ", all, ", ", w_.value("and i1 ", above, ", ", below));
  }
  return all;
}

bool FunctionEmitter::is_inside(std::uint32_t expression, std::uint32_t tensor,
                                std::uint32_t axis) const {
  if (module_.options.check_all) return false;
  return hoisted_.count(expression) != 0 || bounds_.inside(expression, tensor, axis);
}

bool FunctionEmitter::harmless(std::uint32_t at, Weight& weight) const {
  const Node& n = nodes()[at];
  if (++weight.nodes > harmless_nodes_max) return false;
  const auto all = [&] {
    return std::all_of(n.operands.begin(), n.operands.end(),
                       [&](std::uint32_t operand) { return harmless(operand, weight); });
  };
  switch (n.what) {
    case What::number:
    case What::slot:
    case What::dim:
    case What::size:
      return true;
    case What::load:
      ++weight.loads;
      for (std::size_t axis = 0; axis < n.operands.size(); ++axis)
        if (!is_inside(n.operands[axis], n.at, static_cast<std::uint32_t>(axis))) return false;
      return all();
    case What::as:
      // The conversion of a float has a branch.
      return (is_float(n.type) || !is_float(type_of(n.operands[0]))) && all();
    case What::divide:
    case What::sqrt:
    case What::quotient:
    case What::remainder:
    case What::call:
    case What::pow:
    case What::atan2:
      return false;
    default:
      return (n.what < What::exp || n.what > What::atanh) && all();
  }
}

bool FunctionEmitter::straight_if(const Node& n) {
  Weight weight;
  // An index that was proven behind an assignment is proven there only: without a branch, the
  // variable may have its old value. So no value reads a variable that is assigned here.
  const auto independent = [&](std::uint32_t value) {
    return !bounds_.reads_assigned(value, n.operands[1]) &&
           !bounds_.reads_assigned(value, n.operands[2]);
  };
  const auto sets_only = [&](std::uint32_t block) {
    const auto& statements = kernel_.kernel.blocks[block];
    return statements.size() <= 2 &&
           std::all_of(statements.begin(), statements.end(), [&](std::uint32_t at) {
             return nodes()[at].what == What::set && independent(nodes()[at].operands[0]) &&
                    harmless(nodes()[at].operands[0], weight);
           });
  };
  // LLVM does the same if no element is read.
  if (!sets_only(n.operands[1]) || !sets_only(n.operands[2]) || weight.loads == 0) return false;
  const std::string condition = expression(n.operands[0]);
  for (const bool yes : {true, false}) {
    for (const std::uint32_t at : kernel_.kernel.blocks[n.operands[yes ? 1 : 2]]) {
      const Node& set = nodes()[at];
      const std::string_view t = ir_type(kernel_.kernel.slots[set.at]);
      const std::string value = expression(set.operands[0]);
      const std::string old = w_.value("load ", t, ", ptr ", slots_[set.at]);
      const std::string chosen = w_.value("select i1 ", condition, ", ", t, " ", yes ? value : old,
                                          ", ", t, " ", yes ? old : value);
      w_.line("store ", t, " ", chosen, ", ptr ", slots_[set.at]);
      bounds_.set(set.at, set.operands[0]);
    }
  }
  return true;
}

/// while i < e and more: a loop without another one inside, whose turns all end with the same step
/// of i, runs in pieces.
bool FunctionEmitter::counted_while(const Node& n, const Work& work) {
  if (work.loops || !kernel_.kernel.blocks[n.operands[0]].empty()) return false;
  std::vector<std::uint32_t> rest;
  std::uint32_t at = n.operands[1];
  while (nodes()[at].what == What::logical_and) {
    rest.insert(rest.begin(), nodes()[at].operands[1]);
    at = nodes()[at].operands[0];
  }
  const Node& first = nodes()[at];
  if (first.what != What::less) return false;
  const Type type = type_of(first.operands[0]);
  if (type != Type::s32 && type != Type::s64) return false;
  const std::string t(ir_type(type));
  const Node& counter = nodes()[first.operands[0]];
  const auto step =
      counter.what == What::slot ? bounds_.step_in(n.operands[2], counter.at) : std::nullopt;
  // A `for` node with the counter as its variable describes the same turns.
  const Node turn{.what = What::for_, .at = counter.at, .operands = {0, 0, 0, n.operands[2]}};
  if (!step || !invariant(turn, first.operands[1])) return false;

  const std::int64_t cost = work.cost + static_cast<std::int64_t>(rest.size()) + 2;
  const std::int64_t most = std::clamp<std::int64_t>(frame_budget / cost, 1, piece_turns);
  const std::string& i = slots_[counter.at];
  const std::string begin = w_.variable(t, "0");
  const std::string piece = w_.label();
  const std::string top = w_.label();
  const std::string body = w_.label();
  const std::string cut = w_.label();
  const std::string exit = w_.label();
  w_.jump(piece);
  w_.begin(piece);
  const std::string from = w_.value("load ", t, ", ptr ", i);
  w_.line("store ", t, " ", from, ", ptr ", begin);
  const std::string end = expression(first.operands[1]);
  // The way of the counter in this piece. It may wrap at its end, and goes on then.
  const std::string any = w_.value("icmp slt ", t, " ", from, ", ", end);
  const std::string distance = w_.value("sub ", t, " ", end, ", ", from);
  const std::string whole = w_.value("select i1 ", any, ", ", t, " ", distance, ", ", t, " 0");
  const std::string way =
      w_.value("call ", t, " @llvm.umin.", t, "(", t, " ", whole, ", ", t, " ", *step * most, ")");
  w_.jump(top);
  w_.begin(top);
  std::string next = rest.empty() ? body : w_.label();
  const std::string now = w_.value("load ", t, ", ptr ", i);
  const std::string gone = w_.value("sub ", t, " ", now, ", ", from);
  w_.branch(w_.value("icmp ult ", t, " ", gone, ", ", way), next, cut);
  loops_.push_back(
      {.next = top, .exit = exit, .counter = i, .begin = begin, .step = *step, .cost = cost});
  for (std::size_t k = 0; k < rest.size(); ++k) {
    w_.begin(next);
    next = k + 1 < rest.size() ? w_.label() : body;
    const std::string done = w_.label();
    w_.branch(expression(rest[k]), next, done);
    w_.begin(done);
    spend_turns(loops_.back());
    w_.jump(exit);
  }
  w_.begin(body);
  block(n.operands[2]);
  loops_.pop_back();
  w_.jump(top);
  w_.begin(cut);
  const std::string wide = type == Type::s64 ? gone : w_.value("zext ", t, " ", gone, " to i64");
  const std::string each = w_.value("udiv i64 ", wide, ", ", *step);
  spend(w_.value("mul i64 ", each, ", ", cost), n.line);
  w_.branch(w_.value("icmp slt ", t, " ", now, ", ", end), piece, exit);
  w_.begin(exit);
  return true;
}

}  // namespace outrigger::kernel
