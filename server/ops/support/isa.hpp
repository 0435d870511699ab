#pragma once

#include <cstdint>

#include "ops/support/export.hpp"

namespace outrigger::ops {

/// The targets of code generation.
enum class Isa : std::uint8_t { none, avx2, avx512 };

/// The best target that this machine supports.
OUTRIGGER_EXPORT Isa machine_isa();

/// The condition for the compilation of a pass to machine code. Other passes are interpreted, with
/// the same bits.
struct Compile {
  enum class When : std::uint8_t { never, when_it_pays, always };
  When when = When::when_it_pays;
  Isa isa = machine_isa();
};

}  // namespace outrigger::ops
