#include "model/generator.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <set>
#include <utility>

namespace outrigger::test {
namespace {

/// A value that instructions may use.
struct Slot {
  ValueId id = 0;
  ValueType type;
  /// True if it may be written in place: a value from outside of a region may not.
  bool own = true;
  /// Slots with one number share memory.
  int memory = 0;
  /// See Argument.
  bool dense = true;
};

using Slots = std::vector<Slot>;
using Filter = std::function<bool(const Slot&)>;

bool any(const Slot&) { return true; }
bool is_scalar(const Slot& slot) { return slot.type.shape.empty(); }
bool has_rank(const Slot& slot) { return !slot.type.shape.empty(); }
bool is_vector(const Slot& slot) { return slot.type.shape.size() == 1; }

Number whole(std::int64_t number) { return number; }

class Generator {
 public:
  explicit Generator(Random& random) : random_(random) {}

  Generated program(const std::vector<Argument>& args, const GeneratorOptions& options) {
    may_fail_ = options.may_fail;
    Generated out;
    Slots slots;
    for (const Argument& arg : args) {
      const ValueId id = new_id();
      out.program.params.push_back(id);
      slots.push_back({id, arg.type, true, arg.memory, arg.dense});
      next_memory_ = std::max(next_memory_, arg.memory + 1);
    }
    const std::int64_t steps = between(random_, 1, 5);
    for (std::int64_t i = 0; i < steps; ++i) emit(out.program, slots, 0);
    if (options.ill_typed) {
      out.index = static_cast<std::uint32_t>(out.program.body.size());
      out.code = emit_ill_typed(out.program, slots);
    }
    choose_outputs(out, slots);
    return out;
  }

 private:
  ValueId new_id() { return next_id_++; }

  const Slot* pick(const Slots& slots, const Filter& filter) {
    std::vector<const Slot*> fitting;
    for (const Slot& slot : slots) {
      if (filter(slot)) fitting.push_back(&slot);
    }
    if (fitting.empty()) return nullptr;
    // Later values are more likely, so that chains grow.
    const auto n = static_cast<std::int64_t>(fitting.size());
    return fitting[static_cast<std::size_t>(
        std::max(between(random_, 0, n - 1), between(random_, 0, n - 1)))];
  }

  /// Adds an instruction whose result has its own memory.
  Slot add(Region& region, Slots& slots, std::string op, std::vector<Operand> in, ValueType type,
           Attrs attrs = {}) {
    Instruction made;
    made.op = std::move(op);
    made.in = std::move(in);
    made.out = {new_id()};
    made.attrs = std::move(attrs);
    region.body.push_back(std::move(made));
    slots.push_back({region.body.back().out[0], std::move(type), true, next_memory_++});
    return slots.back();
  }

  /// Adds an instruction that may write `target` in place: its result has the target's type.
  Slot update(Region& region, Slots& slots, std::string op, const Slot& target,
              std::vector<Operand> more, Attrs attrs = {}) {
    std::vector<Operand> in{target.id};
    in.insert(in.end(), more.begin(), more.end());
    const Slot from = target;  // `target` may be an element of `slots`, which grows
    Slot made = add(region, slots, std::move(op), std::move(in), from.type, std::move(attrs));
    if (from.own && chance(random_, 35)) {
      region.body.back().in_place = true;
      slots.back().memory = from.memory;
      made = slots.back();
    }
    return made;
  }

  Slot constant(Region& region, Slots& slots, const std::string& dtype, Shape shape,
                std::int64_t value) {
    ValueType type{dtype, shape};
    add(region, slots, "constant", {}, std::move(type),
        {{"value", whole(value)}, {"type", dtype}, {"shape", std::move(shape)}});
    slots.back().dense = false;
    return slots.back();
  }

  /// Reduces numbers to a small range, in place if the last instruction was in place.
  void bound(Region& region, Slots& slots, const Slot& grown) {
    const bool in_place = region.body.back().in_place;
    const Slot from = grown;
    std::erase_if(slots, [&](const Slot& slot) { return slot.id == from.id; });
    if (!in_place) {
      update(region, slots, "remainder", from, {whole(251)});
      return;
    }
    add(region, slots, "remainder", {from.id, whole(251)}, from.type);
    region.body.back().in_place = true;
    slots.back().memory = from.memory;
  }

  void emit(Region& region, Slots& slots, int depth) {
    using Emit = void (Generator::*)(Region&, Slots&);
    static constexpr std::array<Emit, 18> choices{
        &Generator::emit_binary,    &Generator::emit_binary,  &Generator::emit_binary,
        &Generator::emit_unary,     &Generator::emit_view,    &Generator::emit_view,
        &Generator::emit_select,    &Generator::emit_sum,     &Generator::emit_put_slice,
        &Generator::emit_put_slice, &Generator::emit_take,    &Generator::emit_indexed,
        &Generator::emit_indexed,   &Generator::emit_vector,  &Generator::emit_create,
        &Generator::emit_join,      &Generator::emit_stencil, &Generator::emit_stencil};
    if (depth < 2 && chance(random_, 12)) return emit_while(region, slots, depth);
    if (depth < 2 && chance(random_, 8)) return emit_cond(region, slots, depth);
    const auto choice = static_cast<std::size_t>(between(random_, 0, choices.size() - 1));
    (this->*choices[choice])(region, slots);
  }

  void emit_binary(Region& region, Slots& slots) {
    static constexpr std::array<const char*, 7> ops{"add", "subtract", "multiply", "min",
                                                    "max", "greater",  "equal"};
    const Slot x = *pick(slots, any);
    const Slot* other = pick(slots, [&](const Slot& slot) {
      const Shape& shape = slot.type.shape;
      const bool fits = shape == x.type.shape || shape.empty() ||
                        (!x.type.shape.empty() && shape == Shape{x.type.shape.back()});
      return slot.type.dtype == x.type.dtype && fits;
    });
    const std::string op = ops[static_cast<std::size_t>(between(random_, 0, ops.size() - 1))];
    Operand y = whole(between(random_, 0, 9));
    if (other != nullptr && chance(random_, 80)) y = other->id;
    if (op == "greater" || op == "equal") {
      add(region, slots, op, {x.id, y}, {"u8", x.type.shape});
      return;
    }
    bound(region, slots, update(region, slots, op, x, {y}));
  }

  void emit_unary(Region& region, Slots& slots) {
    const Slot x = *pick(slots, any);
    if (chance(random_, 50)) {
      static constexpr std::array<const char*, 5> dtypes{"u8", "s32", "s64", "f32", "f64"};
      const std::string to = dtypes[static_cast<std::size_t>(between(random_, 0, 4))];
      add(region, slots, "as_type", {x.id}, {to, x.type.shape}, {{"type", to}});
    } else {
      update(region, slots, chance(random_, 50) ? "negate" : "abs", x, {});
    }
  }

  void emit_view(Region& region, Slots& slots) {
    const Slot x = *pick(slots, any);
    Shape shape = x.type.shape;
    std::string op;
    Attrs attrs;
    std::vector<Operand> in{x.id};
    // The daemon may refuse a mutable reshape of strided memory. The model cannot know this.
    bool in_place = x.own && x.dense && chance(random_, 40);
    switch (between(random_, 0, 4)) {
      case 0:
        op = "reshape";
        shape = reshaped(shape);
        attrs = {{"shape", shape}};
        in_place = false;
        break;
      case 1:
        op = "squeeze";
        std::erase(shape, 1);
        break;
      case 2:
        op = "transpose";
        std::reverse(shape.begin(), shape.end());
        break;
      case 3:
        op = "reverse";
        break;
      default:
        op = "slice";
        for (std::int64_t& size : shape) {
          const std::int64_t length = between(random_, 1, size);
          in.emplace_back(start(slots, size));
          size = length;
        }
        attrs = {{"lengths", shape}};
    }
    add(region, slots, op, std::move(in), {x.type.dtype, std::move(shape)}, std::move(attrs));
    slots.back().dense = x.dense;
    if (in_place) {
      region.body.back().in_place = true;
      slots.back().memory = x.memory;
    }
  }

  Shape reshaped(const Shape& shape) {
    const std::int64_t count = count_of(shape);
    const std::int64_t rows = between(random_, 1, 4);
    if (count % rows == 0 && chance(random_, 60)) return {rows, count / rows};
    return {count};
  }

  /// A start of a slice: a number, which may be out of range, or a scalar.
  Operand start(const Slots& slots, std::int64_t size) {
    const Slot* scalar =
        pick(slots, [](const Slot& slot) { return is_scalar(slot) && slot.type.dtype[0] != 'f'; });
    if (scalar != nullptr && chance(random_, 30)) return scalar->id;
    return whole(between(random_, -2, size + 1));
  }

  void emit_select(Region& region, Slots& slots) {
    const Slot x = *pick(slots, any);
    const auto same_shape = [&](const Slot& slot) { return slot.type.shape == x.type.shape; };
    const Slot pred = *pick(slots, same_shape);
    const Slot y = *pick(slots, [&](const Slot& slot) { return slot.type == x.type; });
    add(region, slots, "select", {pred.id, x.id, y.id}, x.type);
  }

  void emit_sum(Region& region, Slots& slots) {
    // The sum of u8 is u32, a dtype that the model does not have.
    const Slot* x = pick(slots, [](const Slot& slot) { return slot.type.dtype != "u8"; });
    if (x == nullptr) return;
    bound(region, slots, add(region, slots, "sum", {x->id}, {x->type.dtype, {}}));
  }

  void emit_put_slice(Region& region, Slots& slots) {
    const Slot x = *pick(slots, any);
    const Slot* part = pick(slots, [&](const Slot& slot) {
      if (slot.type.dtype != x.type.dtype || slot.type.shape.size() != x.type.shape.size())
        return false;
      for (std::size_t i = 0; i < x.type.shape.size(); ++i) {
        if (slot.type.shape[i] > x.type.shape[i]) return false;
      }
      return true;
    });
    std::vector<Operand> more{part->id};
    for (const std::int64_t size : x.type.shape) more.push_back(start(slots, size));
    update(region, slots, "put_slice", x, std::move(more));
  }

  /// Puts the result of a window's neighbours into that window of a value.
  void emit_stencil(Region& region, Slots& slots) {
    const Slot* found = pick(slots, has_rank);
    if (found == nullptr) return;
    const Slot x = *found;
    Shape shape = x.type.shape;
    for (std::int64_t& size : shape)
      size = between(random_, std::max<std::int64_t>(size - 2, 1), size);
    const auto starts = [&](ValueId first) {
      std::vector<Operand> in{first};
      for (const std::int64_t size : x.type.shape) in.push_back(start(slots, size));
      return in;
    };
    const auto window = [&] {
      add(region, slots, "slice", starts(x.id), {x.type.dtype, shape}, {{"lengths", shape}});
      slots.back().dense = x.dense;
      if (x.own && x.dense && chance(random_, 20)) {
        region.body.back().in_place = true;
        slots.back().memory = x.memory;
      }
      return slots.back();
    };
    Slot made = window();
    for (std::int64_t more = between(random_, 0, 2); more > 0; --more) {
      const Slot next = window();
      made = add(region, slots, chance(random_, 50) ? "max" : "min", {made.id, next.id}, made.type);
    }
    made = add(region, slots, "negate", {made.id}, made.type);
    update(region, slots, "put_slice", x, starts(made.id));
  }

  /// s64[n], or s64[n][1]: rows of an axis of size `rows`. In some cases, if allowed, they are out
  /// of bounds.
  Slot indices(Region& region, Slots& slots, std::int64_t n, bool column, std::int64_t rows) {
    const Shape shape = column ? Shape{n, 1} : Shape{n};
    if (may_fail_ && chance(random_, 30)) {
      return constant(region, slots, "s64", shape, chance(random_, 50) ? -1 : rows);
    }
    if (chance(random_, 40))
      return constant(region, slots, "s64", shape, between(random_, 0, rows - 1));
    const Slot count = add(region, slots, "iota", {}, {"s64", shape},
                           {{"type", std::string("s64")}, {"shape", shape}});
    const Slot more =
        add(region, slots, "add", {count.id, whole(between(random_, 0, 9))}, count.type);
    return add(region, slots, "remainder", {more.id, whole(rows)}, count.type);
  }

  void emit_take(Region& region, Slots& slots) {
    const Slot* found = pick(slots, has_rank);
    if (found == nullptr) return;
    const Slot x = *found;
    const std::int64_t n = between(random_, 1, 4);
    const Slot index = indices(region, slots, n, false, x.type.shape[0]);
    Shape shape = x.type.shape;
    shape[0] = n;
    if (count_of(shape) > 100) return;
    add(region, slots, "take", {x.id, index.id}, {x.type.dtype, std::move(shape)});
  }

  void emit_indexed(Region& region, Slots& slots) {
    const Slot* found = pick(slots, has_rank);
    if (found == nullptr) return;
    const Slot x = *found;
    const Slot* rows = pick(slots, [&](const Slot& slot) {
      const Shape& shape = slot.type.shape;
      return slot.type.dtype == x.type.dtype && shape.size() == x.type.shape.size() &&
             std::equal(shape.begin() + 1, shape.end(), x.type.shape.begin() + 1);
    });
    const Slot updates = *rows;
    const Slot index = indices(region, slots, updates.type.shape[0], true, x.type.shape[0]);
    if (chance(random_, 50)) {
      update(region, slots, "indexed_put", x, {index.id, updates.id});
    } else {
      bound(region, slots, update(region, slots, "indexed_add", x, {index.id, updates.id}));
    }
  }

  void emit_vector(Region& region, Slots& slots) {
    const Slot* x = pick(slots, is_vector);
    if (x == nullptr) return;
    if (chance(random_, 50)) {
      update(region, slots, "sort", *x, {});
    } else {
      bound(region, slots, add(region, slots, "cumulative_sum", {x->id}, x->type));
    }
  }

  void emit_create(Region& region, Slots& slots) {
    const Slot x = *pick(slots, any);
    switch (between(random_, 0, 2)) {
      case 0:
        constant(region, slots, x.type.dtype, x.type.shape, between(random_, 0, 50));
        break;
      case 1:
        update(region, slots, "fill", x, {whole(between(random_, 0, 50))});
        break;
      default: {
        Shape shape = x.type.shape;
        shape.insert(shape.begin(), between(random_, 1, 3));
        if (count_of(shape) > 100 || shape.size() > 3) return;
        ValueType type{x.type.dtype, shape};
        add(region, slots, "broadcast", {x.id}, std::move(type), {{"shape", std::move(shape)}});
        slots.back().dense = false;
      }
    }
  }

  void emit_join(Region& region, Slots& slots) {
    const Slot* found = pick(slots, has_rank);
    if (found == nullptr) return;
    const Slot x = *found;
    const Slot y = *pick(slots, [&](const Slot& slot) {
      const Shape& shape = slot.type.shape;
      return slot.type.dtype == x.type.dtype && shape.size() == x.type.shape.size() &&
             std::equal(shape.begin() + 1, shape.end(), x.type.shape.begin() + 1);
    });
    Shape shape = x.type.shape;
    shape[0] += y.type.shape[0];
    if (count_of(shape) > 100) return;
    add(region, slots, "concatenate", {x.id, y.id}, {x.type.dtype, std::move(shape)});
  }

  static Slots captured(const Slots& slots) {
    Slots out = slots;
    for (Slot& slot : out) slot.own = false;
    return out;
  }

  ValueId any_of_type(const Slots& slots, const ValueType& type) {
    return pick(slots, [&](const Slot& slot) { return slot.type == type; })->id;
  }

  /// A counter and up to two states, which the body changes by random instructions.
  void emit_while(Region& region, Slots& slots, int depth) {
    std::vector<Slot> state{constant(region, slots, "s32", {}, 0)};
    for (std::int64_t n = between(random_, 1, 2); n > 0; --n) state.push_back(*pick(slots, any));
    Instruction made;
    made.op = "while";
    made.regions.resize(2);
    std::array<Slots, 2> inside{captured(slots), captured(slots)};
    const std::size_t captured_count = slots.size();
    for (std::size_t i = 0; i < 2; ++i) {
      for (const Slot& slot : state) {
        made.regions[i].params.push_back(new_id());
        inside[i].push_back(
            {made.regions[i].params.back(), slot.type, true, next_memory_++, false});
      }
    }
    const Slot go = add(made.regions[0], inside[0], "greater",
                        {constant(made.regions[0], inside[0], "s32", {}, between(random_, 0, 4)).id,
                         made.regions[0].params[0]},
                        {"u8", {}});
    made.regions[0].outputs = {go.id};
    Region& body = made.regions[1];
    // No instruction may write the counter, because the loop might never end.
    inside[1][captured_count].own = false;
    const ValueId counter = add(body, inside[1], "add", {body.params[0], whole(1)}, {"s32", {}}).id;
    inside[1].back().own = false;
    body.outputs = {counter};
    for (std::int64_t n = between(random_, 1, 3); n > 0; --n) emit(body, inside[1], depth + 1);
    for (std::size_t i = 1; i < state.size(); ++i) {
      body.outputs.push_back(any_of_type(inside[1], state[i].type));
    }
    finish(region, slots, std::move(made), state);
  }

  void emit_cond(Region& region, Slots& slots, int depth) {
    const Slot chosen = *pick(slots, any);
    Slot pred = *pick(slots, any);
    if (!is_scalar(pred)) {
      pred = constant(region, slots, "u8", {}, between(random_, 0, 1));
    }
    Instruction made;
    made.op = "cond";
    made.in = {pred.id};
    made.regions.resize(2);
    for (Region& branch : made.regions) {
      Slots inside = captured(slots);
      for (std::int64_t n = between(random_, 0, 2); n > 0; --n) emit(branch, inside, depth + 1);
      branch.outputs = {any_of_type(inside, chosen.type)};
    }
    finish(region, slots, std::move(made), {chosen}, false);
  }

  /// Adds an instruction with regions, whose results have the types of `state`.
  void finish(Region& region, Slots& slots, Instruction made, const std::vector<Slot>& state,
              bool operands = true) {
    for (const Slot& slot : state) {
      if (operands) made.in.emplace_back(slot.id);
      made.out.push_back(new_id());
      slots.push_back({made.out.back(), slot.type, true, next_memory_++, false});
    }
    region.body.push_back(std::move(made));
  }

  std::string emit_ill_typed(Region& region, Slots& slots) {
    const Slot x = *pick(slots, any);
    Shape wider = x.type.shape;
    wider.push_back(x.type.shape.empty() ? 2 : x.type.shape.back() + 2);
    switch (between(random_, 0, 5)) {
      case 0:
        add(region, slots, "reshape", {x.id}, x.type,
            {{"shape", Shape{count_of(x.type.shape) + 1}}});
        return "bad_shape";
      case 1:
        add(region, slots, "frobnicate", {x.id}, x.type);
        return "unknown_op";
      case 2:
        add(region, slots, "sum", {x.id}, x.type, {{"axes", Shape{7}}});
        return "bad_axis";
      case 3:
        add(region, slots, "negate", {x.id}, x.type, {{"speed", true}});
        return "bad_attr";
      case 4:
        add(region, slots, "negate", {x.id, x.id}, x.type);
        return "bad_program";
      default:
        add(region, slots, "bitwise_and", {x.id, Number(0.5)}, x.type);
        return "bad_dtype";
    }
  }

  /// Up to three values that do not share memory, except for unchanged arguments, which are copied.
  void choose_outputs(Generated& out, const Slots& slots) {
    Program& program = out.program;
    std::set<int> taken;
    for (std::int64_t n = between(random_, 1, 3); n > 0; --n) {
      const Slot slot = *pick(slots, any);
      const bool parameter = std::count(program.params.begin(), program.params.end(), slot.id) > 0;
      if (!parameter && !taken.insert(slot.memory).second) continue;
      program.outputs.push_back(slot.id);
      out.dense.push_back(slot.dense);
    }
  }

  Random& random_;
  ValueId next_id_ = 0;
  int next_memory_ = 0;
  bool may_fail_ = false;
};

}  // namespace

ValueType random_type(Random& random) {
  static constexpr std::array<const char*, 5> dtypes{"u8", "s32", "s64", "f32", "f64"};
  ValueType type{dtypes[static_cast<std::size_t>(between(random, 0, 4))], {}};
  // There are few different sizes, so that many shapes are compatible.
  for (std::int64_t rank = between(random, 0, 3); rank > 0; --rank) {
    type.shape.push_back(between(random, 1, 4));
  }
  if (type.shape.size() == 1 && chance(random, 50)) type.shape[0] = between(random, 5, 60);
  return type;
}

Value random_value(Random& random, const ValueType& type) {
  std::vector<std::int64_t> cells(static_cast<std::size_t>(count_of(type.shape)));
  for (std::int64_t& cell : cells) {
    cell = cell_of(type.dtype, between(random, type.dtype == "u8" ? 0 : -50, 50));
  }
  return make_value(type, std::move(cells));
}

Generated random_program(Random& random, const std::vector<Argument>& args,
                         const GeneratorOptions& options) {
  return Generator(random).program(args, options);
}

}  // namespace outrigger::test
