#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernel/check.hpp"

namespace outrigger::kernel {

/// Makes units that pass the check: nested loops, calls, jumps, arithmetic with corner values, and
/// indices of which most are right.
class RandomUnit {
 public:
  explicit RandomUnit(std::uint64_t seed) : random_(seed) {}

  Unit make() {
    Unit unit{.files = {"a.ex", "b.ex"}, .kernels = {}};
    for (int k = 0, helpers = pick(3); k <= helpers; ++k) {
      done_ = &unit;
      Kernel kernel = one(k, k == helpers);
      unit.kernels.push_back(std::move(kernel));
    }
    return unit;
  }

  std::mt19937_64& random() { return random_; }
  int pick(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  bool chance(int percent) { return pick(100) < percent; }

  /// A cell of the type: often a small number or a corner.
  std::uint64_t cell(Type type) {
    if (type == Type::boolean) return random_() & 1;
    if (type == Type::f64) return std::bit_cast<std::uint64_t>(real());
    if (type == Type::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(real()));
    const auto unused = static_cast<int>(64 - 8 * bytes_of(type));
    const std::uint64_t raw = chance(70)   ? static_cast<std::uint64_t>(pick(17) - 4)
                              : chance(50) ? random_()
                                           : std::uint64_t{1} << (8 * bytes_of(type) - 1);
    if (is_unsigned(type)) return raw << unused >> unused;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(raw << unused) >> unused);
  }

 private:
  using At = std::uint32_t;

  double real() {
    constexpr std::array<double, 12> corners{
        0.0,  -0.0, 1.0,     -1.5,   0x1p62, -0x1p63,
        1e19, 1e30, -0x1p70, 255.75, -129.5, std::numeric_limits<double>::infinity()};
    if (chance(3)) return std::numeric_limits<double>::quiet_NaN();
    if (chance(25)) return corners[static_cast<std::size_t>(pick(12))];
    return (pick(2001) - 1000) / 8.0;
  }

  Type any_type() { return static_cast<Type>(1 + pick(10)); }
  Type common_type() {
    constexpr std::array<Type, 5> common{Type::s64, Type::s32, Type::u8, Type::f32, Type::f64};
    return chance(70) ? common[static_cast<std::size_t>(pick(5))] : any_type();
  }

  Dim dim(bool known) {
    if (!known && chance(10)) return {};
    if (chance(12)) return {Dim::Kind::number, 0, 4};
    const auto name = static_cast<std::uint32_t>(pick(2));
    return {Dim::Kind::name, name, chance(85) ? 0 : pick(3) - (known ? 1 : 0)};
  }

  void tensor(Type type, std::vector<Dim> dims, bool writable) {
    k_.tensors.push_back("t" + std::to_string(k_.tensors.size()));
    tensors_.push_back({{type, std::move(dims)}, writable});
  }

  Kernel one(int number, bool last) {
    k_ = Kernel{.name = "k" + std::to_string(number), .file = static_cast<std::uint32_t>(pick(2))};
    k_.dims = 2;
    tensors_.clear();
    counters_.clear();
    vars_.clear();
    loop_depth_ = 0;
    // Both names occur.
    const Dim n{Dim::Kind::name, 0, 0};
    const Dim m{Dim::Kind::name, 1, 0};
    param(Mode::mut, common_type(), {n});
    param(chance(50) ? Mode::in : Mode::mut, common_type(),
          chance(50) ? std::vector<Dim>{m} : std::vector<Dim>{n, m});
    if (k_.params.back().dims.size() == 1 && chance(50)) param(Mode::in, common_type(), {n, m});
    for (int i = pick(3); i > 0; --i) {
      std::vector<Dim> dims{dim(false)};
      while (dims.size() < 3 && chance(30)) dims.push_back(dim(false));
      param(chance(50) ? Mode::in : Mode::mut, common_type(), std::move(dims));
    }
    if (last && chance(40)) param(Mode::fresh, common_type(), {dim(true)});
    for (int i = 1 + pick(3); i > 0; --i) {
      const Type type = common_type();
      k_.params.push_back({Mode::scalar, type, {}});
      vars_.push_back(static_cast<At>(k_.slots.size()));
      k_.slots.push_back(type);
    }
    for (int i = pick(2); i > 0; --i) {
      k_.scratch.push_back({common_type(), {dim(true)}});
      tensor(k_.scratch.back().type, k_.scratch.back().dims, true);
    }
    for (int i = pick(2); i > 0; --i) {
      k_.local.push_back({common_type(), {{Dim::Kind::number, 0, 1 + pick(9)}}});
      tensor(k_.local.back().type, k_.local.back().dims, true);
    }
    for (int i = pick(3); i > 0; --i) k_.results.push_back(common_type());
    std::vector<At> body;
    for (int i = 2 + pick(4); i > 0; --i) {
      const Type type = chance(90) ? common_type() : Type::boolean;
      k_.slots.push_back(type);
      const auto slot = static_cast<At>(k_.slots.size() - 1);
      body.push_back(add({.what = What::set, .at = slot, .operands = {value(type, 2)}}));
      vars_.push_back(slot);
    }
    statements(body, 4 + pick(8), 0);
    body.push_back(returned());
    k_.blocks.push_back(std::move(body));
    return std::move(k_);
  }

  void param(Mode mode, Type type, std::vector<Dim> dims) {
    k_.params.push_back({mode, type, dims});
    tensor(type, std::move(dims), mode != Mode::in);
  }

  At add(Node node) {
    node.line = static_cast<std::uint32_t>(1 + k_.nodes.size());
    k_.nodes.push_back(std::move(node));
    return static_cast<At>(k_.nodes.size() - 1);
  }
  At number(Type type, std::uint64_t bits) {
    return add({.what = What::number, .type = type, .bits = bits});
  }
  At slot(At at) { return add({.what = What::slot, .at = at}); }
  At block(std::vector<At> statements) {
    k_.blocks.push_back(std::move(statements));
    return static_cast<At>(k_.blocks.size() - 1);
  }

  At returned() {
    std::vector<At> values;
    for (const Type type : k_.results) values.push_back(value(type, 2));
    return add({.what = What::return_, .operands = std::move(values)});
  }

  // Statements.

  void statements(std::vector<At>& into, int count, int depth) {
    for (int i = 0; i < count && k_.nodes.size() < 1200; ++i) statement(into, depth);
  }

  void statement(std::vector<At>& into, int depth) {
    const int kind = pick(100);
    if (kind < 30) {
      const At at = vars_[static_cast<std::size_t>(pick(static_cast<int>(vars_.size())))];
      into.push_back(add({.what = What::set, .at = at, .operands = {value(k_.slots[at], 3)}}));
    } else if (kind < 55) {
      store(into);
    } else if (kind < 68 && depth < 4) {
      branch(into, depth);
    } else if (kind < 84 && depth < 3) {
      range(into, depth);
    } else if (kind < 92 && depth < 3) {
      loop(into, depth);
    } else {
      call_statement(into);
    }
  }

  void store(std::vector<At>& into) {
    std::vector<At> writable;
    for (std::size_t t = 0; t < tensors_.size(); ++t)
      if (tensors_[t].writable) writable.push_back(static_cast<At>(t));
    const At t = writable[static_cast<std::size_t>(pick(static_cast<int>(writable.size())))];
    std::vector<At> operands{value(tensors_[t].type, 3)};
    for (const Dim& d : tensors_[t].dims) operands.push_back(index(d));
    into.push_back(add({.what = What::store, .at = t, .operands = std::move(operands)}));
  }

  /// if c, do: x = i + far; y = t[x - far]: the index is inside in the branch only.
  bool bound_in_branch(std::vector<At>& into) {
    std::vector<At> fits;
    for (std::size_t t = 0; t < tensors_.size(); ++t)
      if (tensors_[t].dims.size() == 1) fits.push_back(static_cast<At>(t));
    if (counters_.empty() || fits.empty()) return false;
    const At t = fits[static_cast<std::size_t>(pick(static_cast<int>(fits.size())))];
    const Type type = tensors_[t].type;
    std::vector<At> same;
    for (const At at : vars_)
      if (k_.slots[at] == type) same.push_back(at);
    if (same.empty()) return false;
    const auto far = static_cast<std::uint64_t>(chance(50) ? 1'000'000'000'000 : pick(3));
    const At condition = value(Type::boolean, 2);
    k_.slots.push_back(Type::s64);
    const auto x = static_cast<At>(k_.slots.size() - 1);
    const At base = chance(70) ? slot(counters_.back()) : number(Type::s64, 0);
    const At by = number(Type::s64, far);
    const At sum = add({.what = What::add, .operands = {base, by}});
    const At first = add({.what = What::set, .at = x, .operands = {sum}});
    const At there = slot(x);
    const At back = number(Type::s64, far);
    const At at = add({.what = What::subtract, .operands = {there, back}});
    const At element = add({.what = What::load, .at = t, .operands = {at}});
    const At second = add({.what = What::set, .at = same.front(), .operands = {element}});
    const At yes = block({first, second});
    const At no = block({});
    into.push_back(add({.what = What::if_, .operands = {condition, yes, no}}));
    return true;
  }

  void branch(std::vector<At>& into, int depth) {
    if (chance(25) && bound_in_branch(into)) return;
    const At condition = value(Type::boolean, 3);
    std::vector<At> yes;
    statements(yes, 1 + pick(2), depth + 1);
    if (chance(20)) jump(yes);
    std::vector<At> no;
    if (chance(40)) statements(no, 1 + pick(2), depth + 1);
    const At a = block(std::move(yes));
    const At b = block(std::move(no));
    into.push_back(add({.what = What::if_, .operands = {condition, a, b}}));
  }

  void jump(std::vector<At>& into) {
    const int kind = pick(10);
    if (loop_depth_ > 0 && kind < 4) {
      into.push_back(add({.what = What::break_}));
    } else if (loop_depth_ > 0 && kind < 7) {
      into.push_back(add({.what = What::continue_}));
    } else if (kind < 9) {
      into.push_back(returned());
    } else {
      k_.texts.push_back("text " + std::to_string(k_.texts.size()));
      std::vector<At> values;
      for (int i = pick(3); i > 0; --i) values.push_back(value(common_type(), 1));
      into.push_back(add({.what = What::raise,
                          .at = static_cast<At>(k_.texts.size() - 1),
                          .operands = std::move(values)}));
    }
  }

  At end_of_axis(std::int64_t minus) {
    const At d = add({.what = What::dim, .at = static_cast<At>(pick(2))});
    const At by = number(Type::s64, static_cast<std::uint64_t>(minus));
    return add({.what = What::subtract, .operands = {d, by}});
  }

  void range(std::vector<At>& into, int depth) {
    k_.slots.push_back(Type::s64);
    const auto own = static_cast<At>(k_.slots.size() - 1);
    const bool back = chance(20);
    const auto small = [&](int from, int n) {
      return number(Type::s64, static_cast<std::uint64_t>(from + pick(n)));
    };
    At a = 0;
    At b = 0;
    if (back) {
      a = chance(60) ? end_of_axis(chance(8) ? 0 : 1 + pick(2)) : small(0, 7);
      b = chance(80) ? small(0, 2) : small(-3, 5);
    } else {
      a = chance(70)                         ? small(0, 2)
          : chance(50) && !counters_.empty() ? slot(counters_.back())
                                             : mixed(5);
      b = chance(70)                           ? end_of_axis(chance(8) ? 0 : 1 + pick(2))
          : depth == 0 && !long_ && chance(15) ? number(Type::s64, 40000)
          : chance(50) && !counters_.empty()   ? slot(counters_.front())
                                               : mixed(9);
    }
    const int kind = pick(100);
    const At step = kind < 15 ? mixed(3)
                    : kind < 25
                        ? small(1, 4)
                        : number(Type::s64, static_cast<std::uint64_t>(back ? -1 - pick(2) : 1));
    // The variable of the loop may be assigned, and is then no counter.
    if (chance(90)) counters_.push_back(own);
    const std::size_t counters = counters_.size();
    ++loop_depth_;
    std::vector<At> body;
    if (chance(10)) body.push_back(add({.what = What::set, .at = own, .operands = {mixed(6)}}));
    const bool longer = k_.nodes[b].what == What::number && k_.nodes[b].bits == 40000;
    const bool before_long = std::exchange(long_, long_ || longer);
    statements(body, 1 + pick(3), longer ? 3 : depth + 1);
    long_ = before_long;
    --loop_depth_;
    counters_.resize(std::min(counters, counters_.size()));
    if (!counters_.empty() && counters_.back() == own) counters_.pop_back();
    const At inner = block(std::move(body));
    into.push_back(add({.what = What::for_, .at = own, .operands = {a, b, step, inner}}));
  }

  /// A number within 2 * n of zero, of some variable.
  At mixed(int n) {
    const At x = value(Type::s64, 1);
    const At by = number(Type::s64, static_cast<std::uint64_t>(n));
    return add({.what = What::remainder, .operands = {x, by}});
  }

  /// while c < k and condition, c = c + 1 first or last.
  void loop(std::vector<At>& into, int depth) {
    const Type type = chance(75) ? Type::s64 : Type::s32;
    k_.slots.push_back(type);
    const auto own = static_cast<At>(k_.slots.size() - 1);
    into.push_back(add({.what = What::set, .at = own, .operands = {number(type, 0)}}));
    std::vector<At> before;
    if (chance(20)) store(before);
    const At head = block(std::move(before));
    const At c = slot(own);
    // Some loops have more turns than a piece.
    const bool longer = depth == 0 && !long_ && chance(15);
    const At k = number(type, static_cast<std::uint64_t>(longer ? 40000 : 1 + pick(8)));
    At condition = add({.what = What::less, .operands = {c, k}});
    if (chance(30)) {
      const At other = value(Type::boolean, 2);
      condition = add({.what = What::logical_and, .operands = {condition, other}});
    }
    const auto next = [&](std::vector<At>& body) {
      const At old = slot(own);
      const At one = number(type, static_cast<std::uint64_t>(chance(80) ? 1 : 1 + pick(3)));
      const At sum = add({.what = What::add, .operands = {old, one}});
      body.push_back(add({.what = What::set, .at = own, .operands = {sum}}));
    };
    std::vector<At> body;
    next(body);
    ++loop_depth_;
    if (type == Type::s64) counters_.push_back(own);
    const bool before_long = std::exchange(long_, long_ || longer);
    // At this depth there are no loops.
    statements(body, 1 + pick(3), longer ? 3 : depth + 1);
    long_ = before_long;
    if (type == Type::s64) counters_.pop_back();
    --loop_depth_;
    const At inner = block(std::move(body));
    into.push_back(add({.what = What::while_, .operands = {head, condition, inner}}));
  }

  /// A call of a kernel; nothing if no tensors fit. `type`: of the first result.
  bool call(At& made, const Type* type) {
    // A long loop in a long loop would take seconds.
    if (long_) return false;
    std::vector<At> possible;
    for (std::size_t c = 0; c < done_->kernels.size(); ++c) {
      const auto& results = done_->kernels[c].results;
      if (type == nullptr || (!results.empty() && results.front() == *type))
        possible.push_back(static_cast<At>(c));
    }
    if (possible.empty()) return false;
    const At callee = possible[static_cast<std::size_t>(pick(static_cast<int>(possible.size())))];
    std::vector<std::pair<Mode, At>> used;
    std::vector<At> chosen;
    for (const Param& param : done_->kernels[callee].params) {
      if (param.mode == Mode::scalar) continue;
      std::vector<At> fits;
      for (std::size_t t = 0; t < tensors_.size(); ++t) {
        const Tensor& own = tensors_[t];
        const bool taken = std::any_of(used.begin(), used.end(), [&](const auto& one) {
          return one.second == t && (one.first == Mode::mut || param.mode == Mode::mut);
        });
        if (own.type == param.type && own.dims.size() >= param.dims.size() && !taken &&
            (own.writable || param.mode == Mode::in))
          fits.push_back(static_cast<At>(t));
      }
      if (fits.empty()) return false;
      chosen.push_back(fits[static_cast<std::size_t>(pick(static_cast<int>(fits.size())))]);
      used.emplace_back(param.mode, chosen.back());
    }
    std::vector<Argument> arguments;
    std::size_t next = 0;
    for (const Param& param : done_->kernels[callee].params) {
      if (param.mode == Mode::scalar) {
        arguments.push_back({.is_tensor = false, .at = value(param.type, 1)});
        continue;
      }
      const At t = chosen[next++];
      Argument argument{.is_tensor = true, .at = t};
      const std::vector<Dim> dims = tensors_[t].dims;
      for (std::size_t axis = 0; axis + param.dims.size() < dims.size(); ++axis)
        argument.indices.push_back(index(dims[axis]));
      arguments.push_back(std::move(argument));
    }
    made = add({.what = What::call, .at = callee, .arguments = std::move(arguments)});
    return true;
  }

  void call_statement(std::vector<At>& into) {
    At made = 0;
    if (!call(made, nullptr)) return store(into);
    std::vector<At> operands{made};
    const At callee = k_.nodes[made].at;
    if (chance(70)) {
      for (const Type type : done_->kernels[callee].results) {
        At found = std::numeric_limits<At>::max();
        for (const At at : vars_)
          if (k_.slots[at] == type) found = at;
        if (found == std::numeric_limits<At>::max()) {
          k_.slots.push_back(type);
          found = static_cast<At>(k_.slots.size() - 1);
        }
        operands.push_back(found);
      }
    }
    if (operands.size() != 1 + done_->kernels[callee].results.size()) operands.resize(1);
    into.push_back(add({.what = What::give, .operands = std::move(operands)}));
  }

  // Expressions.

  /// Most indices are right: a counter, or a number below the size.
  At index(const Dim& d) {
    const auto narrow = [&](At wide) {
      constexpr std::array<Type, 4> types{Type::s32, Type::u8, Type::u64, Type::s16};
      if (!chance(25)) return wide;
      return add(
          {.what = What::as, .type = types[static_cast<std::size_t>(pick(4))], .operands = {wide}});
    };
    if (!counters_.empty() && chance(65)) {
      const At i =
          slot(counters_[static_cast<std::size_t>(pick(static_cast<int>(counters_.size())))]);
      if (chance(12)) return flattened(i);
      if (chance(85)) return narrow(i);
      const At by = number(Type::s64, static_cast<std::uint64_t>(chance(80) ? 0 : pick(4) - 1));
      return narrow(add({.what = chance(70)   ? What::add
                                 : chance(50) ? What::subtract
                                              : What::multiply,
                         .operands = {i, by}}));
    }
    if (chance(1)) return value(chance(50) ? Type::s64 : Type::s32, 2);
    const At mask = number(Type::s64, d.kind == Dim::Kind::number && chance(50) ? 3 : 15);
    const At x = value(Type::s64, 2);
    const At positive = add({.what = What::bitwise_and, .operands = {x, mask}});
    if (k_.nodes[mask].bits == 3) return narrow(positive);
    At size = 0;
    if (d.kind == Dim::Kind::name) {
      size = add({.what = What::dim, .at = d.name});
      if (d.plus < 0) {
        const At by = number(Type::s64, static_cast<std::uint64_t>(d.plus));
        size = add({.what = What::add, .operands = {size, by}});
      }
    } else {
      size = number(Type::s64, d.kind == Dim::Kind::any ? 2 : 4);
    }
    const At one = number(Type::s64, 1);
    const At least = add({.what = What::max, .operands = {size, one}});
    return narrow(add({.what = What::remainder, .operands = {positive, least}}));
  }

  /// counter * factor + counter, of which most are outside, or a clamped index.
  At flattened(At i) {
    const auto other = [&] {
      return slot(counters_[static_cast<std::size_t>(pick(static_cast<int>(counters_.size())))]);
    };
    if (chance(40)) {
      const At by = number(Type::s64, static_cast<std::uint64_t>(pick(3) - 1));
      const At moved = add({.what = What::add, .operands = {i, by}});
      const At zero = number(Type::s64, 0);
      const At least = add({.what = What::max, .operands = {moved, zero}});
      const At end = end_of_axis(1);
      return add({.what = What::min, .operands = {least, end}});
    }
    const int kind = pick(3);
    const At factor = kind == 0   ? number(Type::s64, static_cast<std::uint64_t>(pick(4) - 1))
                      : kind == 1 ? add({.what = What::dim, .at = static_cast<At>(pick(2))})
                                  : value(Type::s64, 0);
    const At product = add({.what = What::multiply, .operands = {i, factor}});
    const At j = other();
    return add({.what = chance(80) ? What::add : What::subtract, .operands = {product, j}});
  }

  At value(Type type, int depth) {
    const int kind = pick(100);
    if (depth <= 0 || k_.nodes.size() > 1500) return leaf(type);
    if (kind < 25) return leaf(type);
    if (kind < 40) {
      std::vector<At> fits;
      for (std::size_t t = 0; t < tensors_.size(); ++t)
        if (tensors_[t].type == type) fits.push_back(static_cast<At>(t));
      if (fits.empty()) return leaf(type);
      const At t = fits[static_cast<std::size_t>(pick(static_cast<int>(fits.size())))];
      std::vector<At> operands;
      const std::vector<Dim> dims = tensors_[t].dims;
      for (const Dim& d : dims) operands.push_back(index(d));
      return add({.what = What::load, .at = t, .operands = std::move(operands)});
    }
    if (kind < 45) {
      At made = 0;
      return call(made, &type) ? made : leaf(type);
    }
    if (kind < 52) {
      const At c = value(Type::boolean, depth - 1);
      const At a = value(type, depth - 1);
      const At b = value(type, depth - 1);
      return add({.what = What::select, .operands = {c, a, b}});
    }
    if (type == Type::boolean) return condition(depth);
    if (kind < 62) {
      const At from = value(any_type(), depth - 1);
      return add({.what = What::as, .type = type, .operands = {from}});
    }
    return is_float(type) ? real_operation(type, depth) : integer_operation(type, depth);
  }

  At leaf(Type type) {
    if (type == Type::s64 && chance(20)) {
      if (chance(50) && !counters_.empty()) return slot(counters_.back());
      if (chance(50)) return add({.what = What::dim, .at = static_cast<At>(pick(2))});
      const auto t = static_cast<At>(pick(static_cast<int>(tensors_.size())));
      const auto axis = static_cast<At>(pick(static_cast<int>(tensors_[t].dims.size())));
      return add({.what = What::size, .at = t, .operands = {axis}});
    }
    std::vector<At> fits;
    for (const At at : vars_)
      if (k_.slots[at] == type) fits.push_back(at);
    if (!fits.empty() && chance(70))
      return slot(fits[static_cast<std::size_t>(pick(static_cast<int>(fits.size())))]);
    return number(type, cell(type));
  }

  At condition(int depth) {
    const int kind = pick(10);
    if (kind < 2) {
      const At a = value(Type::boolean, depth - 1);
      return add({.what = What::logical_not, .operands = {a}});
    }
    if (kind < 5) {
      const At a = value(Type::boolean, depth - 1);
      const At b = value(Type::boolean, depth - 1);
      return add({.what = kind == 2 ? What::logical_or : What::logical_and, .operands = {a, b}});
    }
    const Type type = common_type();
    if (kind == 5 && is_float(type))
      return add({.what = What::is_nan, .operands = {value(type, depth - 1)}});
    const At a = value(type, depth - 1);
    const At b = value(type, depth - 1);
    return add(
        {.what = static_cast<What>(static_cast<int>(What::equal) + pick(6)), .operands = {a, b}});
  }

  At real_operation(Type type, int depth) {
    constexpr std::array<What, 6> two{What::add, What::subtract, What::multiply,
                                      What::min, What::max,      What::divide};
    constexpr std::array<What, 10> one{What::negate, What::abs, What::sqrt, What::floor, What::ceil,
                                       What::trunc,  What::exp, What::log,  What::tanh,  What::sin};
    if (chance(60)) {
      const At a = value(type, depth - 1);
      const At b = value(type, depth - 1);
      const What what = chance(5) ? What::pow : two[static_cast<std::size_t>(pick(6))];
      return add({.what = what, .operands = {a, b}});
    }
    return add(
        {.what = one[static_cast<std::size_t>(pick(10))], .operands = {value(type, depth - 1)}});
  }

  At integer_operation(Type type, int depth) {
    constexpr std::array<What, 12> two{What::add,         What::subtract,    What::multiply,
                                       What::min,         What::max,         What::quotient,
                                       What::remainder,   What::bitwise_and, What::bitwise_or,
                                       What::bitwise_xor, What::left_shift,  What::right_shift};
    constexpr std::array<What, 6> one{What::negate,
                                      What::abs,
                                      What::bitwise_not,
                                      What::population_count,
                                      What::count_leading_zeros,
                                      What::count_trailing_zeros};
    if (chance(25))
      return add(
          {.what = one[static_cast<std::size_t>(pick(6))], .operands = {value(type, depth - 1)}});
    const What what = two[static_cast<std::size_t>(pick(12))];
    const At a = value(type, depth - 1);
    At b = value(type, depth - 1);
    if ((what == What::quotient || what == What::remainder) && chance(98)) {
      const At odd = number(type, 1);
      b = add({.what = What::bitwise_or, .operands = {b, odd}});
    }
    return add({.what = what, .operands = {a, b}});
  }

  struct Tensor : Array {
    bool writable = false;
  };

  std::mt19937_64 random_;
  Kernel k_;
  const Unit* done_ = nullptr;
  std::vector<Tensor> tensors_;
  std::vector<At> vars_;      ///< assigned everywhere
  std::vector<At> counters_;  ///< of the loops around
  int loop_depth_ = 0;
  bool long_ = false;  ///< in a loop of many turns
};

}  // namespace outrigger::kernel
