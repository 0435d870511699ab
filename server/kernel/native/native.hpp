#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "kernel/emit/emit.hpp"
#include "kernel/interpret.hpp"
#include "kernel/native/code_cache.hpp"
#include "ops/pass/pass.hpp"

namespace outrigger::kernel {

/// A unit's machine code with what a call needs.
class Native {
 public:
  /// `emission` without its text.
  Native(Emission emission, const CheckedUnit& unit, std::shared_ptr<ModuleCode> code);

  std::uint64_t held_bytes() const;

  /// Runs the unit's own kernel, as Machine::run. Nothing: it is to be interpreted, because there
  /// is no code or because an operand has another layout than C order.
  std::optional<tl::expected<std::vector<std::uint64_t>, Failure>> run(
      const Machine& machine, const MachineCall& request) const;

 private:
  bool fits(const Machine::Code& code, const MachineCall& request) const;
  Failure failure(const Machine& machine, const std::vector<std::uint64_t>& frame) const;

  Emission emission_;
  std::vector<ops::TileFn> functions_;
  std::vector<Type> results_;
  std::shared_ptr<ModuleCode> code_;
};

/// Makes the code of a unit, or finds it. Null: the unit is interpreted.
std::shared_ptr<const Native> make_native(const CheckedUnit& unit, Compiler& compiler, Kept& kept,
                                          const EmitOptions& options);

}  // namespace outrigger::kernel
