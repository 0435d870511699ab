// Machine code of kernels: faults of the process that makes it, cancel, and the pages of the code.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "build_unit.hpp"
#include "kernel/check.hpp"
#include "kernel/interpret.hpp"
#include "support_compiler.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// sum(n) of 0..n: a unit that differs for each `salt`.
CheckedUnit sum_unit(std::int64_t salt) {
  KernelBuilder k;
  const auto n = k.scalar(Type::s64);
  const auto i = k.variable(Type::s64);
  const auto sum = k.variable(Type::s64);
  k.kernel.results = {Type::s64};
  const auto begin = k.set(sum, k.number(salt));
  const auto old = k.slot(sum);
  const auto more = k.of(What::add, old, k.slot(i));
  const auto next = k.set(sum, more);
  const auto from = k.number(0);
  const auto loop = k.range(i, from, k.slot(n), {next});
  const auto result = k.give_back({k.slot(sum)});
  auto checked = check(unit_of({k.done({begin, loop, result})}));
  if (!checked) throw std::runtime_error(checked.error().text);
  return std::move(*checked);
}

class NativeTest : public testing::Test {
 protected:
  ~NativeTest() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  /// A program in a folder of its own, in place of the compiler.
  std::string program(const std::string& script) {
    std::string name = testing::TempDir() + "outrigger-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    const std::string path = folder_ + "/compiler";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    ::chmod(path.c_str(), S_IRWXU);
    return path;
  }

  /// The result is right, whatever happens to the compiler. Returns what is told of it.
  std::string outcome(CompilerOptions options, int units = 1) {
    std::vector<std::string> logged;
    const bool wanted = !options.library.empty();
    options.log = [&](const std::string& text) { logged.push_back(text); };
    Compiler compiler(std::move(options));
    for (int salt = 0; salt < units; ++salt) {
      const CheckedUnit unit = sum_unit(salt);
      Machine machine(unit);
      machine.compile(unit, compiler, kept_);
      for (int call = 0; call < 2; ++call) {
        const auto results = run_alone(machine, {100}, {});
        EXPECT_TRUE(results);
        if (results) {
          EXPECT_EQ(results->at(0), 5050U + static_cast<unsigned>(salt));
        }
      }
    }
    const std::string told = compiler.describe();
    if (wanted && told.find("interpreted") != std::string::npos) {
      EXPECT_FALSE(logged.empty()) << told;
    }
    return told;
  }

  Kept kept_{0};
  std::string folder_;
};

/// The message that a compiler is ready.
constexpr const char* ready = R"(printf 'v\006\000\000\000\000\000\000\00019.1.7')";

TEST_F(NativeTest, WithoutLlvmKernelsAreInterpreted) {
  EXPECT_EQ(outcome({.program = OUTRIGGER_KERNEL_COMPILER}),
            "interpreted: there is no LLVM 19 (Debian: libllvm19)");
  const std::string told =
      outcome({.program = OUTRIGGER_KERNEL_COMPILER, .library = "/nowhere/libLLVM.so.19.1"});
  EXPECT_EQ(told.find("interpreted: /nowhere/libLLVM.so.19.1: cannot open"), 0U) << told;
}

TEST_F(NativeTest, WithoutTheProgramKernelsAreInterpreted) {
  const std::string told = outcome({.program = "/nowhere/compiler", .library = "/any"}, 2);
  EXPECT_EQ(told,
            "llvm 19: 0 compiled, 2 interpreted (the last one: cannot start /nowhere/compiler: No "
            "such file or directory)");
}

TEST_F(NativeTest, ACompilerThatIsKilledAtItsStart) {
  const std::string told = outcome({.program = program("kill -9 $$"), .library = "/any"});
  EXPECT_NE(told.find("1 interpreted (the last one: the compiler ended early: signal 9)"),
            std::string::npos)
      << told;
}

TEST_F(NativeTest, ACompilerThatIsKilledInTheMiddle) {
  const std::string script = std::string(ready) + "; head -c 40 >/dev/null; kill -9 $$";
  const std::string told = outcome({.program = program(script), .library = "/any"}, 2);
  EXPECT_EQ(told,
            "llvm 19.1.7: 0 compiled, 2 interpreted (the last one: the compiler ended early: "
            "signal 9)");
}

TEST_F(NativeTest, ACompilerThatHangs) {
  const std::string script = std::string(ready) + "; exec sleep 60";
  const auto begin = Clock::now();
  const std::string told =
      outcome({.program = program(script), .library = "/any", .time = milliseconds(300)});
  EXPECT_NE(told.find("the compiler took longer than 300 ms"), std::string::npos) << told;
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(NativeTest, AnObjectThatIsNone) {
  const std::string script =
      std::string(ready) + R"(; printf 'o\004\000\000\000\000\000\000\000abcd'; exec sleep 60)";
  const std::string told = outcome({.program = program(script), .library = "/any"});
  EXPECT_NE(told.find("the object is refused: it is no object for this processor"),
            std::string::npos)
      << told;
}

TEST_F(NativeTest, AMessageThatIsTooLong) {
  const std::string script =
      std::string(ready) + R"(; printf 'o\377\377\377\377\377\000\000\000abcd'; exec sleep 60)";
  const std::string told = outcome({.program = program(script), .library = "/any"});
  EXPECT_NE(told.find("1 interpreted (the last one: the compiler ended early"), std::string::npos)
      << told;
}

TEST_F(NativeTest, TooLittleMemory) {
  OUTRIGGER_NEED_LLVM();
#if defined(OUTRIGGER_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers take terabytes of addresses: the limit is off";
#endif
  CompilerOptions options = compiler_options();
  options.memory = std::uint64_t{96} << 20;
  const std::string told = outcome(options);
  EXPECT_NE(told.find("interpreted"), std::string::npos) << told;
}

TEST_F(NativeTest, TheCompilerStartsAgainAfterAFault) {
  OUTRIGGER_NEED_LLVM();
  // The first start fails, later ones are the real compiler.
  const std::string mark = testing::TempDir() + "outrigger-mark-" + std::to_string(::getpid());
  const std::string script = "if [ ! -e " + mark + " ]; then touch " + mark +
                             "; kill -9 $$; fi; exec " OUTRIGGER_KERNEL_COMPILER " \"$@\"";
  CompilerOptions options = compiler_options();
  options.program = program(script);
  const std::string told = outcome(options, 3);
  std::filesystem::remove(mark);
  EXPECT_EQ(told.find("llvm 19.1.7: 2 compiled, 1 interpreted"), 0U) << told;
}

TEST_F(NativeTest, TheCompilerEndsWithoutWork) {
  OUTRIGGER_NEED_LLVM();
  CompilerOptions options = compiler_options();
  options.idle = milliseconds(20);
  Compiler compiler(options);
  for (int salt = 0; salt < 3; ++salt) {
    const CheckedUnit unit = sum_unit(salt);
    Machine machine(unit);
    machine.compile(unit, compiler, kept_);
    EXPECT_EQ(run_alone(machine, {100}, {})->at(0), 5050U + static_cast<unsigned>(salt));
    std::this_thread::sleep_for(milliseconds(200));
  }
  EXPECT_EQ(compiler.describe(), "llvm 19.1.7: 3 compiled");
}

TEST_F(NativeTest, ACompilerThatDiesWhileItWaits) {
  OUTRIGGER_NEED_LLVM();
  // It ends after one module, as if it was killed in a pause.
  const std::string pids = testing::TempDir() + "outrigger-pids-" + std::to_string(::getpid());
  CompilerOptions options = compiler_options();
  options.program = program("echo $$ >" + pids + "; exec " OUTRIGGER_KERNEL_COMPILER " \"$@\"");
  Compiler compiler(options);
  for (int salt = 0; salt < 3; ++salt) {
    const CheckedUnit unit = sum_unit(salt);
    Machine machine(unit);
    machine.compile(unit, compiler, kept_);
    EXPECT_EQ(run_alone(machine, {100}, {})->at(0), 5050U + static_cast<unsigned>(salt));
    pid_t pid = 0;
    std::ifstream(pids) >> pid;
    ASSERT_GT(pid, 1);
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
  }
  std::filesystem::remove(pids);
  EXPECT_EQ(compiler.describe(), "llvm 19.1.7: 3 compiled");
}

TEST_F(NativeTest, ARefusalIsOneLine) {
  const std::string script =
      std::string(ready) +
      R"(; printf 'r\011\000\000\000\000\000\000\000no\nno\001no.'; exec sleep 60)";
  const std::string told = outcome({.program = program(script), .library = "/any"});
  EXPECT_NE(told.find("the compiler says: no no no."), std::string::npos) << told;
}

TEST_F(NativeTest, EqualUnitsShareTheirCode) {
  OUTRIGGER_NEED_LLVM();
  Compiler compiler(compiler_options());
  for (int time = 0; time < 3; ++time) {
    const CheckedUnit unit = sum_unit(7);
    Machine machine(unit);
    machine.compile(unit, compiler, kept_);
    EXPECT_EQ(run_alone(machine, {4}, {})->at(0), 17U);
  }
  EXPECT_EQ(compiler.describe(), "llvm 19.1.7: 1 compiled");
  // Code that was evicted is compiled again.
  EXPECT_TRUE(kept_.make_room(kept_.limit()));
  EXPECT_EQ(kept_.bytes(), 0U);
  const CheckedUnit unit = sum_unit(7);
  Machine machine(unit);
  machine.compile(unit, compiler, kept_);
  EXPECT_EQ(run_alone(machine, {4}, {})->at(0), 17U);
  EXPECT_EQ(compiler.describe(), "llvm 19.1.7: 2 compiled");
}

TEST_F(NativeTest, ACancelledCallDoesNotWait) {
  Compiler compiler({.program = program("exec sleep 60"), .library = "/any"});
  const CheckedUnit unit = sum_unit(1);
  Machine machine(unit);
  machine.compile(unit, compiler, kept_);
  ops::Interrupt interrupt;
  interrupt.set_deadline(Clock::now() + milliseconds(30));
  const auto results = run_alone(machine, {std::uint64_t{1} << 62}, {}, interrupt);
  ASSERT_FALSE(results);
  EXPECT_EQ(results.error().code, FailureCode::interrupted);
}

TEST_F(NativeTest, ACallThatHasWaitedLongIsInterpreted) {
  OUTRIGGER_NEED_LLVM();
  CompilerOptions options = compiler_options();
  options.program = program("sleep 1; exec " OUTRIGGER_KERNEL_COMPILER " \"$@\"");
  options.wait = milliseconds(50);
  Compiler compiler(options);
  const CheckedUnit unit = sum_unit(1);
  Machine machine(unit);
  machine.compile(unit, compiler, kept_);
  EXPECT_EQ(run_alone(machine, {4}, {})->at(0), 11U);
  EXPECT_EQ(compiler.describe(), "llvm 19: 0 compiled");
  // A later call has the code.
  const auto until = Clock::now() + std::chrono::seconds(30);
  while (compiler.describe() != "llvm 19.1.7: 1 compiled" && Clock::now() < until)
    EXPECT_EQ(run_alone(machine, {4}, {})->at(0), 11U);
  EXPECT_EQ(compiler.describe(), "llvm 19.1.7: 1 compiled");
}

TEST_F(NativeTest, OtherLayoutsAreInterpreted) {
  OUTRIGGER_NEED_LLVM();
  KernelBuilder k(1);
  const auto t = k.tensor(Mode::mut, Type::s32, {KernelBuilder::named(0)});
  const auto i = k.variable(Type::s64);
  const auto value = k.add({.what = What::as, .type = Type::s32, .operands = {k.slot(i)}});
  const auto store = k.store(t, value, {k.slot(i)});
  const auto from = k.number(0);
  const auto loop = k.range(i, from, k.plus(k.dim(0), -1), {store});
  const auto checked = check(unit_of({k.done({loop})}));
  ASSERT_TRUE(checked) << checked.error().text;
  Compiler compiler(compiler_options());
  Machine machine(*checked);
  machine.compile(*checked, compiler, kept_);
  std::vector<std::int32_t> memory(8, -1);
  auto* const first = reinterpret_cast<std::byte*>(memory.data());
  ASSERT_TRUE(run_alone(machine, {}, {{first, {4}, {2}}}));
  EXPECT_EQ(memory, (std::vector<std::int32_t>{0, -1, 1, -1, 2, -1, 3, -1}));
  ASSERT_TRUE(run_alone(machine, {}, {{first, {8}, {1}}}));
  EXPECT_EQ(memory, (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

/// Kernels that do not end in a human's life.
std::vector<std::pair<std::string, Unit>> endless_units() {
  constexpr std::int64_t far = std::int64_t{1} << 62;
  std::vector<std::pair<std::string, Unit>> all;
  const auto sum = [](KernelBuilder& k, KernelBuilder::At x, KernelBuilder::At by) {
    const auto old = k.slot(x);
    const auto other = k.slot(by);
    const auto mixed = k.of(What::multiply, k.of(What::bitwise_xor, old, other), k.number(7));
    return k.set(x, mixed);
  };
  {
    KernelBuilder k;
    const auto x = k.scalar(Type::s64);
    const auto i = k.variable(Type::s64);
    const auto body = sum(k, x, i);
    const auto from = k.number(0);
    all.emplace_back("for", unit_of({k.done({k.range(i, from, k.number(far), {body})})}));
  }
  {
    KernelBuilder k;
    const auto x = k.scalar(Type::s64);
    const auto i = k.variable(Type::s64);
    const auto j = k.variable(Type::s64);
    const auto body = sum(k, x, j);
    const auto zero = k.number(0);
    const auto inner = k.range(j, zero, k.number(2), {body});
    const auto from = k.number(0);
    all.emplace_back("for in for", unit_of({k.done({k.range(i, from, k.number(far), {inner})})}));
  }
  {
    KernelBuilder k;
    const auto x = k.scalar(Type::s64);
    const auto body = sum(k, x, x);
    const auto yes = k.number(1, Type::boolean);
    all.emplace_back("while true", unit_of({k.done({k.loop(yes, {body})})}));
  }
  {
    KernelBuilder k;
    const auto yes = k.number(1, Type::boolean);
    all.emplace_back("empty", unit_of({k.done({k.loop(yes, {})})}));
  }
  {
    KernelBuilder k;
    const auto x = k.scalar(Type::s64);
    const auto i = k.variable(Type::s64);
    const auto begin = k.set(i, k.number(0));
    const auto body = sum(k, x, i);
    const auto next = k.set(i, k.plus(k.slot(i), 1));
    const auto here = k.slot(i);
    const auto more = k.of(What::less, here, k.number(far));
    all.emplace_back("counted", unit_of({k.done({begin, k.loop(more, {body, next})})}));
  }
  {
    // The counter steps over the end, and wraps.
    KernelBuilder k;
    const auto x = k.scalar(Type::s64);
    const auto i = k.variable(Type::s64);
    const auto begin = k.set(i, k.number(std::numeric_limits<std::int64_t>::max() - 9));
    const auto body = sum(k, x, i);
    const auto next = k.set(i, k.plus(k.slot(i), 4));
    const auto here = k.slot(i);
    const auto more = k.of(What::less, here, k.number(std::numeric_limits<std::int64_t>::max()));
    all.emplace_back("wrapped", unit_of({k.done({begin, k.loop(more, {body, next})})}));
  }
  {
    // A callee whose loop is left at once, and one that runs for long.
    KernelBuilder callee;
    const auto y = callee.scalar(Type::s64);
    const auto n = callee.scalar(Type::s64);
    const auto j = callee.variable(Type::s64);
    callee.kernel.results = {Type::s64};
    const auto body = sum(callee, y, j);
    const auto zero = callee.number(0);
    const auto loop = callee.range(j, zero, callee.slot(n), {body});
    const auto result = callee.give_back({callee.slot(y)});
    Kernel first = callee.done({loop, result});
    KernelBuilder k;
    const auto x = k.scalar(Type::s64);
    const auto a = k.slot(x);
    const auto b = k.number(10000);
    const auto call = k.add({.what = What::call, .at = 0, .arguments = {{.at = a}, {.at = b}}});
    const auto set = k.set(x, call);
    const auto yes = k.number(1, Type::boolean);
    all.emplace_back("calls", unit_of({std::move(first), k.done({k.loop(yes, {set})})}));
  }
  return all;
}

TEST_F(NativeTest, AnEndlessLoopIsCancelled) {
  OUTRIGGER_NEED_LLVM();
  Compiler compiler(compiler_options());
  for (auto& [name, unit] : endless_units()) {
    SCOPED_TRACE(name);
    const bool scalar = !unit.kernels.back().params.empty();
    auto checked = check(std::move(unit));
    ASSERT_TRUE(checked) << checked.error().text;
    Machine machine(*checked);
    machine.compile(*checked, compiler, kept_);
    ops::Interrupt interrupt;
    Clock::time_point cancelled;
    std::thread other([&] {
      std::this_thread::sleep_for(milliseconds(150));
      cancelled = Clock::now();
      interrupt.cancel();
    });
    const auto results =
        run_alone(machine, scalar ? std::vector<std::uint64_t>{3} : std::vector<std::uint64_t>{},
                  {}, interrupt);
    const auto end = Clock::now();
    other.join();
    ASSERT_FALSE(results);
    EXPECT_EQ(results.error().code, FailureCode::interrupted);
    // 20 ms where nothing else runs; tests share their machine.
    EXPECT_LT(end - cancelled, milliseconds(250));
    ops::Interrupt late;
    late.set_deadline(Clock::now() + milliseconds(20));
    EXPECT_FALSE(run_alone(
        machine, scalar ? std::vector<std::uint64_t>{3} : std::vector<std::uint64_t>{}, {}, late));
  }
  EXPECT_EQ(compiler.describe(), "llvm 19.1.7: 7 compiled");
}

TEST_F(NativeTest, NoPageIsWritableAndExecutable) {
  OUTRIGGER_NEED_LLVM();
  Compiler compiler(compiler_options());
  const CheckedUnit unit = sum_unit(3);
  Machine machine(unit);
  machine.compile(unit, compiler, kept_);
  ASSERT_TRUE(run_alone(machine, {10}, {}));
  std::ifstream maps("/proc/self/maps");
  int executable = 0;
  for (std::string line; std::getline(maps, line);) {
    const std::size_t rights = line.find(' ') + 1;
    if (line.at(rights + 2) != 'x') continue;
    ++executable;
    EXPECT_NE(line.at(rights + 1), 'w') << line;
  }
  EXPECT_GT(executable, 0);
}

/// From now on, this process and its children cannot make memory executable.
bool refuse_executable_memory() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof filter / sizeof filter[0], filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(NativeTest, WithoutExecutableMemoryKernelsAreInterpreted) {
  OUTRIGGER_NEED_LLVM();
#if defined(OUTRIGGER_TEST_SANITIZED)
  GTEST_SKIP() << "the process of the test would be one of the sanitizer";
#endif
  const auto alone = [&] {
    if (!refuse_executable_memory()) std::_Exit(2);
    Compiler compiler(compiler_options());
    const CheckedUnit unit = sum_unit(3);
    Machine machine(unit);
    machine.compile(unit, compiler, kept_);
    const auto results = run_alone(machine, {10}, {});
    const bool right = results && results->at(0) == 58;
    const bool told = compiler.describe().find("1 interpreted") != std::string::npos;
    std::_Exit(right && told ? 0 : 1);
  };
  EXPECT_EXIT(alone(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace outrigger::kernel
