#pragma once

#include <chrono>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "kernel/native/compiler.hpp"
#include "kernel/native/llvm.hpp"

namespace outrigger::kernel {

/// The options of a compiler that works, if this machine has LLVM.
inline CompilerOptions compiler_options() {
  // A busy machine takes longer than the usual two seconds.
  return {.program = OUTRIGGER_KERNEL_COMPILER,
          .library = Llvm::find_library(),
          .time = std::chrono::seconds(60),
          .wait = std::chrono::seconds(60)};
}

/// Skips the test on a machine that interprets.
#define OUTRIGGER_NEED_LLVM()                            \
  if (::outrigger::kernel::Llvm::find_library().empty()) \
  GTEST_SKIP() << "this machine has no libllvm19: kernels are interpreted here"

/// Sanitizers take terabytes of addresses, and processes of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OUTRIGGER_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OUTRIGGER_TEST_SANITIZED
#endif
#endif

}  // namespace outrigger::kernel
