#include "model/reference.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <stdexcept>
#include <utility>

namespace outrigger::test {
namespace {

using Cells = std::vector<std::int64_t>;

bool is_float(const std::string& dtype) { return dtype[0] == 'f'; }

double real_of(const std::string& dtype, std::int64_t cell) {
  return is_float(dtype) ? std::bit_cast<double>(cell) : static_cast<double>(cell);
}

std::int64_t store_integer(const std::string& dtype, std::int64_t value) {
  if (dtype == "u8") return static_cast<std::uint8_t>(value);
  if (dtype == "s32") return static_cast<std::int32_t>(value);
  return value;
}

std::int64_t store_real(const std::string& dtype, double value) {
  if (dtype == "f32") value = static_cast<double>(static_cast<float>(value));
  return std::bit_cast<std::int64_t>(value);
}

std::int64_t wrapped(std::int64_t a, std::int64_t b, char op) {
  const auto x = static_cast<std::uint64_t>(a);
  const auto y = static_cast<std::uint64_t>(b);
  return static_cast<std::int64_t>(op == '+' ? x + y : op == '-' ? x - y : x * y);
}

std::int64_t binary_integer(const std::string& op, std::int64_t a, std::int64_t b) {
  if (op == "add") return wrapped(a, b, '+');
  if (op == "subtract") return wrapped(a, b, '-');
  if (op == "multiply") return wrapped(a, b, '*');
  if (op == "min") return std::min(a, b);
  if (op == "max") return std::max(a, b);
  if (op == "remainder") return b == 0 ? a : a % b;
  if (op == "greater") return a > b ? 1 : 0;
  if (op == "equal") return a == b ? 1 : 0;
  throw std::logic_error("the model has no op " + op);
}

double binary_real(const std::string& op, double a, double b) {
  if (op == "add") return a + b;
  if (op == "subtract") return a - b;
  if (op == "multiply") return a * b;
  if (op == "min") return a < b ? a : b;
  if (op == "max") return a > b ? a : b;
  if (op == "remainder") return std::fmod(a, b);
  if (op == "greater") return a > b ? 1 : 0;
  if (op == "equal") return a == b ? 1 : 0;
  throw std::logic_error("the model has no op " + op);
}

std::int64_t cast_cell(const std::string& from, const std::string& to, std::int64_t cell) {
  if (is_float(to)) return store_real(to, real_of(from, cell));
  return store_integer(to, is_float(from) ? static_cast<std::int64_t>(real_of(from, cell)) : cell);
}

const AttrValue* find_attr(const Instruction& instruction, const std::string& name) {
  for (const auto& [key, value] : instruction.attrs) {
    if (key == name) return &value;
  }
  return nullptr;
}

Shape shape_attr(const Instruction& instruction, const std::string& name) {
  return std::get<Shape>(*find_attr(instruction, name));
}

std::int64_t integer_attr(const Instruction& instruction, const std::string& name) {
  const AttrValue* value = find_attr(instruction, name);
  return value == nullptr ? 0 : std::get<std::int64_t>(std::get<Number>(*value));
}

std::string string_attr(const Instruction& instruction, const std::string& name) {
  const AttrValue* value = find_attr(instruction, name);
  return value == nullptr ? "" : std::get<std::string>(*value);
}

/// The places of a C-ordered tensor's elements along the axes of `shape` with these strides.
std::vector<std::uint32_t> strided(const Shape& shape, const Shape& strides, std::int64_t offset) {
  std::vector<std::uint32_t> places;
  places.reserve(static_cast<std::size_t>(count_of(shape)));
  Shape at(shape.size(), 0);
  for (std::int64_t n = count_of(shape); n > 0; --n) {
    places.push_back(static_cast<std::uint32_t>(
        std::inner_product(at.begin(), at.end(), strides.begin(), offset)));
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++at[axis] < shape[axis]) break;
      at[axis] = 0;
    }
  }
  return places;
}

Shape c_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) {
    strides[axis - 1] = strides[axis] * shape[axis];
  }
  return strides;
}

class Interpreter {
 public:
  Answer run(const Program& program, const std::vector<Value>& args) {
    Answer answer;
    try {
      for (std::size_t i = 0; i < args.size(); ++i) values_[program.params[i]] = args[i];
      run_body(program);
      for (const ValueId id : program.outputs) {
        answer.outputs.push_back(views_.contains(id) ? values_.at(id) : copy_of(values_.at(id)));
      }
    } catch (Stop& stop) {
      answer.stop = std::move(stop);
    }
    answer.written = std::move(written_);
    return answer;
  }

 private:
  void run_body(const Region& region) {
    for (std::size_t i = 0; i < region.body.size(); ++i) {
      path_.push_back(static_cast<std::uint32_t>(i));
      run_instruction(region.body[i]);
      path_.pop_back();
    }
  }

  void run_instruction(const Instruction& in) {
    if (in.op == "while") return run_while(in);
    if (in.op == "cond") return run_cond(in);
    if (auto view = make_view(in)) {
      if (in.in_place) views_.insert(in.out[0]);
      values_[in.out[0]] = in.in_place ? std::move(*view) : copy_of(*view);
      return;
    }
    Value result = compute(in);
    if (in.in_place) {
      const ValueId id = std::get<ValueId>(in.in[0]);
      if (views_.contains(id)) views_.insert(in.out[0]);
      const Value& target = values_.at(id);
      for (std::size_t i = 0; i < target.size(); ++i) target.set(i, result.get(i));
      written_.insert(target.storage.get());
      result = target;
    }
    values_[in.out[0]] = std::move(result);
  }

  /// The parameters and results of a region are separate values.
  std::vector<Value> run_region(const Region& region, std::uint32_t number,
                                const std::vector<Value>& args) {
    path_.push_back(number);
    for (std::size_t i = 0; i < args.size(); ++i) values_[region.params[i]] = copy_of(args[i]);
    run_body(region);
    std::vector<Value> results;
    for (const ValueId id : region.outputs) results.push_back(copy_of(values_.at(id)));
    path_.pop_back();
    return results;
  }

  void run_while(const Instruction& in) {
    std::vector<Value> state;
    for (std::size_t i = 0; i < in.in.size(); ++i) state.push_back(copy_of(tensor(in, i)));
    while (truth(run_region(in.regions[0], 0, state)[0])) {
      state = run_region(in.regions[1], 1, state);
    }
    for (std::size_t i = 0; i < state.size(); ++i) values_[in.out[i]] = state[i];
  }

  void run_cond(const Instruction& in) {
    const std::uint32_t taken = truth(tensor(in, 0)) ? 0 : 1;
    const auto results = run_region(in.regions[taken], taken, {});
    for (std::size_t i = 0; i < results.size(); ++i) values_[in.out[i]] = results[i];
  }

  static bool truth(const Value& value) { return real_of(value.type.dtype, value.get(0)) != 0; }

  const Value& tensor(const Instruction& in, std::size_t i) const {
    return values_.at(std::get<ValueId>(in.in[i]));
  }

  /// Operand i, or a literal as a scalar of `dtype`.
  Value operand(const Instruction& in, std::size_t i, const std::string& dtype) const {
    if (const auto* id = std::get_if<ValueId>(&in.in[i])) return values_.at(*id);
    const Number& number = std::get<Number>(in.in[i]);
    return make_value({dtype, {}}, {cell_of(dtype, std::get<std::int64_t>(number))});
  }

  std::int64_t scalar(const Instruction& in, std::size_t i) const {
    return operand(in, i, "s64").get(0);
  }

  /// The position in an operand for element i of the shape to which it is broadcast.
  static std::int64_t broadcast(const Value& value, const Shape& shape, std::size_t i) {
    const Shape& own = value.type.shape;
    std::int64_t place = 0;
    std::int64_t stride = 1;
    for (std::size_t k = 0; k < own.size(); ++k) {
      const std::int64_t size = shape[shape.size() - 1 - k];
      const std::int64_t at = static_cast<std::int64_t>(i) % size;
      i /= static_cast<std::size_t>(size);
      const std::int64_t own_size = own[own.size() - 1 - k];
      place += own_size == 1 ? 0 : at * stride;
      stride *= own_size;
    }
    return value.get(static_cast<std::size_t>(place));
  }

  std::optional<Value> make_view(const Instruction& in) const {
    const bool view = in.op == "slice" || in.op == "reshape" || in.op == "squeeze" ||
                      in.op == "transpose" || in.op == "reverse";
    if (!view) return std::nullopt;
    const Value& x = tensor(in, 0);
    Shape shape = x.type.shape;
    Shape strides = c_strides(shape);
    std::int64_t offset = 0;
    if (in.op == "reshape") {
      shape = shape_attr(in, "shape");
      strides = c_strides(shape);
    } else if (in.op == "squeeze") {
      std::erase(shape, 1);
      strides = c_strides(shape);
    } else if (in.op == "transpose") {
      std::reverse(shape.begin(), shape.end());
      std::reverse(strides.begin(), strides.end());
    } else if (in.op == "reverse") {
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        offset += (shape[axis] - 1) * strides[axis];
        strides[axis] = -strides[axis];
      }
    } else {
      const Shape lengths = shape_attr(in, "lengths");
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        offset += std::clamp<std::int64_t>(scalar(in, axis + 1), 0, shape[axis] - lengths[axis]) *
                  strides[axis];
      }
      shape = lengths;
    }
    Value result{{x.type.dtype, shape}, x.storage, strided(shape, strides, offset)};
    for (std::uint32_t& place : result.places) place = x.places[place];
    return result;
  }

  Value compute(const Instruction& in) {
    const std::string& op = in.op;
    if (op == "constant" || op == "iota") return create(in);
    if (op == "as_type" || op == "negate" || op == "abs") return unary(in);
    if (op == "select") return select(in);
    if (op == "sum") return sum(in);
    if (op == "fill") return fill(in);
    if (op == "broadcast") return broadcast_to(in);
    if (op == "put_slice") return put_slice(in);
    if (op == "concatenate") return concatenate(in);
    if (op == "take") return take(in);
    if (op == "indexed_put" || op == "indexed_add") return indexed(in);
    if (op == "sort" || op == "cumulative_sum") return along_last(in);
    return binary(in);
  }

  static Value create(const Instruction& in) {
    ValueType type{string_attr(in, "type"), shape_attr(in, "shape")};
    Cells cells(static_cast<std::size_t>(count_of(type.shape)));
    for (std::size_t i = 0; i < cells.size(); ++i) {
      cells[i] = cell_of(
          type.dtype, in.op == "iota" ? static_cast<std::int64_t>(i) : integer_attr(in, "value"));
    }
    return make_value(std::move(type), std::move(cells));
  }

  Value unary(const Instruction& in) const {
    const Value& x = tensor(in, 0);
    const std::string& from = x.type.dtype;
    const std::string to = in.op == "as_type" ? string_attr(in, "type") : from;
    Cells cells(x.size());
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::int64_t cell = x.get(i);
      if (in.op == "as_type") {
        cells[i] = cast_cell(from, to, cell);
      } else if (is_float(from)) {
        const double value = real_of(from, cell);
        cells[i] = store_real(from, in.op == "negate" ? -value : std::abs(value));
      } else {
        const bool keep = in.op == "abs" && cell >= 0;
        cells[i] = store_integer(from, keep ? cell : wrapped(0, cell, '-'));
      }
    }
    return make_value({to, x.type.shape}, std::move(cells));
  }

  Value binary(const Instruction& in) const {
    const Value& x = tensor(in, 0);
    const std::string& dtype = x.type.dtype;
    const Value y = operand(in, 1, dtype);
    const bool predicate = in.op == "greater" || in.op == "equal";
    const Shape& shape = x.type.shape;
    Cells cells(x.size());
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::int64_t a = x.get(i);
      const std::int64_t b = broadcast(y, shape, i);
      if (is_float(dtype)) {
        const double value = binary_real(in.op, real_of(dtype, a), real_of(dtype, b));
        cells[i] = predicate ? static_cast<std::int64_t>(value) : store_real(dtype, value);
      } else {
        const std::int64_t value = binary_integer(in.op, a, b);
        cells[i] = predicate ? value : store_integer(dtype, value);
      }
    }
    return make_value({predicate ? "u8" : dtype, shape}, std::move(cells));
  }

  Value select(const Instruction& in) const {
    const Value& pred = tensor(in, 0);
    const Value& yes = tensor(in, 1);
    const Value& no = tensor(in, 2);
    Cells cells(yes.size());
    for (std::size_t i = 0; i < cells.size(); ++i) {
      cells[i] = (real_of(pred.type.dtype, pred.get(i)) != 0 ? yes : no).get(i);
    }
    return make_value(yes.type, std::move(cells));
  }

  Value sum(const Instruction& in) const {
    const Value& x = tensor(in, 0);
    const std::string& dtype = x.type.dtype;
    double real = 0;
    std::int64_t whole = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (is_float(dtype))
        real += real_of(dtype, x.get(i));
      else
        whole = wrapped(whole, x.get(i), '+');
    }
    if (is_float(dtype)) return make_value({dtype, {}}, {store_real(dtype, real)});
    return make_value({dtype, {}}, {store_integer(dtype, whole)});
  }

  Value fill(const Instruction& in) const {
    const Value& x = tensor(in, 0);
    const std::int64_t cell = operand(in, 1, x.type.dtype).get(0);
    return make_value(x.type, Cells(x.size(), cell));
  }

  Value broadcast_to(const Instruction& in) const {
    const Value& x = tensor(in, 0);
    const Shape shape = shape_attr(in, "shape");
    Cells cells(static_cast<std::size_t>(count_of(shape)));
    for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = broadcast(x, shape, i);
    return make_value({x.type.dtype, shape}, std::move(cells));
  }

  Value put_slice(const Instruction& in) const {
    Value result = copy_of(tensor(in, 0));
    const Value& slice = tensor(in, 1);
    const Shape& shape = result.type.shape;
    const Shape strides = c_strides(shape);
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      offset +=
          std::clamp<std::int64_t>(scalar(in, axis + 2), 0, shape[axis] - slice.type.shape[axis]) *
          strides[axis];
    }
    const auto places = strided(slice.type.shape, strides, offset);
    for (std::size_t i = 0; i < slice.size(); ++i) result.set(places[i], slice.get(i));
    return result;
  }

  Value concatenate(const Instruction& in) const {
    Cells cells;
    Shape shape = tensor(in, 0).type.shape;
    shape[0] = 0;
    for (std::size_t i = 0; i < in.in.size(); ++i) {
      const Value& part = tensor(in, i);
      for (std::size_t k = 0; k < part.size(); ++k) cells.push_back(part.get(k));
      shape[0] += part.type.shape[0];
    }
    return make_value({tensor(in, 0).type.dtype, shape}, std::move(cells));
  }

  /// Row numbers for axis 0 of `x`. The program stops at a number that is out of bounds.
  std::vector<std::size_t> rows(const Value& index, const Value& x) const {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < index.size(); ++i) {
      const std::int64_t row = index.get(i);
      if (row < 0 || row >= x.type.shape[0]) throw Stop{"bad_index", path_};
      out.push_back(static_cast<std::size_t>(row));
    }
    return out;
  }

  Value take(const Instruction& in) const {
    const Value& x = tensor(in, 0);
    const Value& index = tensor(in, 1);
    const std::size_t width = x.size() / static_cast<std::size_t>(x.type.shape[0]);
    Cells cells;
    for (const std::size_t row : rows(index, x)) {
      for (std::size_t k = 0; k < width; ++k) cells.push_back(x.get(row * width + k));
    }
    Shape shape = index.type.shape;
    shape.insert(shape.end(), x.type.shape.begin() + 1, x.type.shape.end());
    return make_value({x.type.dtype, shape}, std::move(cells));
  }

  /// The indices have the shape [n][1], and the updates [n][rest of the target].
  Value indexed(const Instruction& in) const {
    Value result = copy_of(tensor(in, 0));
    const Value& updates = tensor(in, 2);
    const std::string& dtype = result.type.dtype;
    const std::size_t width = result.size() / static_cast<std::size_t>(result.type.shape[0]);
    std::size_t from = 0;
    for (const std::size_t row : rows(tensor(in, 1), result)) {
      for (std::size_t k = 0; k < width; ++k, ++from) {
        const std::size_t at = row * width + k;
        std::int64_t cell = updates.get(from);
        if (in.op == "indexed_add") {
          cell = is_float(dtype)
                     ? store_real(dtype, real_of(dtype, result.get(at)) + real_of(dtype, cell))
                     : store_integer(dtype, wrapped(result.get(at), cell, '+'));
        }
        result.set(at, cell);
      }
    }
    return result;
  }

  /// sort and cumulative_sum over axis 0 of a vector.
  Value along_last(const Instruction& in) const {
    Value result = copy_of(tensor(in, 0));
    const std::string& dtype = result.type.dtype;
    Cells& cells = result.storage->cells;
    if (in.op == "sort") {
      std::stable_sort(cells.begin(), cells.end(), [&](std::int64_t a, std::int64_t b) {
        return is_float(dtype) ? real_of(dtype, a) < real_of(dtype, b) : a < b;
      });
      return result;
    }
    for (std::size_t i = 1; i < cells.size(); ++i) {
      cells[i] = is_float(dtype)
                     ? store_real(dtype, real_of(dtype, cells[i - 1]) + real_of(dtype, cells[i]))
                     : store_integer(dtype, wrapped(cells[i - 1], cells[i], '+'));
    }
    return result;
  }

  std::map<ValueId, Value> values_;
  std::vector<std::uint32_t> path_;
  std::set<const Storage*> written_;
  /// Mutable views, and in-place results of mutable views.
  std::set<ValueId> views_;
};

}  // namespace

std::int64_t count_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Value make_value(ValueType type, std::vector<std::int64_t> cells) {
  Value value{std::move(type), std::make_shared<Storage>(), {}};
  value.places.resize(cells.size());
  std::iota(value.places.begin(), value.places.end(), 0U);
  value.storage->cells = std::move(cells);
  return value;
}

Value copy_of(const Value& value) {
  std::vector<std::int64_t> cells(value.size());
  for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = value.get(i);
  return make_value(value.type, std::move(cells));
}

std::int64_t cell_of(const std::string& dtype, std::int64_t number) {
  return is_float(dtype) ? store_real(dtype, static_cast<double>(number))
                         : store_integer(dtype, number);
}

Data to_data(const Value& value) {
  Data data{value.type.dtype, value.type.shape, {}};
  const std::size_t bytes = data_bytes(data.dtype, {});
  data.bytes.resize(bytes * value.size());
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::int64_t cell = value.get(i);
    const auto narrow = static_cast<float>(real_of(data.dtype, cell));
    const void* from = data.dtype == "f32" ? static_cast<const void*>(&narrow) : &cell;
    // In little endian, the low bytes of an integer come first.
    std::memcpy(data.bytes.data() + i * bytes, from, bytes);
  }
  return data;
}

Answer interpret(const Program& program, const std::vector<Value>& args, bool atomic) {
  std::vector<std::pair<std::shared_ptr<Storage>, Storage>> before;
  if (atomic) {
    for (const Value& arg : args) before.emplace_back(arg.storage, *arg.storage);
  }
  Answer answer = Interpreter().run(program, args);
  if (atomic && answer.stop) {
    for (auto& [storage, old] : before) *storage = old;
    answer.written.clear();
  }
  return answer;
}

}  // namespace outrigger::test
