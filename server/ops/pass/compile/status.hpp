#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ops/pass/pass.hpp"
#include "ops/support/export.hpp"

namespace outrigger::ops {

/// Micro-ops of the pass that its machine code carries out; 0 while there is none.
OUTRIGGER_EXPORT std::size_t compiled_micro_ops(const Pass& pass);

/// What passes are compiled for: "avx2", "avx512", or "none" if they are interpreted.
OUTRIGGER_EXPORT std::string_view compiler_name(const Compile& compile);

/// Bytes of the machine code of all passes.
OUTRIGGER_EXPORT std::uint64_t code_bytes();

/// Why this process cannot have executable memory ("Permission denied"); empty if it can. Asks the
/// system once.
OUTRIGGER_EXPORT std::string_view executable_memory_refused();

}  // namespace outrigger::ops
