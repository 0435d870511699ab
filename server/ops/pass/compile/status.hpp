#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ops/pass/pass.hpp"
#include "ops/support/export.hpp"

namespace outrigger::ops {

/// The micro-ops of the pass that its machine code runs; 0 while there is no code.
OUTRIGGER_EXPORT std::size_t compiled_micro_ops(const Pass& pass);

/// The target of the compiler: "avx2", "avx512", or "none" if passes are interpreted.
OUTRIGGER_EXPORT std::string_view compiler_name(const Compile& compile);

/// The bytes of the machine code of all passes.
OUTRIGGER_EXPORT std::uint64_t code_bytes();

/// The reason why this process cannot have executable memory ("Permission denied"); empty if it
/// can. The system is asked once.
OUTRIGGER_EXPORT std::string_view executable_memory_refused();

}  // namespace outrigger::ops
