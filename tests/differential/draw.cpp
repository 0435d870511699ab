#include "differential/draw.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "ops/op.hpp"
#include "tensor/packing.hpp"

namespace outrigger::test {
namespace {

using List = std::vector<std::int64_t>;
using ops::OpRow;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::string dtype_name(Random& random) { return std::string(name_of(any_of(random, all_dtypes))); }

std::int64_t size(const Known& known) { return static_cast<std::int64_t>(known.type.shape.size()); }

class Maker {
 public:
  Maker(Random& random, const Shapes& shapes, std::span<const Known> known)
      : random_(random), shapes_(shapes), known_(known) {}

  Instruction make(ValueId next) {
    const OpRow& row = pick_row();
    Instruction made;
    made.op = row.name;
    for (int i = 0; i < row.results; ++i) made.out.push_back(next + static_cast<ValueId>(i));
    operands(row, made);
    for (const ops::AttrSpec& spec : row.attrs) attribute(row, spec, made);
    if (!row.regions.empty()) made.regions.push_back(region(row, next + 16));
    return made;
  }

 private:
  const OpRow& pick_row() {
    static const auto rows = [] {
      std::array<std::vector<const OpRow*>, 3> all;
      for (const OpRow& row : ops::all_ops()) {
        if (row.kind == ops::Kind::control) continue;
        all.at(row.kind == ops::Kind::elementwise ? 0 : 1).push_back(&row);
        if (row.reduction != nullptr) all.at(2).push_back(&row);
      }
      return all;
    }();
    // Chains that end in reductions are frequent, because they become passes.
    const std::int64_t draw = number(0, 99);
    return *any_of(random_, rows.at(draw < 55 ? 0 : draw < 85 ? 1 : 2));
  }

  std::int64_t number(std::int64_t low, std::int64_t high) { return between(random_, low, high); }

  /// Later values are more likely, so that chains grow.
  const Known& pick() {
    const auto n = static_cast<std::int64_t>(known_.size());
    return known_[static_cast<std::size_t>(std::max(number(0, n - 1), number(0, n - 1)))];
  }

  template <typename Filter>
  const Known* pick(const Filter& filter) {
    std::vector<const Known*> fitting;
    for (const Known& known : known_) {
      if (filter(known)) fitting.push_back(&known);
    }
    return fitting.empty() ? nullptr : any_of(random_, fitting);
  }

  Number literal() {
    switch (number(0, 11)) {
      case 0:
        return 0.5;
      case 1:
        return -1.5;
      case 2:
        return infinity;
      case 3:
        return nan;
      case 4:
        return -0.0;
      default:
        return number(0, 3);
    }
  }

  void operands(const OpRow& row, Instruction& made) {
    const bool chained = row.reduction != nullptr && chance(random_, 60);
    first_ = chained ? &known_.back() : &pick();
    made.in.emplace_back(first_->id);
    if (row.operands.empty()) {
      made.in.clear();
      return;
    }
    if (row.name == "slice" || row.name == "put_slice") {
      if (row.name == "put_slice") made.in.emplace_back(smaller().id);
      for (const std::int64_t dim : first_->type.shape)
        made.in.emplace_back(Number{number(-1, std::max<std::int64_t>(dim, 1))});
      return;
    }
    std::size_t count = row.operands.size();
    if (row.operands.back().many) count = static_cast<std::size_t>(number(1, 3));
    for (std::size_t i = 1; i < count; ++i) made.in.push_back(further(row, i));
  }

  /// A value with the rank of the first one that is not larger along any axis.
  const Known& smaller() {
    const auto* found = pick([&](const Known& known) {
      const Dims& a = known.type.shape;
      const Dims& b = first_->type.shape;
      return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), std::less_equal<>{});
    });
    return *found;
  }

  Operand further(const OpRow& row, std::size_t i) {
    const std::string_view name = row.operands[std::min(i, row.operands.size() - 1)].name;
    const bool scalar = row.name == "clip" || name == "acc" || name == "pad_value" ||
                        name == "init_value" || name == "value";
    if (scalar || (row.kind == ops::Kind::elementwise && chance(random_, 25))) return literal();
    if (name == "indices") {
      const bool tuples = row.name != "take" && row.name != "take_along_axis";
      const auto* indices = pick([&](const Known& known) {
        const Dims& shape = known.type.shape;
        return is_integer(known.type.dtype) && (!tuples || (!shape.empty() && shape.back() == 1));
      });
      if (indices != nullptr) return indices->id;
    }
    if (chance(random_, 70)) {
      const auto* fitting = pick([&](const Known& known) {
        return known.type.shape == first_->type.shape || known.type.shape.empty();
      });
      if (fitting != nullptr) return fitting->id;
    }
    return pick().id;
  }

  List axes() {
    List all(first_->type.shape.size());
    std::iota(all.begin(), all.end(), 0);
    std::erase_if(all, [&](std::int64_t) { return chance(random_, 50); });
    return all;
  }

  List each_axis(std::int64_t low, std::int64_t high) {
    List all(first_->type.shape.size());
    for (std::int64_t& item : all) item = number(low, high);
    return all;
  }

  std::int64_t axis() { return number(0, std::max<std::int64_t>(size(*first_) - 1, 0)); }

  void attribute(const OpRow& row, const ops::AttrSpec& spec, Instruction& made) {
    const bool numbered = spec.name == "axis" || spec.name == "stable" || spec.name == "strides" ||
                          row.family == "index";
    if (!spec.required && !numbered && chance(random_, 40)) return;
    const auto give = [&](AttrValue value) {
      made.attrs.emplace_back(spec.name, std::move(value));
    };
    const auto is = [&](std::string_view name) { return spec.name == name; };
    if (spec.type == ops::AttrType::boolean) return give(is("stable") || chance(random_, 50));
    if (spec.type == ops::AttrType::dtype) return give(dtype(row));
    if (is("direction")) return give(std::string(chance(random_, 50) ? "asc" : "desc"));
    if (is("tie_break")) return give(std::string(chance(random_, 50) ? "low" : "high"));
    if (is("value")) return give(literal());
    if (is("k")) return give(Number{number(1, 2)});
    if (is("axis")) return give(Number{axis()});
    if (is("shape")) return give(shape(row));
    if (is("data")) return give(bytes(made));
    if (is("lengths") && row.name == "slice") {
      List all(first_->type.shape.begin(), first_->type.shape.end());
      for (std::int64_t& item : all) item = chance(random_, 50) ? item : number(0, item);
      return give(std::move(all));
    }
    if (row.name == "dot" && is("left_axes")) return give(List{size(*first_) - 1});
    if (row.name == "dot" && is("right_axes")) return give(List{0});
    if (row.family == "index" && is("axes")) return give(List{0});
    if (is("axes") && row.name == "transpose") {
      List all(first_->type.shape.size());
      std::iota(all.begin(), all.end(), 0);
      std::shuffle(all.begin(), all.end(), random_);
      return give(std::move(all));
    }
    if (is("axes") && row.family != "fft" && row.name != "broadcast") return give(axes());
    if (is("window")) return give(each_axis(1, 3));
    if (is("strides") && row.name != "conv") return give(each_axis(1, 2));
    if (is("window_dilations")) return give(each_axis(1, 2));
    if (is("padding_low") || is("padding_high")) {
      if (row.name != "conv") give(each_axis(0, 2));
      return;
    }
    if (is("low") || is("high")) return give(each_axis(-1, 2));
    if (is("interior")) return give(each_axis(0, 1));
  }

  std::string dtype(const OpRow& row) {
    if (row.name != "bitcast") return dtype_name(random_);
    std::vector<DType> fitting;
    for (const DType dtype : all_dtypes) {
      if (bits_of(dtype) == bits_of(first_->type.dtype)) fitting.push_back(dtype);
    }
    return std::string(name_of(any_of(random_, fitting)));
  }

  /// The bytes for the dtype and the shape that were drawn before.
  Bytes bytes(const Instruction& made) {
    const ops::AttrView given(made.attrs);
    const TensorType type{given.dtype("type"),
                          Dims(given.integers("shape").begin(), given.integers("shape").end())};
    const std::int64_t count = packed_byte_count(type);
    Bytes all(count > 100'000 ? 0 : static_cast<std::size_t>(count));
    for (std::uint8_t& byte : all) byte = static_cast<std::uint8_t>(random_());
    return all;
  }

  List shape(const OpRow& row) {
    const Dims& from = first_->type.shape;
    List all(from.begin(), from.end());
    if (row.name == "reshape") {
      if (chance(random_, 50)) return {element_count(from)};
      std::reverse(all.begin(), all.end());
      return all;
    }
    if (row.name == "broadcast") {
      for (std::int64_t& dim : all) dim = dim == 1 && chance(random_, 50) ? 3 : dim;
      if (chance(random_, 50)) all.insert(all.begin(), number(0, 3));
      return all;
    }
    const Dims drawn = shapes_.draw(random_);
    return {drawn.begin(), drawn.end()};
  }

  /// A region of a fold op: elementwise on its parameters, in some cases with a scalar in the
  /// middle.
  Region region(const OpRow& row, ValueId next) {
    constexpr std::array ops{"add", "multiply", "max", "min", "subtract", "bitwise_xor"};
    Region made;
    made.params = {next};
    if (row.name != "map") made.params.push_back(next + 1);
    Operand left = made.params[0];
    ValueId id = next + 2;
    if (chance(random_, 40)) {
      made.body.push_back({"multiply", {left, literal()}, {id}, {}, {}, false});
      left = id++;
    }
    if (row.name != "map") {
      made.body.push_back({any_of(random_, ops), {left, next + 1}, {id}, {}, {}, false});
      left = id;
    }
    made.outputs = {std::get<ValueId>(left)};
    return made;
  }

  Random& random_;
  const Shapes& shapes_;
  std::span<const Known> known_;
  const Known* first_ = nullptr;
};

}  // namespace

Shapes::Shapes(Random& random) {
  constexpr std::array small{0, 2, 3, 4, 5, 7};
  sizes_ = {1, any_of(random, small), any_of(random, small)};
  if (sizes_[1] == 0 && chance(random, 60)) sizes_[1] = 3;
  if (chance(random, 12)) sizes_[2] = any_of(random, std::array{70'001, 263, 1100});
}

Dims Shapes::draw(Random& random) const {
  Dims dims;
  for (std::int64_t rank = between(random, 0, 3); rank > 0; --rank)
    dims.push_back(any_of(random, sizes_));
  return dims;
}

void draw_element(Random& random, DType dtype, std::byte* element) {
  if (is_complex(dtype)) {
    const DType part = to_real(dtype);
    draw_element(random, part, element);
    draw_element(random, part, element + size_of(part));
    return;
  }
  if (is_integer(dtype)) {
    const auto any = static_cast<std::int64_t>(random());
    const Number number = chance(random, 15)   ? Number{any}
                          : chance(random, 15) ? Number{std::int64_t{-1}}
                          : chance(random, 10) ? Number{std::int64_t{1} << (bits_of(dtype) - 1)}
                                               : Number{between(random, 0, 5)};
    return store_number(number, dtype, element);
  }
  constexpr std::array specials{0.0,    -0.0,   1.0,  -1.0,  infinity, -infinity, nan,
                                5e-324, 1e-45,  6e-8, 1e-40, -1e-310,  65504.0,   448.0,
                                3.4e38, -1e308, 0.5,  2.5,   -2.5,     57344.0,   1e10};
  if (chance(random, 10)) return store_number(Number{any_of(random, specials)}, dtype, element);
  if (chance(random, 10)) {
    for (std::size_t i = 0; i < size_of(dtype); ++i)
      element[i] = static_cast<std::byte>(random() & 255);
    return;
  }
  const double x = std::normal_distribution<double>(0, 3)(random);
  store_number(Number{x}, dtype, element);
}

Instruction draw_instruction(Random& random, const Shapes& shapes, std::span<const Known> known,
                             ValueId next) {
  return Maker(random, shapes, known).make(next);
}

std::vector<Instruction> draw_stencil(Random& random, const Known& known, ValueId next) {
  const Dims& shape = known.type.shape;
  List lengths;
  for (const std::int64_t dim : shape)
    lengths.push_back(dim - between(random, 0, std::clamp<std::int64_t>(dim - 1, 0, 2)));
  const auto at_starts = [&](std::vector<Operand> in) {
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
      in.emplace_back(Number{between(random, -1, 3)});
    return in;
  };
  std::vector<Instruction> made;
  const auto add = [&](std::string op, std::vector<Operand> in, Attrs attrs = {}) {
    made.push_back({std::move(op), std::move(in), {next}, std::move(attrs), {}, false});
    return next++;
  };
  const ValueId grid = add("add", {known.id, Number{between(random, 0, 2)}});
  const auto window = [&] { return add("slice", at_starts({grid}), {{"lengths", lengths}}); };
  constexpr std::array ops{"add", "subtract", "max", "multiply"};
  ValueId value = window();
  for (std::int64_t more = between(random, 1, 3); more > 0; --more) {
    const ValueId other = window();
    value = add(any_of(random, ops), {value, other});
  }
  add("put_slice", at_starts({grid, value}));
  return made;
}

}  // namespace outrigger::test
