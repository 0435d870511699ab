#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel/check.hpp"
#include "kernel/interpret.hpp"

namespace outrigger::kernel {

/// The first cells of a frame: what the code of a unit gets from its caller, and gives back. A cell
/// has 64 bits. The cells of the unit's own kernel follow (Emission).
struct FrameCell {
  static constexpr std::size_t budget = 0;  ///< costs until the next look at the interrupt
  static constexpr std::size_t site = 1;    ///< where the run has failed
  static constexpr std::size_t run = 2;     ///< the first argument of `poll` and `clear`
  static constexpr std::size_t poll = 3;    ///< i32 (run): 0 goes on
  static constexpr std::size_t clear = 4;   ///< i32 (run, address, bytes): 0 goes on
  static constexpr std::size_t call_f32 = 5;
  static constexpr std::size_t call_f64 = 6;
  static constexpr std::size_t convert = 7;  ///< i64 (double, type): a number beyond 2^63, or NaN
  static constexpr std::size_t functions = 8;
  static constexpr std::size_t memory = 9;  ///< for scratch
  static constexpr std::size_t count = 10;
};

/// A look at the interrupt comes after so many nodes of work, about a tenth of a millisecond.
inline constexpr std::int64_t frame_budget = std::int64_t{1} << 18;

/// A place where a kernel may fail.
struct Site {
  enum class Kind : std::uint8_t { interrupted, index, divisor, step, shape, raised };
  Kind kind = Kind::interrupted;
  std::uint32_t kernel = 0;
  std::uint32_t line = 0;
  std::uint32_t at = 0;  ///< index: tensor; shape: callee; raised: text
  std::uint32_t tensor = 0;
  std::uint32_t axis = 0;
  bool at_least = false;  ///< shape: a size below the expected one
  /// The types of the cells `values`: index, size; size, expected; what is raised.
  std::vector<Type> types = {};
};

/// A longer text is not compiled: LLVM needs more than its time for it.
inline constexpr std::uint64_t module_bytes_max = std::uint64_t{4} << 20;

/// The code of a unit as text for LLVM, and what is needed to call it.
struct Emission {
  std::string text = {};
  bool too_long = false;  ///< the text is not complete
  /// A number of `FrameCell::site` is a position here.
  std::vector<Site> sites = {};
  /// The ops' functions that the code calls, in the order of their table.
  std::vector<std::pair<What, Type>> functions = {};
  /// The first cells of the tensors (address, sizes), of the dimension names, the scalars, the
  /// results, and the values of a failure.
  std::size_t tensors = 0;
  std::size_t dims = 0;
  std::size_t scalars = 0;
  std::size_t results = 0;
  std::size_t values = 0;
  std::size_t cells = 0;
};

/// The name of the function that the code exports: i32 (frame), which gives 0 or has failed.
inline constexpr const char* entry_name = "entry";

/// Writes the unit as text. It contains numbers and types only, and no string of the client's. The
/// code has the meaning of the interpreter. All operands lie in C order.
Emission emit(const CheckedUnit& unit, const EmitOptions& options = {});

}  // namespace outrigger::kernel
