#include "ops/op.hpp"

namespace outrigger::ops {

std::string_view isa_level() { return OUTRIGGER_ISA_LEVEL; }

}  // namespace outrigger::ops
