#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/program.hpp"
#include "ops/op.hpp"

namespace outrigger::fuzz {

/// The fuzzer's bytes as choices; zeros after the last byte.
class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t first = bytes_[0];
    bytes_ = bytes_.subspan(1);
    return first;
  }
  std::size_t below(std::size_t count) { return count == 0 ? 0 : byte() % count; }
  /// True in one of `n` cases, for n ≤ 256.
  bool once_in(std::size_t n) { return below(n) == n - 1; }

 private:
  std::span<const std::uint8_t> bytes_;
};

/// Programs of any ops of the catalogue. Most are well formed; others have the mistakes that a
/// client can make.
class ProgramMaker {
 public:
  /// The parameters and results of a prepared program.
  struct Callee {
    std::size_t params = 0;
    std::size_t outputs = 0;
  };
  /// Programs by id.
  using Callees = std::map<std::uint64_t, Callee>;

  explicit ProgramMaker(Choices& choices, const Callees& callees)
      : choices_(choices), callees_(callees) {}

  Program make(std::size_t params) {
    Program program;
    for (std::size_t i = 0; i < params; ++i) program.params.push_back(fresh());
    visible_ = program.params;
    body(program, 0, 12);
    const std::size_t outputs = choices_.below(4);
    for (std::size_t i = 0; i < outputs; ++i) program.outputs.push_back(id());
    return program;
  }

 private:
  static constexpr std::size_t depth_max = 3;

  ValueId fresh() { return next_++; }
  ValueId id() {
    if (visible_.empty() || choices_.once_in(64)) return static_cast<ValueId>(choices_.below(256));
    // Later values are more likely.
    const std::size_t back = choices_.below(
        choices_.once_in(4) ? visible_.size() : std::min<std::size_t>(visible_.size(), 4));
    return visible_[visible_.size() - 1 - back];
  }

  std::int64_t integer() {
    constexpr std::array<std::int64_t, 16> some{
        0, 1, 2, 3, 4, 5, 8, -1, -2, 6, 7, 100, 1000, INT64_MAX, INT64_MIN, std::int64_t{1} << 61};
    return some.at(choices_.below(choices_.once_in(16) ? some.size() : 10));
  }
  Number number() {
    switch (choices_.below(8)) {
      case 0:
        return 0.5;
      case 1:
        return -1e30;
      case 2:
        return ~std::uint64_t{0} - choices_.byte();
      case 3:
        return std::complex<double>{0.5, -1.0};
      default:
        return integer();
    }
  }
  Operand operand() {
    if (choices_.once_in(8)) return number();
    return id();
  }
  std::vector<std::int64_t> shape() {
    constexpr std::array<std::int64_t, 10> dims{1, 2, 3, 4, 6, 12, 0, 5, 24, 1100};
    std::vector<std::int64_t> all(choices_.below(4));
    for (std::int64_t& dim : all) dim = dims.at(choices_.below(dims.size()));
    if (choices_.once_in(32)) all.push_back(integer());
    return all;
  }
  std::string dtype() { return std::string(name_of(all_dtypes.at(choices_.below(dtype_count)))); }

  AttrValue value(ops::AttrType type) {
    if (choices_.once_in(48)) type = static_cast<ops::AttrType>(choices_.below(8));
    constexpr std::array strings{"asc", "desc", "low", "high", "nan", "infinity", ""};
    switch (type) {
      case ops::AttrType::integer:
        return Number{integer()};
      case ops::AttrType::integers: {
        std::vector<std::int64_t> all(choices_.below(4));
        for (std::int64_t& item : all) item = integer();
        return all;
      }
      case ops::AttrType::shape:
        return shape();
      case ops::AttrType::number:
        return number();
      case ops::AttrType::boolean:
        return choices_.below(2) == 1;
      case ops::AttrType::string:
        return std::string(strings.at(choices_.below(strings.size())));
      case ops::AttrType::dtype:
        return dtype();
      case ops::AttrType::binary:
        break;
    }
    Bytes bytes(choices_.below(64));
    for (std::uint8_t& byte : bytes) byte = choices_.byte();
    return bytes;
  }

  Attrs attrs(const ops::OpRow& row) {
    Attrs all;
    for (const ops::AttrSpec& spec : row.attrs) {
      const bool given = spec.required ? !choices_.once_in(64) : choices_.below(2) == 1;
      if (given) all.emplace_back(spec.name, value(spec.type));
    }
    if (choices_.once_in(64)) all.emplace_back("other", value(ops::AttrType::integer));
    return all;
  }

  void body(Region& region, std::size_t depth, std::size_t most) {
    const std::size_t count = choices_.below(most + 1);
    for (std::size_t i = 0; i < count && !choices_.empty(); ++i)
      region.body.push_back(instruction(depth));
  }

  Instruction instruction(std::size_t depth) {
    if (!callees_.empty() && choices_.once_in(16)) return call();
    if (choices_.once_in(24)) return kernel();
    const auto rows = ops::all_ops();
    const ops::OpRow& row = rows[choices_.below(rows.size())];
    if (row.name == "while" && depth < depth_max && !choices_.once_in(8))
      return counted_loop(depth);
    Instruction made;
    made.op = row.name;
    std::size_t operands = row.operands.size();
    if (operands > 0 && row.operands.back().many)
      operands += choices_.below(4) - (choices_.once_in(4) ? 1 : 0);
    if (choices_.once_in(64)) operands = choices_.below(5);
    for (std::size_t i = 0; i < operands; ++i) made.in.push_back(operand());
    // Starts of slices are scalars: numbers are valid more often than values.
    if (row.family == "slice") {
      for (std::size_t i = row.name == "slice" ? 1 : 2; i < made.in.size(); ++i)
        made.in[i] = Number{integer()};
    }
    made.attrs = attrs(row);
    made.in_place = row.in_place >= 0 ? choices_.below(3) == 0 : choices_.once_in(64);
    const std::size_t regions = choices_.once_in(64) ? choices_.below(4) : row.regions.size();
    for (std::size_t i = 0; i < regions; ++i)
      made.regions.push_back(region(depth, row.name == "while" ? made.in.size() : 0));
    std::size_t results = row.kind == ops::Kind::control && !made.regions.empty()
                              ? made.regions.back().outputs.size()
                              : 1;
    if (choices_.once_in(64)) results = choices_.below(3);
    for (std::size_t i = 0; i < results; ++i)
      made.out.push_back(choices_.once_in(64) ? id() : fresh());
    visible_.insert(visible_.end(), made.out.begin(), made.out.end());
    return made;
  }

  /// The instruction has as many operands and results as the program when it was sent; the program
  /// may have been refused.
  Instruction call() {
    const auto& [id, callee] =
        *std::next(callees_.begin(), static_cast<std::ptrdiff_t>(choices_.below(callees_.size())));
    Instruction made;
    made.op = "call";
    made.attrs.emplace_back("program_id", Number{static_cast<std::int64_t>(id)});
    for (std::size_t i = 0; i < callee.params; ++i) made.in.push_back(operand());
    for (std::size_t i = 0; i < callee.outputs; ++i) made.out.push_back(fresh());
    visible_.insert(visible_.end(), made.out.begin(), made.out.end());
    return made;
  }

  /// A call of one of a session's first kernels, which may not be there, or may take and give
  /// others.
  Instruction kernel() {
    Instruction made;
    made.op = "kernel";
    made.attrs.emplace_back("kernel_id", Number{static_cast<std::int64_t>(1 + choices_.below(3))});
    const std::size_t operands = choices_.once_in(8) ? choices_.below(4) : 2;
    for (std::size_t i = 0; i < operands; ++i) made.in.push_back(operand());
    made.in_place = choices_.below(2) == 0;
    const std::size_t results = choices_.once_in(8) ? choices_.below(4) : made.in_place ? 1 : 2;
    for (std::size_t i = 0; i < results; ++i) made.out.push_back(fresh());
    visible_.insert(visible_.end(), made.out.begin(), made.out.end());
    return made;
  }

  Region region(std::size_t depth, std::size_t params) {
    Region made;
    if (depth >= depth_max) return made;
    const std::size_t outside = visible_.size();
    for (std::size_t i = 0; i < params; ++i) made.params.push_back(fresh());
    visible_.insert(visible_.end(), made.params.begin(), made.params.end());
    body(made, depth + 1, 4);
    const std::size_t outputs = params > 0 ? params : 1 + choices_.below(2);
    for (std::size_t i = 0; i < outputs; ++i) made.outputs.push_back(id());
    visible_.resize(outside);
    return made;
  }

  /// A loop that is valid in many cases: a counter, and values that may or may not keep their
  /// types.
  Instruction counted_loop(std::size_t depth) {
    Instruction made;
    made.op = "while";
    made.in.emplace_back(Number{std::int64_t{0}});
    const std::size_t carried = choices_.below(3);
    for (std::size_t i = 0; i < carried; ++i) made.in.push_back(operand());
    Region condition;
    Region turn;
    for (std::size_t i = 0; i <= carried; ++i) {
      condition.params.push_back(fresh());
      turn.params.push_back(fresh());
    }
    const ValueId verdict = fresh();
    const Number turns = choices_.once_in(32)
                             ? Number{INT64_MAX}
                             : Number{static_cast<std::int64_t>(choices_.below(6))};
    condition.body.push_back(
        Instruction{"less", {condition.params[0], turns}, {verdict}, {}, {}, false});
    condition.outputs = {verdict};
    const std::size_t outside = visible_.size();
    visible_.insert(visible_.end(), turn.params.begin(), turn.params.end());
    body(turn, depth + 1, 5);
    const ValueId up = fresh();
    turn.body.push_back(Instruction{
        "add", {turn.params[0], Number{std::int64_t{1}}}, {up}, {}, {}, choices_.below(4) == 0});
    turn.outputs = {up};
    for (std::size_t i = 1; i <= carried; ++i)
      turn.outputs.push_back(choices_.below(2) == 0 ? turn.params[i] : id());
    visible_.resize(outside);
    for (std::size_t i = 0; i <= carried; ++i) made.out.push_back(fresh());
    visible_.insert(visible_.end(), made.out.begin(), made.out.end());
    made.regions = {std::move(condition), std::move(turn)};
    return made;
  }

  Choices& choices_;
  const Callees& callees_;
  std::vector<ValueId> visible_;
  ValueId next_ = 0;
};

}  // namespace outrigger::fuzz
