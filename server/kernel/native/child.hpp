#pragma once

#include <span>
#include <string_view>

namespace outrigger::kernel {

/// The first argument of a process that compiles kernels. The library of LLVM, the limit of its
/// address space in bytes and the seconds for a unit follow.
inline constexpr std::string_view compiler_option = "--kernel-compiler";

/// Compiles what comes from standard input, until its end. Returns the status of the process.
int run_compiler(int argc, char** argv);

}  // namespace outrigger::kernel
