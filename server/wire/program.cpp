#include "wire/program.hpp"

#include <algorithm>
#include <limits>

#include "wire/fields.hpp"

namespace outrigger::wire {

namespace {

constexpr std::uint64_t signed_max = std::numeric_limits<std::int64_t>::max();

std::optional<Number> integer_of(Value value) {
  if (value.is(Kind::negative_integer)) return value.negative();
  if (!value.is(Kind::unsigned_integer)) return std::nullopt;
  if (value.natural() > signed_max) return value.natural();
  return static_cast<std::int64_t>(value.natural());
}

std::optional<Number> real_of(Value value) {
  if (value.is(Kind::real)) return value.real();
  if (!value.is(Kind::string)) return integer_of(value);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (value.string() == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (value.string() == "infinity") return infinity;
  if (value.string() == "neg_infinity") return -infinity;
  return std::nullopt;
}

double as_double(const Number& real) {
  if (const auto* integer = std::get_if<std::int64_t>(&real)) return static_cast<double>(*integer);
  if (const auto* natural = std::get_if<std::uint64_t>(&real)) return static_cast<double>(*natural);
  return std::get<double>(real);
}

/// The map {"re": real, "im": real} with exactly these keys.
std::optional<Number> complex_of(Value map) {
  std::optional<Number> re;
  std::optional<Number> im;
  for (const auto [key, value] : map.entries()) {
    auto& part = key == "re" ? re : im;
    if ((key != "re" && key != "im") || part) return std::nullopt;
    part = real_of(value);
    if (!part) return std::nullopt;
  }
  if (!re || !im) return std::nullopt;
  return std::complex<double>{as_double(*re), as_double(*im)};
}

std::optional<Number> number_of(Value value) {
  return value.is(Kind::map) ? complex_of(value) : real_of(value);
}

std::optional<AttrValue> integers_of(Value array) {
  std::vector<std::int64_t> out;
  out.reserve(array.size());
  for (const Value item : array.items()) {
    const auto number = integer_of(item);
    if (!number || !std::holds_alternative<std::int64_t>(*number)) return std::nullopt;
    out.push_back(std::get<std::int64_t>(*number));
  }
  return out;
}

std::optional<AttrValue> attr_of(Value value) {
  switch (value.kind()) {
    case Kind::boolean:
      return value.boolean();
    case Kind::unsigned_integer:
    case Kind::negative_integer:
    case Kind::real:
      return *number_of(value);
    case Kind::string:
      return std::string(value.string());
    case Kind::binary:
      return Bytes(value.binary().begin(), value.binary().end());
    case Kind::array:
      return integers_of(value);
    case Kind::map:
      if (const auto complex = complex_of(value)) return *complex;
      return std::nullopt;
    case Kind::nil:
      return std::nullopt;
  }
  return std::nullopt;
}

class ProgramReader {
 public:
  ProgramReader(std::string_view where, const Limits& limits) : where_(where), limits_(limits) {}

  Result<Region> region(Value map) {
    OUTRIGGER_TRY(const Fields fields, Fields::read(where_, map, {"params", "body", "outputs"}));
    Region out;
    OUTRIGGER_TRY(const Value body, fields.array("body"));
    OUTRIGGER_CHECK(count(body.size()));
    OUTRIGGER_CHECK(take<Region>(1));
    OUTRIGGER_CHECK(take_list<ValueId>(fields, "params"));
    OUTRIGGER_CHECK(take_list<ValueId>(fields, "outputs"));
    OUTRIGGER_TRY(out.params, fields.value_ids("params"));
    OUTRIGGER_TRY(out.outputs, fields.value_ids("outputs"));
    out.body.reserve(body.size());
    path_.push_back(0);
    for (const Value item : body.items()) {
      OUTRIGGER_TRY(Instruction instruction, located_instruction(item));
      out.body.push_back(std::move(instruction));
      ++path_.back();
    }
    path_.pop_back();
    return out;
  }

 private:
  Result<void> count(std::uint32_t instructions) {
    instructions_ += instructions;
    if (instructions_ > limits_.instructions_max)
      return too_large(limits_.instructions_max, "instructions");
    return take<Instruction>(instructions);
  }

  /// Counts the memory for `count` objects before they are allocated.
  template <typename T>
  Result<void> take(std::uint64_t count) {
    bytes_ += count * sizeof(T);
    if (bytes_ <= Limits::program_data_max) return {};
    return too_large(Limits::program_data_max, "bytes as data");
  }

  /// Counts the memory for a list before it is read. A value of another type is found when it is
  /// read.
  template <typename T>
  Result<void> take_list(const Fields& fields, std::string_view key) {
    const Value* list = fields.find(key);
    return take<T>(list == nullptr ? 0 : list->size());
  }

  tl::unexpected<Error> too_large(std::uint64_t limit, std::string_view what) const {
    return fail(ErrorCode::limit_exceeded, std::string(where_) + ": the program has more than " +
                                               std::to_string(limit) + " " + std::string(what) +
                                               "; split it into several");
  }

  /// Adds the place to an error, unless the error of a nested instruction has one already.
  Result<Instruction> located_instruction(Value value) {
    const auto depth = static_cast<std::ptrdiff_t>(path_.size());
    Instruction out;
    if (auto done = instruction(value, out); !done) {
      Error error = std::move(done).error();
      if (error.path.empty()) {
        error.path.assign(path_.begin(), path_.begin() + depth);
        error.op = out.op;
      }
      return tl::make_unexpected(std::move(error));
    }
    return out;
  }

  Result<void> instruction(Value value, Instruction& out) {
    if (!value.is(Kind::map)) {
      return fail(ErrorCode::bad_request,
                  std::string(where_) + ": an instruction must be a map, got " + describe(value));
    }
    OUTRIGGER_TRY(
        const Fields fields,
        Fields::read("instruction", value, {"op", "in", "out", "attrs", "regions", "in_place"}));
    OUTRIGGER_TRY(out.op, fields.string("op"));
    if (fields.find("in") != nullptr) OUTRIGGER_CHECK(operands(fields, out));
    if (fields.find("out") != nullptr) {
      OUTRIGGER_CHECK(take_list<ValueId>(fields, "out"));
      OUTRIGGER_TRY(out.out, fields.value_ids("out"));
    }
    if (fields.find("attrs") != nullptr) OUTRIGGER_CHECK(attrs(fields, out));
    OUTRIGGER_TRY(out.in_place, fields.boolean_or("in_place", false));
    if (fields.find("regions") != nullptr) OUTRIGGER_CHECK(regions(fields, out));
    return {};
  }

  static Result<Operand> operand(const Fields& fields, Value item) {
    constexpr std::string_view expected = "an array of value ids and literals";
    if (item.is(Kind::unsigned_integer) && item.natural() < (1ULL << 31)) {
      return static_cast<ValueId>(item.natural());
    }
    if (!item.is(Kind::map) || item.size() == 0) return fields.mistyped("in", expected, item);
    OUTRIGGER_TRY(const Number number, read_literal(item));
    return number;
  }

  Result<void> operands(const Fields& fields, Instruction& out) {
    OUTRIGGER_TRY(const Value in, fields.array("in"));
    OUTRIGGER_CHECK(take<Operand>(in.size()));
    out.in.reserve(in.size());
    for (const Value item : in.items()) {
      OUTRIGGER_TRY(Operand one, operand(fields, item));
      out.in.push_back(one);
    }
    return {};
  }

  Result<void> attrs(const Fields& fields, Instruction& out) {
    OUTRIGGER_TRY(const Value map, fields.map("attrs"));
    if (map.size() > limits_.attrs_max) {
      return fail(ErrorCode::limit_exceeded,
                  "instruction: more than " + std::to_string(limits_.attrs_max) + " attributes");
    }
    OUTRIGGER_CHECK(take<Attrs::value_type>(map.size()));
    out.attrs.reserve(map.size());
    for (const auto [name, value] : map.entries()) {
      // Integers take more memory than their bytes in the frame; strings and binaries do not.
      if (value.is(Kind::array)) OUTRIGGER_CHECK(take<std::int64_t>(value.size()));
      OUTRIGGER_CHECK(attr(name, value, out.attrs));
    }
    return {};
  }

  static Result<void> attr(std::string_view name, Value value, Attrs& out) {
    const bool twice = std::any_of(out.begin(), out.end(),
                                   [name](const auto& earlier) { return earlier.first == name; });
    if (twice) return fail(ErrorCode::bad_attr, "attribute " + quoted(name) + " appears twice");
    auto read = attr_of(value);
    if (!read) {
      return fail(ErrorCode::bad_attr,
                  "attribute " + quoted(name) +
                      " must be a boolean, a number, a string, a binary or an array of integers "
                      "of s64, got " +
                      describe(value));
    }
    out.emplace_back(name, *std::move(read));
    return {};
  }

  Result<void> regions(const Fields& fields, Instruction& out) {
    OUTRIGGER_TRY(const Value array, fields.array("regions"));
    if (array.size() > 0 && path_.size() / 2 == Limits::nesting_max) {
      return fail(ErrorCode::limit_exceeded,
                  "instruction: more than " + std::to_string(Limits::nesting_max) +
                      " regions inside each other; split the program into several");
    }
    out.regions.reserve(array.size());
    path_.push_back(0);
    for (const Value item : array.items()) {
      if (!item.is(Kind::map)) return fields.mistyped("regions", "an array of regions", item);
      OUTRIGGER_TRY(Region one, region(item));
      out.regions.push_back(std::move(one));
      ++path_.back();
    }
    path_.pop_back();
    return {};
  }

  std::string_view where_;
  const Limits& limits_;
  std::uint32_t instructions_ = 0;
  std::uint64_t bytes_ = 0;  ///< size of the program as data, without strings and binaries
  /// The position of the reader; see Error::path.
  std::vector<std::uint32_t> path_;
};

}  // namespace

Result<Number> read_literal(Value map) {
  OUTRIGGER_TRY(const Fields literal, Fields::read("literal", map, {"number"}));
  OUTRIGGER_TRY(const Value value, literal.required("number"));
  if (const auto number = number_of(value)) return *number;
  return literal.mistyped(
      "number",
      R"(an integer, a float, "nan", "infinity", "neg_infinity" or a map of "re" and "im")", value);
}

Result<Program> read_program(std::string_view where, Value map, const Limits& limits) {
  return ProgramReader(where, limits).region(map);
}

Result<std::size_t> count_program_values(std::span<const std::uint8_t> bytes,
                                         const Limits& limits) {
  if (bytes.size() > limits.program_bytes_max) {
    return fail(ErrorCode::limit_exceeded,
                "prepare: a program has at most " + std::to_string(limits.program_bytes_max) +
                    " bytes in msgpack, this one has " + std::to_string(bytes.size()) +
                    "; split it into several");
  }
  const auto count = count_values(bytes, limits.depth_max);
  if (!count) return fail(ErrorCode::bad_request, "prepare: the program " + count.error());
  return *count;
}

Result<Program> decode_program(std::span<const std::uint8_t> bytes, std::span<Node> nodes,
                               const Limits& limits) {
  const auto map = read_value(bytes, nodes, limits.depth_max);
  if (!map) return fail(ErrorCode::bad_request, "prepare: the program " + map.error());
  if (!map->is(Kind::map)) {
    return fail(ErrorCode::bad_request,
                "prepare: the program must be a map, got " + describe(*map));
  }
  return read_program("prepare", *map, limits);
}

}  // namespace outrigger::wire
