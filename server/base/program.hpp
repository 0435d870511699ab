#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace outrigger {

namespace kernel {
class Machine;
}  // namespace kernel

/// A program as data: the wire decodes it and the planner reads it. It does not depend on tensors
/// or on the catalogue; PROTOCOL.md section 5 gives the meaning.

using ValueId = std::uint32_t;

/// A number without a dtype. Integers are exact; "nan" and the infinities are doubles.
using Number = std::variant<std::int64_t, std::uint64_t, double, std::complex<double>>;

using Operand = std::variant<ValueId, Number>;

/// A raw binary attribute. It owns its bytes, because a prepared program outlives its frame.
using Bytes = std::vector<std::uint8_t>;

/// The value of an attribute as the client sent it. The catalogue's type of the attribute decides
/// which values are allowed.
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
  /// With `call` only: the program that the instruction names. The wire leaves it empty; the
  /// session sets it.
  std::shared_ptr<const Region> callee = nullptr;
  /// The same with `kernel` only.
  std::shared_ptr<const kernel::Machine> machine = nullptr;
};

struct Region {
  std::vector<ValueId> params;
  std::vector<Instruction> body;
  std::vector<ValueId> outputs;
};

/// The outermost region.
using Program = Region;

/// The bytes that an instruction takes as data, without its regions and its callee.
std::uint64_t held_bytes(const Instruction& instruction);
/// The bytes that a region takes as data, without its callees.
std::uint64_t held_bytes(const Region& region);

}  // namespace outrigger
