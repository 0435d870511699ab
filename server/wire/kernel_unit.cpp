#include "wire/kernel_unit.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "wire/fields.hpp"

namespace outrigger::wire {
namespace {

using kernel::Argument;
using kernel::Array;
using kernel::Dim;
using kernel::Kernel;
using kernel::Mode;
using kernel::Param;
using kernel::Type;
using kernel::Unit;
using kernel::What;
using KernelNode = kernel::Node;

constexpr std::array<std::string_view, 11> type_names{"bool", "u8",  "u16", "u32", "u64", "s8",
                                                      "s16",  "s32", "s64", "f32", "f64"};

/// The names of What, in its order.
constexpr std::array<std::string_view, 67> what_names{"number",
                                                      "slot",
                                                      "dim",
                                                      "size",
                                                      "load",
                                                      "add",
                                                      "subtract",
                                                      "multiply",
                                                      "min",
                                                      "max",
                                                      "divide",
                                                      "quotient",
                                                      "remainder",
                                                      "bitwise_and",
                                                      "bitwise_or",
                                                      "bitwise_xor",
                                                      "left_shift",
                                                      "right_shift",
                                                      "equal",
                                                      "not_equal",
                                                      "less",
                                                      "less_equal",
                                                      "greater",
                                                      "greater_equal",
                                                      "pow",
                                                      "atan2",
                                                      "negate",
                                                      "abs",
                                                      "sqrt",
                                                      "floor",
                                                      "ceil",
                                                      "trunc",
                                                      "bitwise_not",
                                                      "population_count",
                                                      "count_leading_zeros",
                                                      "count_trailing_zeros",
                                                      "is_nan",
                                                      "exp",
                                                      "log",
                                                      "sin",
                                                      "cos",
                                                      "tan",
                                                      "asin",
                                                      "acos",
                                                      "atan",
                                                      "sinh",
                                                      "cosh",
                                                      "tanh",
                                                      "asinh",
                                                      "acosh",
                                                      "atanh",
                                                      "not",
                                                      "as",
                                                      "and",
                                                      "or",
                                                      "select",
                                                      "call",
                                                      "set",
                                                      "store",
                                                      "if",
                                                      "while",
                                                      "for",
                                                      "break",
                                                      "continue",
                                                      "return",
                                                      "raise",
                                                      "give"};
static_assert(what_names.size() == static_cast<std::size_t>(What::give) + 1);

tl::unexpected<Error> bad(std::string text) {
  return fail(ErrorCode::bad_request, "unit: " + std::move(text));
}

template <std::size_t n>
std::optional<std::size_t> find(const std::array<std::string_view, n>& names, Value value) {
  if (!value.is(Kind::string)) return std::nullopt;
  const auto* const found = std::find(names.begin(), names.end(), value.string());
  if (found == names.end()) return std::nullopt;
  return static_cast<std::size_t>(found - names.begin());
}

Result<Type> read_type(Value value) {
  const auto found = find(type_names, value);
  if (!found) return bad("a dtype of kernels is missing, not " + describe(value));
  return static_cast<Type>(*found);
}

Result<std::uint32_t> read_position(Value value) {
  if (!value.is(Kind::unsigned_integer) ||
      value.natural() > std::numeric_limits<std::uint32_t>::max())
    return bad("a position is missing, not " + describe(value));
  return static_cast<std::uint32_t>(value.natural());
}

Result<std::int64_t> read_integer(Value value) {
  if (value.is(Kind::negative_integer)) return value.negative();
  if (value.is(Kind::unsigned_integer) && value.natural() <= integer_max)
    return static_cast<std::int64_t>(value.natural());
  return bad("an integer is missing, not " + describe(value));
}

Result<std::string> read_text(Value value) {
  if (!value.is(Kind::string)) return bad("a string is missing, not " + describe(value));
  return std::string(value.string());
}

/// Each element of an array by `read`.
template <typename T, typename Read>
Result<std::vector<T>> read_all(Value array, Read&& read) {
  if (!array.is(Kind::array)) return bad("an array is missing, not " + describe(array));
  std::vector<T> all;
  all.reserve(array.size());
  for (Value item : array.items()) {
    OUTRIGGER_TRY(T one, read(item));
    all.push_back(std::move(one));
  }
  return all;
}

/// The elements of an array, of which there are few.
Result<std::vector<Value>> parts(Value array, std::size_t min, std::size_t max) {
  if (!array.is(Kind::array) || array.size() < min || array.size() > max)
    return bad("an array has another size: " + describe(array));
  std::vector<Value> all;
  all.reserve(array.size());
  for (Value item : array.items()) all.push_back(item);
  return all;
}

Result<Dim> read_dim(Value value) {
  if (value.is(Kind::nil)) return Dim{};
  if (value.is(Kind::array)) {
    OUTRIGGER_TRY(const auto pair, parts(value, 2, 2));
    OUTRIGGER_TRY(const auto name, read_position(pair[0]));
    OUTRIGGER_TRY(const auto plus, read_integer(pair[1]));
    return Dim{Dim::Kind::name, name, plus};
  }
  OUTRIGGER_TRY(const auto size, read_integer(value));
  return Dim{Dim::Kind::number, 0, size};
}

Result<Param> read_param(Value value) {
  constexpr std::array<std::string_view, 4> modes{"scalar", "in", "mut", "new"};
  OUTRIGGER_TRY(const auto all, parts(value, 2, 3));
  const auto mode = find(modes, all[0]);
  if (!mode) return bad("a parameter is scalar, in, mut or new, not " + describe(all[0]));
  Param param{.mode = static_cast<Mode>(*mode)};
  OUTRIGGER_TRY(param.type, read_type(all[1]));
  if ((param.mode == Mode::scalar) != (all.size() == 2))
    return bad("a tensor has an array of sizes, and a scalar has none");
  if (param.mode != Mode::scalar) {
    OUTRIGGER_TRY(param.dims, read_all<Dim>(all[2], read_dim));
  }
  return param;
}

Result<Array> read_scratch(Value value) {
  OUTRIGGER_TRY(const auto all, parts(value, 2, 2));
  Array array;
  OUTRIGGER_TRY(array.type, read_type(all[0]));
  OUTRIGGER_TRY(array.dims, read_all<Dim>(all[1], read_dim));
  return array;
}

Result<Array> read_local(Value value) {
  OUTRIGGER_TRY(const auto all, parts(value, 2, 2));
  Array array;
  OUTRIGGER_TRY(array.type, read_type(all[0]));
  OUTRIGGER_TRY(const Dim length, read_dim(all[1]));
  array.dims.push_back(length);
  return array;
}

/// The cell of a number: an integer extended to 64 bits, the bits of a float.
Result<std::uint64_t> read_number(Type type, Value value) {
  if (type == Type::boolean) {
    if (!value.is(Kind::boolean)) return bad("true or false is missing, not " + describe(value));
    return value.boolean() ? 1 : 0;
  }
  if (type == Type::f32 || type == Type::f64) {
    double x = 0;
    if (value.is(Kind::real)) {
      x = value.real();
    } else if (value.is(Kind::string) && value.string() == "nan") {
      x = std::numeric_limits<double>::quiet_NaN();
    } else if (value.is(Kind::string) && value.string() == "infinity") {
      x = std::numeric_limits<double>::infinity();
    } else if (value.is(Kind::string) && value.string() == "neg_infinity") {
      x = -std::numeric_limits<double>::infinity();
    } else {
      return bad("a float is missing, not " + describe(value));
    }
    if (type == Type::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(x));
    return std::bit_cast<std::uint64_t>(x);
  }
  const bool is_unsigned = type <= Type::u64;
  const int bits = 8 << ((static_cast<int>(type) - 1) % 4);
  if (is_unsigned) {
    if (!value.is(Kind::unsigned_integer) || (bits < 64 && value.natural() >> bits != 0))
      return bad("a number does not fit its dtype: " + describe(value));
    return value.natural();
  }
  OUTRIGGER_TRY(const std::int64_t n, read_integer(value));
  if (n >> (bits - 1) != 0 && n >> (bits - 1) != -1)
    return bad("a number does not fit its dtype: " + describe(value));
  return static_cast<std::uint64_t>(n);
}

Result<Argument> read_argument(Value value) {
  if (!value.is(Kind::array)) {
    OUTRIGGER_TRY(const auto at, read_position(value));
    return Argument{.at = at};
  }
  OUTRIGGER_TRY(auto all, read_all<std::uint32_t>(value, read_position));
  if (all.empty()) return bad("an argument names no tensor");
  Argument argument{.is_tensor = true, .at = all.front()};
  argument.indices.assign(all.begin() + 1, all.end());
  return argument;
}

/// Appends the positions of an array.
Result<void> append(Value array, std::vector<std::uint32_t>& operands) {
  OUTRIGGER_TRY(const auto all, read_all<std::uint32_t>(array, read_position));
  operands.insert(operands.end(), all.begin(), all.end());
  return {};
}

/// How the values behind the line of a node are read: a letter for each.
///
///     a  `at`              t  the dtype             n  the number
///     e  one operand       *  an array of operands  c  the arguments of a call
///     s  a text            0  nil
std::string_view form_of(What what) {
  switch (what) {
    case What::number:
      return "tn";
    case What::slot:
    case What::dim:
      return "a";
    case What::size:
      return "ae";
    case What::load:
      return "a*";
    case What::as:
      return "te";
    case What::call:
      return "ac";
    case What::set:
      return "ae";
    case What::store:
      return "a*e";
    case What::select:
    case What::if_:
    case What::while_:
      return "eee";
    case What::for_:
      return "aeeee0";
    case What::break_:
    case What::continue_:
      return "";
    case What::return_:
      return "*";
    case What::raise:
      return "s*";
    case What::give:
      return "e*";
    case What::logical_and:
    case What::logical_or:
      return "ee";
    default:
      return what >= What::negate ? "e" : "ee";
  }
}

Result<KernelNode> read_node(Value value, std::vector<std::string>& texts) {
  OUTRIGGER_TRY(const auto all, parts(value, 2, 8));
  const auto what = find(what_names, all[0]);
  if (!what) return bad("a node is no expression and no statement: " + describe(all[0]));
  KernelNode node{.what = static_cast<What>(*what)};
  OUTRIGGER_TRY(node.line, read_position(all[1]));
  const std::string_view form = form_of(node.what);
  if (all.size() != form.size() + 2)
    return bad("the node " + std::string(what_names[*what]) + " has another number of parts");
  for (std::size_t i = 0; i < form.size(); ++i) {
    const Value part = all[i + 2];
    switch (form[i]) {
      case 'a': {
        OUTRIGGER_TRY(node.at, read_position(part));
        break;
      }
      case 't': {
        OUTRIGGER_TRY(node.type, read_type(part));
        break;
      }
      case 'n': {
        OUTRIGGER_TRY(node.bits, read_number(node.type, part));
        break;
      }
      case 'e': {
        OUTRIGGER_TRY(const auto at, read_position(part));
        node.operands.push_back(at);
        break;
      }
      case '*': {
        OUTRIGGER_CHECK(append(part, node.operands));
        break;
      }
      case 'c': {
        OUTRIGGER_TRY(node.arguments, read_all<Argument>(part, read_argument));
        break;
      }
      case 's': {
        node.at = static_cast<std::uint32_t>(texts.size());
        OUTRIGGER_TRY(auto text, read_text(part));
        texts.push_back(std::move(text));
        break;
      }
      default:
        if (!part.is(Kind::nil)) return bad("parallel loops are not supported");
    }
  }
  // The value of a store is evaluated before the indices.
  if (node.what == What::store)
    std::rotate(node.operands.begin(), node.operands.end() - 1, node.operands.end());
  return node;
}

Result<Kernel> read_kernel(Value map) {
  if (!map.is(Kind::map)) return bad("a kernel is a map, not " + describe(map));
  Kernel kernel;
  unsigned seen = 0;
  const auto positions = [](Value v) { return read_all<std::uint32_t>(v, read_position); };
  for (auto [key, value] : map.entries()) {
    unsigned bit = 0;
    if (key == "name") {
      bit = 1U << 0;
      OUTRIGGER_TRY(kernel.name, read_text(value));
    } else if (key == "file") {
      bit = 1U << 1;
      OUTRIGGER_TRY(kernel.file, read_position(value));
    } else if (key == "dims") {
      bit = 1U << 2;
      OUTRIGGER_TRY(kernel.dims, read_position(value));
    } else if (key == "params") {
      bit = 1U << 3;
      OUTRIGGER_TRY(kernel.params, read_all<Param>(value, read_param));
    } else if (key == "scratch") {
      bit = 1U << 4;
      OUTRIGGER_TRY(kernel.scratch, read_all<Array>(value, read_scratch));
    } else if (key == "local") {
      bit = 1U << 5;
      OUTRIGGER_TRY(kernel.local, read_all<Array>(value, read_local));
    } else if (key == "tensors") {
      bit = 1U << 6;
      OUTRIGGER_TRY(kernel.tensors, read_all<std::string>(value, read_text));
    } else if (key == "slots") {
      bit = 1U << 7;
      OUTRIGGER_TRY(kernel.slots, read_all<Type>(value, read_type));
    } else if (key == "results") {
      bit = 1U << 8;
      OUTRIGGER_TRY(kernel.results, read_all<Type>(value, read_type));
    } else if (key == "nodes") {
      bit = 1U << 9;
      const auto read = [&](Value v) { return read_node(v, kernel.texts); };
      OUTRIGGER_TRY(kernel.nodes, read_all<KernelNode>(value, read));
    } else if (key == "blocks") {
      bit = 1U << 10;
      OUTRIGGER_TRY(kernel.blocks, read_all<std::vector<std::uint32_t>>(value, positions));
    } else {
      return bad("a kernel has no key " + quoted(key));
    }
    if ((seen & bit) != 0) return bad("a kernel has the key " + quoted(key) + " twice");
    seen |= bit;
  }
  if (seen != (1U << 11) - 1) return bad("a kernel has 11 keys, and one is missing");
  return kernel;
}

}  // namespace

Result<Unit> read_kernel_unit(Value map) {
  OUTRIGGER_TRY(const Fields fields, Fields::read("unit", map, {"files", "kernels"}));
  Unit unit;
  OUTRIGGER_TRY(unit.files, fields.strings("files"));
  OUTRIGGER_TRY(const Value kernels, fields.array("kernels"));
  OUTRIGGER_TRY(unit.kernels, read_all<Kernel>(kernels, read_kernel));
  return unit;
}

}  // namespace outrigger::wire
