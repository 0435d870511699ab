#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernel/native/compiler.hpp"
#include "kernel/native/object.hpp"
#include "tensor/kept.hpp"

namespace outrigger::kernel {

/// The code of one module, which kernels of all sessions share. Its bytes count in Kept, which may
/// evict it: kernels that are bound to it keep it.
class ModuleCode final : public Kept::Item {
 public:
  ModuleCode(std::string text, Compiler& compiler, Kept& kept);

  /// The code for a text; the compilation begins if nobody else has begun it.
  static std::shared_ptr<ModuleCode> find(const std::string& text, Compiler& compiler, Kept& kept);

  /// The address of the code. Waits for the compilation, for a while. Null: the kernel is to be
  /// interpreted, this time at least, or the interrupt was raised. Only the thread that has claimed
  /// the engine calls it.
  const void* entry(const ops::Interrupt& interrupt);

 private:
  void evict() noexcept override;
  const void* load_object();

  const std::string text_;  ///< the key: code of another text is never taken
  Compiler& compiler_;
  Kept& kept_;
  Kept::Charge charge_;               ///< the text twice: for the compiler, later for the object
  std::shared_ptr<CompilerJob> job_;  ///< null when it has ended
  bool waited_ = false;
  std::optional<LoadedCode> code_;
};

}  // namespace outrigger::kernel
