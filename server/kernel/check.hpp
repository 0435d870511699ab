#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "base/kernel_unit.hpp"

namespace outrigger::kernel {

/// The limits of a unit.
struct UnitLimits {
  static constexpr std::size_t unit_nodes_max = 65536;
  static constexpr std::size_t kernel_nodes_max = 8192;  ///< with all kernels that it calls
  static constexpr std::size_t kernels_max = 256;
  static constexpr std::size_t params_max = 64;
  static constexpr std::size_t rank_max = 16;
  static constexpr std::size_t slots_max = 4096;
  static constexpr std::size_t results_max = 64;
  static constexpr std::size_t arrays_max = 256;  ///< scratch and local ones of a kernel
  static constexpr std::uint32_t blocks_deep_max = 32;
  static constexpr std::uint32_t calls_deep_max = 16;
  /// Operands inside each other: the interpreter's compiler recurses once for each.
  static constexpr std::uint32_t expressions_deep_max = 512;
  static constexpr std::int64_t local_bytes_max = 16 << 10;
  static constexpr std::int64_t all_local_bytes_max = 64 << 10;
  static constexpr std::int64_t size_max = std::int64_t{1} << 47;
};

/// Why a unit is refused, with the place in the source of the user.
struct Refusal {
  std::string text = {};
  std::string file = {};
  std::uint32_t line = 0;
};

/// A tensor of a kernel, in the order of its numbers.
struct TensorInfo {
  Type type = Type::s64;
  std::uint32_t rank = 0;
  bool writable = false;
};

/// A kernel that has passed the check.
struct CheckedKernel {
  Kernel kernel = {};
  std::vector<TensorInfo> tensors = {};
  /// The type of each expression; without a meaning for statements.
  std::vector<Type> types = {};
};

/// A unit that has passed the check: all positions, types and uses agree with each other.
struct CheckedUnit {
  std::vector<std::string> files = {};
  std::vector<CheckedKernel> kernels = {};
};

/// Checks a unit that a client has sent. It proves what the interpreter relies on: each node is
/// used once, below the node that uses it; types are equal where they must be; a tensor that is
/// written may be; a variable is assigned on every way to its use; loops, blocks and calls form no
/// cycle; and the limits. Nothing is converted.
tl::expected<CheckedUnit, Refusal> check(Unit unit);

constexpr bool is_integer(Type type) { return type >= Type::u8 && type <= Type::s64; }
constexpr bool is_float(Type type) { return type >= Type::f32; }
constexpr bool is_unsigned(Type type) { return type >= Type::u8 && type <= Type::u64; }
/// The bytes of an element. A boolean has no elements.
constexpr std::int64_t bytes_of(Type type) {
  if (is_float(type)) return type == Type::f32 ? 4 : 8;
  return std::int64_t{1} << ((static_cast<unsigned>(type) + 3) % 4);
}

}  // namespace outrigger::kernel
