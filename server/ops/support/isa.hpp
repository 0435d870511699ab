#pragma once

#include <cstdint>

#include "ops/support/export.hpp"

namespace outrigger::ops {

/// What code can be generated for.
enum class Isa : std::uint8_t { none, avx2, avx512 };

/// The best that this machine runs.
OUTRIGGER_EXPORT Isa machine_isa();

/// Which passes are compiled to machine code; the others are interpreted, with the same bits.
struct Compile {
  enum class When : std::uint8_t { never, when_it_pays, always };
  When when = When::when_it_pays;
  Isa isa = machine_isa();
};

}  // namespace outrigger::ops
