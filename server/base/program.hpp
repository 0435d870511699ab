#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace outrigger {

/// A program as data: what the wire carries and the planner reads. It knows neither tensors nor
/// the catalogue; PROTOCOL.md section 5 gives the meaning.

using ValueId = std::uint32_t;

/// A number without a dtype. Integers stay exact; "nan" and the infinities arrive as doubles.
using Number = std::variant<std::int64_t, std::uint64_t, double, std::complex<double>>;

using Operand = std::variant<ValueId, Number>;

/// A raw binary attribute. Owns its bytes: a prepared program outlives its frame.
using Bytes = std::vector<std::uint8_t>;

/// The value of an attribute as it came: the catalogue's type of the attr decides what is allowed.
using AttrValue = std::variant<bool, Number, std::string, std::vector<std::int64_t>, Bytes>;

using Attrs = std::vector<std::pair<std::string, AttrValue>>;

struct Region;

struct Instruction {
  std::string op;
  std::vector<Operand> in;
  std::vector<ValueId> out;
  Attrs attrs;
  std::vector<Region> regions;
  bool in_place = false;
  /// Of a `call`: the program that it names. The wire leaves it empty; the session binds it.
  std::shared_ptr<const Region> callee = nullptr;
};

struct Region {
  std::vector<ValueId> params;
  std::vector<Instruction> body;
  std::vector<ValueId> outputs;
};

/// The outermost region.
using Program = Region;

/// Bytes that an instruction takes as data, those of its regions and of what it calls aside.
std::uint64_t held_bytes(const Instruction& instruction);
/// Bytes that a region takes as data, those of what it calls aside.
std::uint64_t held_bytes(const Region& region);

}  // namespace outrigger
