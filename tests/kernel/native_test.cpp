// Machine code of kernels: what happens to the process that makes it, and what the code may do.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernel/check.hpp"
#include "kernel/interpret.hpp"
#include "support_compiler.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

class NativeTest : public testing::Test {
 protected:
  Kept kept_{0};
};

TEST_F(NativeTest, WithoutLlvmKernelsAreInterpreted) {
  Compiler compiler({.program = OUTRIGGER_KERNEL_COMPILER});
  EXPECT_FALSE(compiler.available());
  EXPECT_EQ(compiler.name(), "interpreted");
}

}  // namespace
}  // namespace outrigger::kernel
