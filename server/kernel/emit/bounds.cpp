#include "kernel/emit/bounds.hpp"

#include <algorithm>
#include <cmath>

namespace outrigger::kernel {
namespace {

// Atoms: the sizes of dimension names, those of other axes, then the variables of loops.
constexpr Atom axis_atoms = 1U << 16;
constexpr Atom loop_atoms = 1U << 28;

/// Sizes are smaller (emit.cpp gives it to LLVM, too).
constexpr double size_magnitude = 0x1p53;
/// A value of an s64 that is smaller does not wrap.
constexpr double number_magnitude = 0x1p62;

Form number_form(std::int64_t n) { return {.constant = n, .terms = {}}; }
Form atom_form(Atom atom) { return {.constant = 0, .terms = {{atom, 1}}}; }

/// The numbers of a type with at most 32 bits.
std::optional<FormRange> range_of_type(Type type) {
  if (!is_integer(type) || bytes_of(type) > 4) return std::nullopt;
  const std::int64_t count = std::int64_t{1} << (8 * bytes_of(type));
  if (is_unsigned(type)) return FormRange{number_form(0), number_form(count - 1)};
  return FormRange{number_form(-count / 2), number_form(count / 2 - 1)};
}

bool is_number(const Node& n) { return n.what == What::number; }

}  // namespace

Bounds::Bounds(const CheckedKernel& kernel) : kernel_(&kernel), next_(loop_atoms) {
  sets_.assign(kernel.kernel.slots.size(), 0);
  expressions_.assign(kernel.kernel.slots.size(), 0);
  values_.resize(kernel.kernel.slots.size());
  assigned_ = std::make_shared<std::map<std::uint32_t, std::vector<bool>>>();
  count_sets();
}

void Bounds::count_sets() {
  std::size_t scalar = 0;
  for (const Param& param : kernel_->kernel.params)
    if (param.mode == Mode::scalar) sets_[scalar++] += 2;
  for (const Node& n : kernel_->kernel.nodes) {
    if (n.what == What::set) {
      ++sets_[n.at];
      expressions_[n.at] = n.operands[0];
    }
    // Each turn of a loop assigns its variable.
    if (n.what == What::for_) sets_[n.at] += 2;
    // A call's result has no expression.
    if (n.what == What::give)
      for (std::size_t i = 1; i < n.operands.size(); ++i) sets_[n.operands[i]] += 2;
  }
}

bool Bounds::assigns(std::uint32_t block, std::uint32_t slot) const {
  const auto [found, added] = assigned_->try_emplace(block);
  if (added) {
    found->second.resize(sets_.size());
    mark_assigned(block, found->second);
  }
  return found->second[slot];
}

void Bounds::mark_assigned(std::uint32_t block, std::vector<bool>& assigned) const {
  for (const std::uint32_t at : kernel_->kernel.blocks[block]) {
    const Node& n = node(at);
    switch (n.what) {
      case What::set:
        assigned[n.at] = true;
        break;
      case What::if_:
        mark_assigned(n.operands[1], assigned);
        mark_assigned(n.operands[2], assigned);
        break;
      case What::while_:
        mark_assigned(n.operands[0], assigned);
        mark_assigned(n.operands[2], assigned);
        break;
      case What::for_:
        assigned[n.at] = true;
        mark_assigned(n.operands[3], assigned);
        break;
      case What::give:
        for (std::size_t i = 1; i < n.operands.size(); ++i) assigned[n.operands[i]] = true;
        break;
      default:
        break;
    }
  }
}

std::optional<std::uint32_t> Bounds::only_value(std::uint32_t slot) const {
  if (sets_[slot] != 1) return std::nullopt;
  return expressions_[slot];
}

bool Bounds::has(std::uint32_t block, What what) const {
  const auto& statements = kernel_->kernel.blocks[block];
  return std::any_of(statements.begin(), statements.end(), [&](std::uint32_t at) {
    const Node& n = node(at);
    return n.what == what ||
           (n.what == What::if_ && (has(n.operands[1], what) || has(n.operands[2], what)));
  });
}

std::optional<std::int64_t> Bounds::step_in(std::uint32_t block, std::uint32_t slot) const {
  // The way of a piece fits 31 bits.
  constexpr std::int64_t step_max = 1 << 15;
  // A turn that ends early would not make the step.
  if (has(block, What::continue_)) return std::nullopt;
  std::optional<std::int64_t> step;
  for (const std::uint32_t at : kernel_->kernel.blocks[block]) {
    const Node& n = node(at);
    if (n.what == What::set && n.at == slot) {
      const Node& sum = node(n.operands[0]);
      if (step || sum.what != What::add) return std::nullopt;
      const Node& a = node(sum.operands[0]);
      const Node& b = node(sum.operands[1]);
      if (a.what != What::slot || a.at != slot || !is_number(b)) return std::nullopt;
      step = static_cast<std::int64_t>(b.bits);
      if (*step < 1 || *step > step_max) return std::nullopt;
      continue;
    }
    // Assignments in branches are not counted.
    const bool deep =
        n.what == What::if_ && (assigns(n.operands[1], slot) || assigns(n.operands[2], slot));
    const bool given = n.what == What::give && std::find(n.operands.begin() + 1, n.operands.end(),
                                                         slot) != n.operands.end();
    if (deep || given || n.what == What::for_ || n.what == What::while_) return std::nullopt;
  }
  return step;
}

bool Bounds::reads_assigned(std::uint32_t expression, std::uint32_t block) const {
  const Node& n = node(expression);
  if (n.what == What::slot) return assigns(block, n.at);
  if (n.what == What::size) return false;
  const auto reads = [&](std::uint32_t at) { return reads_assigned(at, block); };
  return std::any_of(n.operands.begin(), n.operands.end(), reads) ||
         std::any_of(n.arguments.begin(), n.arguments.end(), [&](const Argument& argument) {
           return (!argument.is_tensor && reads(argument.at)) ||
                  std::any_of(argument.indices.begin(), argument.indices.end(), reads);
         });
}

void Bounds::enter(const Node& loop) {
  Loop made{.atom = next_++, .slot = loop.at};
  const auto first = range(loop.operands[0]);
  const auto last = range(loop.operands[1]);
  const Node& step = node(loop.operands[2]);
  if (first && last && is_number(step) && step.bits != 0 && !assigns(loop.operands[3], loop.at)) {
    made.known = true;
    const bool up = static_cast<std::int64_t>(step.bits) > 0;
    made.range = up ? FormRange{first->least, last->most} : FormRange{last->least, first->most};
  }
  if (made.known) {
    // Inner loops have it as one number: their ranges refer to this one.
    made.magnitude = std::max(magnitude(made.range.least), magnitude(made.range.most));
  }
  loops_.push_back(std::move(made));
}

void Bounds::set(std::uint32_t slot, std::uint32_t value) {
  values_[slot].reset();
  if (sets_[slot] == 1 && kernel_->kernel.slots[slot] == Type::s64) values_[slot] = range(value);
}

const Bounds::Loop* Bounds::loop_of(Atom atom) const {
  const auto found = std::find_if(loops_.begin(), loops_.end(),
                                  [atom](const Loop& loop) { return loop.atom == atom; });
  return found == loops_.end() || !found->known ? nullptr : &*found;
}

double Bounds::magnitude(const Form& form) const {
  double all = std::abs(static_cast<double>(form.constant));
  for (const auto& [atom, factor] : form.terms) {
    double own = size_magnitude;
    if (atom >= loop_atoms) {
      const Loop* const loop = loop_of(atom);
      if (loop == nullptr) return HUGE_VAL;
      own = loop->magnitude;
    }
    all += own * std::abs(static_cast<double>(factor));
  }
  return all;
}

std::optional<FormRange> Bounds::small(std::optional<FormRange> range) const {
  if (range &&
      (magnitude(range->least) >= number_magnitude || magnitude(range->most) >= number_magnitude))
    return std::nullopt;
  return range;
}

std::optional<FormRange> Bounds::range(std::uint32_t at) const {
  const Node& n = node(at);
  if (type_of(at) != Type::s64) return range_of_type(type_of(at));
  switch (n.what) {
    case What::number: {
      const Form form = number_form(static_cast<std::int64_t>(n.bits));
      if (!within(form.constant)) return std::nullopt;
      return FormRange{form, form};
    }
    case What::dim:
      return FormRange{atom_form(n.at), atom_form(n.at)};
    case What::size: {
      const auto form = size(n.at, n.operands[0], true);
      if (!form) return std::nullopt;
      return small(FormRange{*form, *form});
    }
    case What::slot: {
      for (const Loop& loop : loops_)
        if (loop.known && loop.slot == n.at)
          return FormRange{atom_form(loop.atom), atom_form(loop.atom)};
      return small(values_[n.at]);
    }
    case What::add:
    case What::subtract:
      return small(sum(n));
    case What::multiply:
      return small(product(n));
    case What::negate: {
      const auto a = range(n.operands[0]);
      if (!a) return std::nullopt;
      const auto least = plus({}, a->most, -1);
      const auto most = plus({}, a->least, -1);
      if (!least || !most) return std::nullopt;
      return small(FormRange{*least, *most});
    }
    case What::as:
      return range_of_type(type_of(n.operands[0]));
    default:
      return std::nullopt;
  }
}

std::optional<FormRange> Bounds::sum(const Node& n) const {
  const auto a = range(n.operands[0]);
  const auto b = range(n.operands[1]);
  if (!a || !b) return std::nullopt;
  const bool minus = n.what == What::subtract;
  const auto least = plus(a->least, minus ? b->most : b->least, minus ? -1 : 1);
  const auto most = plus(a->most, minus ? b->least : b->most, minus ? -1 : 1);
  if (!least || !most) return std::nullopt;
  return FormRange{*least, *most};
}

/// The product of a value and a number.
std::optional<FormRange> Bounds::product(const Node& n) const {
  const bool first = is_number(node(n.operands[0]));
  const Node& number = node(n.operands[first ? 0 : 1]);
  if (!is_number(number)) return std::nullopt;
  const auto factor = static_cast<std::int64_t>(number.bits);
  const auto a = range(n.operands[first ? 1 : 0]);
  if (!a || !within(factor)) return std::nullopt;
  const auto least = plus({}, factor < 0 ? a->most : a->least, factor);
  const auto most = plus({}, factor < 0 ? a->least : a->most, factor);
  if (!least || !most) return std::nullopt;
  return FormRange{*least, *most};
}

std::optional<Form> Bounds::size(std::uint32_t tensor, std::uint32_t axis, bool exact) const {
  const Kernel& k = kernel_->kernel;
  const Dim* dim = nullptr;
  bool passed = false;
  std::uint32_t number = tensor;
  for (const Param& param : k.params) {
    if (param.mode == Mode::scalar) continue;
    if (number-- == 0) {
      dim = &param.dims[axis];
      passed = param.mode != Mode::fresh;
      break;
    }
  }
  if (dim == nullptr)
    dim = number < k.scratch.size() ? &k.scratch[number].dims[axis]
                                    : &k.local[number - k.scratch.size()].dims[axis];
  if (dim->kind == Dim::Kind::number) return number_form(dim->plus);
  // A size of its own, at least 0.
  if (dim->kind == Dim::Kind::any)
    return atom_form(axis_atoms + tensor * static_cast<Atom>(UnitLimits::rank_max) + axis);
  // A tensor that is not passed has 0 elements where the sum is negative.
  if (exact && !passed && dim->plus < 0) return std::nullopt;
  Form form = atom_form(dim->name);
  form.constant = dim->plus;
  return form;
}

bool Bounds::inside(std::uint32_t expression, std::uint32_t tensor, std::uint32_t axis) const {
  auto last = size(tensor, axis, false);
  if (!last) return false;
  last->constant -= 1;
  return not_negative(expression) && at_most(expression, *last);
}

bool Bounds::not_negative(std::uint32_t at) const {
  const Node& n = node(at);
  if (!is_integer(type_of(at))) return false;
  if (is_unsigned(type_of(at))) return true;
  switch (n.what) {
    case What::min:
      return not_negative(n.operands[0]) && not_negative(n.operands[1]);
    case What::max:
      return not_negative(n.operands[0]) || not_negative(n.operands[1]);
    case What::select:
      return not_negative(n.operands[1]) && not_negative(n.operands[2]);
    case What::bitwise_and:
      return not_negative(n.operands[0]) || not_negative(n.operands[1]);
    // The sign is that of the first operand.
    case What::remainder:
    case What::right_shift:
      return not_negative(n.operands[0]);
    case What::quotient:
      return not_negative(n.operands[0]) && not_negative(n.operands[1]);
    case What::as: {
      // To a wider type, the value is the same.
      const Type from = type_of(n.operands[0]);
      return is_integer(from) && bytes_of(from) < bytes_of(type_of(at)) &&
             not_negative(n.operands[0]);
    }
    case What::number:
      return static_cast<std::int64_t>(n.bits) >= 0;
    default:
      break;
  }
  const auto known = range(at);
  return known && holds(known->least);
}

/// True if the value is 0 to `bound`, or negative.
bool Bounds::at_most(std::uint32_t at, const Form& bound) const {
  const Node& n = node(at);
  if (!is_integer(type_of(at))) return false;
  const auto below = [&](const Form& most) {
    const auto rest = plus(bound, most, -1);
    return rest && holds(*rest);
  };
  switch (n.what) {
    case What::min:
      if (at_most(n.operands[0], bound) || at_most(n.operands[1], bound)) return true;
      break;
    case What::max:
    case What::select: {
      const std::size_t first = n.what == What::max ? 0 : 1;
      if (at_most(n.operands[first], bound) && at_most(n.operands[first + 1], bound)) return true;
      break;
    }
    case What::bitwise_and:
      for (const std::uint32_t one : n.operands)
        if (not_negative(one) && at_most(one, bound)) return true;
      break;
    case What::remainder: {
      // Below the divisor, which is not 0 behind the operation.
      if (not_negative(n.operands[0]) && at_most(n.operands[0], bound)) return true;
      Form more = bound;
      more.constant += 1;
      if (not_negative(n.operands[1]) && at_most(n.operands[1], more)) return true;
      break;
    }
    case What::as: {
      const Type from = type_of(n.operands[0]);
      const bool same = is_integer(from) && (bytes_of(from) < bytes_of(type_of(at)));
      // A negative value as an unsigned one is large.
      const bool sign = is_unsigned(type_of(at)) && !is_unsigned(from);
      if (same && (!sign || not_negative(n.operands[0])) && at_most(n.operands[0], bound))
        return true;
      break;
    }
    default:
      break;
  }
  // A number of any type.
  if (is_number(n)) {
    const auto value = static_cast<std::int64_t>(n.bits);
    return value >= 0 && within(value) && below(number_form(value));
  }
  const auto known = range(at);
  return known && below(known->most);
}

bool Bounds::holds(const Form& form) const {
  if (holds_alone(form)) return true;
  // Each loop around has a turn: the difference of its ends is 0 or more.
  return std::any_of(loops_.begin(), loops_.end(), [&](const Loop& loop) {
    if (!loop.known) return false;
    const auto turns = plus(loop.range.most, loop.range.least, -1);
    if (!turns) return false;
    const auto rest = plus(form, *turns, -1);
    return rest && holds_alone(*rest);
  });
}

/// Puts the worse end of each loop in place of its variable, from the inside to the outside.
bool Bounds::holds_alone(Form form) const {
  for (auto loop = loops_.rbegin(); loop != loops_.rend(); ++loop) {
    const auto found = form.terms.find(loop->atom);
    if (found == form.terms.end()) continue;
    if (!loop->known) return false;
    const std::int64_t factor = found->second;
    form.terms.erase(found);
    const auto next = plus(form, factor > 0 ? loop->range.least : loop->range.most, factor);
    if (!next) return false;
    form = *next;
  }
  return form.constant >= 0 &&
         std::all_of(form.terms.begin(), form.terms.end(),
                     [](const auto& term) { return term.first < loop_atoms && term.second >= 0; });
}

}  // namespace outrigger::kernel
