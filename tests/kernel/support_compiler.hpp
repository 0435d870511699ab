#pragma once

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "kernel/native/compiler.hpp"
#include "kernel/native/llvm.hpp"

namespace outrigger::kernel {

/// The options of a compiler that works, if this machine has LLVM.
inline CompilerOptions compiler_options() {
  return {.program = OUTRIGGER_KERNEL_COMPILER, .library = Llvm::find_library()};
}

/// Skips the test on a machine that interprets.
#define OUTRIGGER_NEED_LLVM()                            \
  if (::outrigger::kernel::Llvm::find_library().empty()) \
  GTEST_SKIP() << "this machine has no libllvm19: kernels are interpreted here"

}  // namespace outrigger::kernel
