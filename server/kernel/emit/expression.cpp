#include <bit>
#include <cstdio>

#include "kernel/emit/function.hpp"

namespace outrigger::kernel {
namespace {

std::string float_text(double x) {
  std::string text(18, '0');
  std::snprintf(text.data(), text.size() + 1, "0x%016llX",
                static_cast<unsigned long long>(std::bit_cast<std::uint64_t>(x)));
  return text;
}

int bits_of(Type type) { return static_cast<int>(8 * bytes_of(type)); }

bool is_function(What what) {
  return (what >= What::exp && what <= What::atanh) || what == What::pow || what == What::atan2;
}

bool is_ordering(What what) { return what >= What::equal && what <= What::greater_equal; }

}  // namespace

std::vector<std::string> FunctionEmitter::expressions(const std::vector<std::uint32_t>& operands,
                                                      std::size_t from) {
  std::vector<std::string> values;
  for (std::size_t i = from; i < operands.size(); ++i) values.push_back(expression(operands[i]));
  return values;
}

std::string FunctionEmitter::expression(std::uint32_t at) {
  const Node& n = nodes()[at];
  switch (n.what) {
    case What::number:
      return number(n);
    case What::slot:
      return w_.value("load ", ir_type(kernel_.kernel.slots[n.at]), ", ptr ", slots_[n.at]);
    case What::dim:
      return cat("%d", n.at);
    case What::size:
      return tensors_[n.at].sizes[n.operands[0]];
    case What::load: {
      const std::string address = element(n.at, n.operands, 0, n.line);
      return w_.value("load ", ir_type(kernel_.tensors[n.at].type), ", ptr ", address,
                      tensors_[n.at].metadata);
    }
    case What::as:
      return conversion(n);
    case What::logical_and:
    case What::logical_or:
    case What::select:
      return chosen(n);
    case What::logical_not:
      return w_.value("xor i1 ", expression(n.operands[0]), ", true");
    case What::call:
      return call(n).front();
    default:
      return operation(n);
  }
}

std::string FunctionEmitter::number(const Node& n) {
  switch (n.type) {
    case Type::boolean:
      return n.bits != 0 ? "true" : "false";
    case Type::f32:
      return float_text(std::bit_cast<float>(static_cast<std::uint32_t>(n.bits)));
    case Type::f64:
      return float_text(std::bit_cast<double>(n.bits));
    default:
      break;
  }
  if (is_unsigned(n.type)) return std::to_string(n.bits);
  return std::to_string(static_cast<std::int64_t>(n.bits));
}

/// `and`, `or` and `select` evaluate only what they need.
std::string FunctionEmitter::chosen(const Node& n) {
  const bool one = n.what != What::select;
  Weight weight;
  const bool straight = harmless(n.operands[1], weight) && (one || harmless(n.operands[2], weight));
  const std::string condition = expression(n.operands[0]);
  if (straight && one) {
    const std::string second = expression(n.operands[1]);
    return n.what == What::logical_or
               ? w_.value("select i1 ", condition, ", i1 true, i1 ", second)
               : w_.value("select i1 ", condition, ", i1 ", second, ", i1 false");
  }
  if (straight) {
    const std::string first = expression(n.operands[1]);
    const std::string second = expression(n.operands[2]);
    const std::string_view t = ir_type(type_of(n.operands[1]));
    return w_.value("select i1 ", condition, ", ", t, " ", first, ", ", t, " ", second);
  }
  const std::string before = w_.block();
  const std::string yes = w_.label();
  const std::string no = one ? std::string() : w_.label();
  const std::string done = w_.label();
  if (one) {
    const bool either = n.what == What::logical_or;
    w_.branch(condition, either ? done : yes, either ? yes : done);
    w_.begin(yes);
    const std::string second = expression(n.operands[1]);
    const std::string second_block = w_.block();
    w_.jump(done);
    w_.begin(done);
    return w_.value("phi i1 [ ", either ? "true" : "false", ", %", before, " ], [ ", second, ", %",
                    second_block, " ]");
  }
  w_.branch(condition, yes, no);
  w_.begin(yes);
  const std::string first = expression(n.operands[1]);
  const std::string first_block = w_.block();
  w_.jump(done);
  w_.begin(no);
  const std::string second = expression(n.operands[2]);
  const std::string second_block = w_.block();
  w_.jump(done);
  w_.begin(done);
  return w_.value("phi ", ir_type(type_of(n.operands[1])), " [ ", first, ", %", first_block,
                  " ], [ ", second, ", %", second_block, " ]");
}

std::string FunctionEmitter::intrinsic(std::string_view name, Type type, const std::string& a,
                                       std::string_view more) {
  const std::string_view t = ir_type(type);
  const std::string suffix = is_float(type) ? (type == Type::f32 ? "f32" : "f64") : std::string(t);
  return w_.value("call ", t, " @llvm.", name, ".", suffix, "(", t, " ", a, more, ")");
}

std::string FunctionEmitter::operation(const Node& n) {
  const Type type = type_of(n.operands[0]);
  const std::string a = expression(n.operands[0]);
  const std::string b = n.operands.size() == 1 ? a : expression(n.operands[1]);
  if (is_ordering(n.what)) return comparison(n.what, type, a, b);
  if (is_function(n.what)) return function_call(n.what, type, a, b);
  if (n.what == What::min || n.what == What::max) {
    const std::string first =
        comparison(n.what == What::min ? What::less : What::greater, type, a, b);
    const std::string_view t = ir_type(type);
    std::string chosen = w_.value("select i1 ", first, ", ", t, " ", a, ", ", t, " ", b);
    if (!is_float(type)) return chosen;
    const std::string nan = w_.value("fcmp uno ", t, " ", a, ", ", a);
    return w_.value("select i1 ", nan, ", ", t, " ", a, ", ", t, " ", chosen);
  }
  return is_float(type) ? float_operation(n, type, a, b) : integer_operation(n, type, a, b);
}

std::string FunctionEmitter::comparison(What what, Type type, const std::string& a,
                                        const std::string& b) {
  std::string_view name;
  switch (what) {
    case What::equal:
      name = is_float(type) ? "oeq" : "eq";
      break;
    case What::not_equal:
      name = is_float(type) ? "une" : "ne";
      break;
    case What::less:
      name = is_float(type) ? "olt" : is_unsigned(type) ? "ult" : "slt";
      break;
    case What::less_equal:
      name = is_float(type) ? "ole" : is_unsigned(type) ? "ule" : "sle";
      break;
    case What::greater:
      name = is_float(type) ? "ogt" : is_unsigned(type) ? "ugt" : "sgt";
      break;
    default:
      name = is_float(type) ? "oge" : is_unsigned(type) ? "uge" : "sge";
  }
  return w_.value(is_float(type) ? "fcmp " : "icmp ", name, " ", ir_type(type), " ", a, ", ", b);
}

std::string FunctionEmitter::float_operation(const Node& n, Type type, const std::string& a,
                                             const std::string& b) {
  const std::string_view t = ir_type(type);
  switch (n.what) {
    case What::add:
      return w_.value("fadd ", t, " ", a, ", ", b);
    case What::subtract:
      return w_.value("fsub ", t, " ", a, ", ", b);
    case What::multiply:
      return w_.value("fmul ", t, " ", a, ", ", b);
    case What::divide:
      return w_.value("fdiv ", t, " ", a, ", ", b);
    case What::negate:
      return w_.value("fneg ", t, " ", a);
    case What::abs:
      return intrinsic("fabs", type, a);
    case What::sqrt:
      return intrinsic("sqrt", type, a);
    case What::floor:
      return intrinsic("floor", type, a);
    case What::ceil:
      return intrinsic("ceil", type, a);
    case What::trunc:
      return intrinsic("trunc", type, a);
    default:
      return w_.value("fcmp uno ", t, " ", a, ", ", a);
  }
}

std::string FunctionEmitter::integer_operation(const Node& n, Type type, const std::string& a,
                                               const std::string& b) {
  const std::string_view t = ir_type(type);
  const auto plain = [&](std::string_view name) { return w_.value(name, " ", t, " ", a, ", ", b); };
  switch (n.what) {
    case What::add:
      return plain("add");
    case What::subtract:
      return plain("sub");
    case What::multiply:
      return plain("mul");
    case What::bitwise_and:
      return plain("and");
    case What::bitwise_or:
      return plain("or");
    case What::bitwise_xor:
      return plain("xor");
    case What::quotient:
    case What::remainder:
      return division(n, type, a, b);
    case What::left_shift:
    case What::right_shift:
      return shift(n.what, type, a, b);
    case What::negate:
      return w_.value("sub ", t, " 0, ", a);
    case What::abs:
      return is_unsigned(type) ? a : intrinsic("abs", type, a, ", i1 false");
    case What::bitwise_not:
      return w_.value("xor ", t, " ", a, ", -1");
    case What::population_count:
      return intrinsic("ctpop", type, a);
    case What::count_leading_zeros:
      return intrinsic("ctlz", type, a, ", i1 false");
    default:
      return intrinsic("cttz", type, a, ", i1 false");
  }
}

/// The smallest number by -1 would be undefined: the divisor is then 1, and the quotient is
/// negated.
std::string FunctionEmitter::division(const Node& n, Type type, const std::string& a,
                                      const std::string& b) {
  const std::string_view t = ir_type(type);
  const bool quotient = n.what == What::quotient;
  require(w_.value("icmp ne ", t, " ", b, ", 0"), {.kind = Site::Kind::divisor, .line = n.line},
          {});
  if (is_unsigned(type)) return w_.value(quotient ? "udiv " : "urem ", t, " ", a, ", ", b);
  const std::string minus = w_.value("icmp eq ", t, " ", b, ", -1");
  const std::string by = w_.value("select i1 ", minus, ", ", t, " 1, ", t, " ", b);
  if (!quotient) return w_.value("srem ", t, " ", a, ", ", by);
  const std::string plain = w_.value("sdiv ", t, " ", a, ", ", by);
  const std::string negated = w_.value("sub ", t, " 0, ", a);
  return w_.value("select i1 ", minus, ", ", t, " ", negated, ", ", t, " ", plain);
}

/// A shift by the width or more, or by a negative number, would be undefined.
std::string FunctionEmitter::shift(What what, Type type, const std::string& a,
                                   const std::string& b) {
  const std::string_view t = ir_type(type);
  const int bits = bits_of(type);
  const std::string within = w_.value("icmp ult ", t, " ", b, ", ", bits);
  if (what == What::right_shift && !is_unsigned(type)) {
    const std::string by = w_.value("select i1 ", within, ", ", t, " ", b, ", ", t, " ", bits - 1);
    return w_.value("ashr ", t, " ", a, ", ", by);
  }
  const std::string by = w_.value("select i1 ", within, ", ", t, " ", b, ", ", t, " 0");
  const std::string shifted =
      w_.value(what == What::left_shift ? "shl " : "lshr ", t, " ", a, ", ", by);
  return w_.value("select i1 ", within, ", ", t, " ", shifted, ", ", t, " 0");
}

/// A function of the ops for one element.
std::string FunctionEmitter::function_call(What what, Type type, const std::string& a,
                                           const std::string& b) {
  const auto [found, added] =
      module_.functions.try_emplace({what, type}, module_.out.functions.size());
  if (added) module_.out.functions.emplace_back(what, type);
  const std::string table = load_pointer(FrameCell::functions);
  const std::string place = w_.value("getelementptr ptr, ptr ", table, ", i64 ", found->second);
  const std::string function = w_.value("load ptr, ptr ", place, ", !invariant.load !2");
  const bool narrow = type == Type::f32;
  const std::string by = load_pointer(narrow ? FrameCell::call_f32 : FrameCell::call_f64);
  const std::string_view t = ir_type(type);
  return w_.value("call ", t, " ", by, "(ptr ", function, ", ", t, " ", a, ", ", t, " ", b, ") #3");
}

std::string FunctionEmitter::conversion(const Node& n) {
  const Type from = type_of(n.operands[0]);
  const Type to = n.type;
  std::string x = expression(n.operands[0]);
  if (from == to) return x;
  const std::string_view f = ir_type(from);
  const std::string_view t = ir_type(to);
  if (is_float(from) && is_float(to))
    return w_.value(to == Type::f32 ? "fptrunc " : "fpext ", f, " ", x, " to ", t);
  if (is_float(from)) return float_to_integer(from, to, x);
  if (is_float(to))
    return w_.value(is_unsigned(from) ? "uitofp " : "sitofp ", f, " ", x, " to ", t);
  if (f == t) return x;
  if (bytes_of(to) < bytes_of(from)) return w_.value("trunc ", f, " ", x, " to ", t);
  return w_.value(is_unsigned(from) ? "zext " : "sext ", f, " ", x, " to ", t);
}

/// Numbers below 2^63 are truncated and wrap. Others, and NaN, are rare: the daemon converts them.
std::string FunctionEmitter::float_to_integer(Type from, Type to, const std::string& x) {
  const std::string_view f = ir_type(from);
  const std::string_view t = ir_type(to);
  const std::string size = intrinsic("fabs", from, x);
  const std::string near = w_.value("fcmp olt ", f, " ", size, ", ", float_text(0x1p63));
  const std::string fits = w_.label();
  const std::string done = w_.label();
  std::string far_cell;
  std::string far_block;
  const std::string far = w_.cold([&] {
    const std::string wide = from == Type::f64 ? x : w_.value("fpext float ", x, " to double");
    const std::string function = load_pointer(FrameCell::convert);
    far_cell =
        w_.value("call i64 ", function, "(double ", wide, ", i64 ", static_cast<int>(to), ") #3");
    far_block = w_.block();
    w_.jump(done);
  });
  w_.branch(near, fits, far, likely);
  w_.begin(fits);
  const std::string whole = w_.value("fptosi ", f, " ", x, " to i64");
  w_.jump(done);
  w_.begin(done);
  const std::string cell =
      w_.value("phi i64 [ ", whole, ", %", fits, " ], [ ", far_cell, ", %", far_block, " ]");
  return t == "i64" ? cell : w_.value("trunc i64 ", cell, " to ", t);
}

}  // namespace outrigger::kernel
