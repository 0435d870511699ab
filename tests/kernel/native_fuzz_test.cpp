// Random units, interpreted and as machine code, bit for bit. Each operand lies between pages that
// cannot be touched. KERNEL_FUZZ_UNITS has the number of units, KERNEL_FUZZ_SEED the first seed.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernel/check.hpp"
#include "kernel/interpret.hpp"
#include "random_unit.hpp"
#include "support_compiler.hpp"
#include "support_unit.hpp"

namespace outrigger::kernel {
namespace {

constexpr std::size_t page = 4096;

/// The seed of the run, for a fault of machine code.
std::atomic<std::uint64_t> running_seed{0};

void tell_seed(int signal) {
  char text[96];
  const int n = std::snprintf(text, sizeof text, "signal %d with KERNEL_FUZZ_SEED=%llu\n", signal,
                              static_cast<unsigned long long>(running_seed.load()));
  [[maybe_unused]] const auto done = ::write(STDERR_FILENO, text, static_cast<std::size_t>(n));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Bytes that end, or begin, at a page that cannot be touched.
class Guarded {
 public:
  Guarded(std::size_t bytes, bool at_end) : bytes_(bytes) {
    const std::size_t inner = (bytes + page - 1) / page * page;
    whole_ = inner + 2 * page;
    base_ = static_cast<std::byte*>(
        ::mmap(nullptr, whole_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (inner > 0) ::mprotect(base_ + page, inner, PROT_READ | PROT_WRITE);
    data_ = at_end ? base_ + page + inner - bytes : base_ + page;
  }
  Guarded(Guarded&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        data_(other.data_),
        whole_(other.whole_),
        bytes_(other.bytes_) {}
  Guarded& operator=(Guarded&&) = delete;
  ~Guarded() {
    if (base_ != nullptr) ::munmap(base_, whole_);
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::byte* base_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t whole_ = 0;
  std::size_t bytes_ = 0;
};

bool same(std::uint64_t a, std::uint64_t b, Type type) {
  if (a == b) return true;
  if (type == Type::f64)
    return std::isnan(std::bit_cast<double>(a)) && std::isnan(std::bit_cast<double>(b));
  if (type == Type::f32)
    return std::isnan(std::bit_cast<float>(static_cast<std::uint32_t>(a))) &&
           std::isnan(std::bit_cast<float>(static_cast<std::uint32_t>(b)));
  return false;
}

/// The operands of a run, and what it gave.
struct Outcome {
  std::vector<Guarded> memory;
  std::vector<TensorView> tensors;
  tl::expected<std::vector<std::uint64_t>, Failure> results = {};
};

class NativeFuzzTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(signal, tell_seed);
  }
  void TearDown() override {
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(signal, SIG_DFL);
  }

  /// The unit with operands of these sizes, by both.
  void compare(const CheckedUnit& checked, const Machine& machine, RandomUnit& make,
               const Sizes& names) {
    const Kernel& kernel = checked.kernels.back().kernel;
    std::vector<std::uint64_t> scalars;
    std::vector<std::vector<std::uint64_t>> elements;
    std::vector<Type> types;
    std::vector<Sizes> shapes;
    for (const Param& param : kernel.params) {
      if (param.mode == Mode::scalar) {
        scalars.push_back(make.cell(param.type));
        continue;
      }
      Sizes shape;
      std::size_t count = 1;
      for (const Dim& dim : param.dims) {
        shape.push_back(dim.kind == Dim::Kind::any ? 2 : size_of(dim, names));
        count *= static_cast<std::size_t>(shape.back());
      }
      std::vector<std::uint64_t>& cells = elements.emplace_back(count);
      if (param.mode != Mode::fresh)
        for (std::uint64_t& cell : cells) cell = make.cell(param.type);
      types.push_back(param.type);
      shapes.push_back(std::move(shape));
    }
    if (!bind_dims(kernel, shapes, true)) return;
    const bool at_end = make.chance(50);
    const auto run = [&](bool native) {
      Outcome outcome;
      for (std::size_t t = 0; t < types.size(); ++t) {
        const auto bytes = static_cast<std::size_t>(bytes_of(types[t]));
        Guarded& memory = outcome.memory.emplace_back(elements[t].size() * bytes, at_end);
        for (std::size_t i = 0; i < elements[t].size(); ++i)
          write_cell(memory.data() + i * bytes, types[t], elements[t][i]);
        outcome.tensors.push_back({memory.data(), shapes[t], {}});
      }
      const std::uint64_t needed = (machine.memory_for(shapes) + 7) / 8 * 8;
      const Guarded memory(needed, true);
      const ops::Interrupt interrupt;
      const MachineCall request{scalars, outcome.tensors, {memory.data(), needed}, interrupt};
      outcome.results = native ? machine.run(request) : machine.interpret(request);
      return outcome;
    };
    const Outcome slow = run(false);
    const Outcome fast = run(true);
    ++runs_;
    ASSERT_EQ(slow.results.has_value(), fast.results.has_value())
        << (slow.results ? fast.results.error().text : slow.results.error().text);
    if (slow.results) {
      for (std::size_t i = 0; i < kernel.results.size(); ++i)
        ASSERT_TRUE(same((*slow.results)[i], (*fast.results)[i], kernel.results[i]))
            << "result " << i << ": " << (*slow.results)[i] << " and " << (*fast.results)[i];
    } else {
      ++failures_;
      const Failure& a = slow.results.error();
      const Failure& b = fast.results.error();
      ASSERT_EQ(a.text, b.text);
      ASSERT_EQ(a.code, b.code);
      ASSERT_EQ(a.kernel, b.kernel);
      ASSERT_EQ(a.file, b.file);
      ASSERT_EQ(a.line, b.line) << a.text;
    }
    for (std::size_t t = 0; t < types.size(); ++t) {
      const auto bytes = static_cast<std::size_t>(bytes_of(types[t]));
      for (std::size_t i = 0; i < elements[t].size(); ++i) {
        const auto a = read_cell(slow.memory[t].data() + i * bytes, types[t]);
        const auto b = read_cell(fast.memory[t].data() + i * bytes, types[t]);
        ASSERT_TRUE(same(a, b, types[t]))
            << "tensor " << t << ", element " << i << ": " << a << " and " << b;
      }
    }
  }

  void fuzz(const EmitOptions& options) {
    const std::uint64_t units = from_environment("KERNEL_FUZZ_UNITS", 40);
    const std::uint64_t first = from_environment("KERNEL_FUZZ_SEED", 1);
    Compiler compiler(compiler_options());
    for (std::uint64_t seed = first; seed < first + units; ++seed) {
      running_seed = seed;
      SCOPED_TRACE("KERNEL_FUZZ_SEED=" + std::to_string(seed));
      RandomUnit make(seed);
      auto checked = check(make.make());
      ASSERT_TRUE(checked) << checked.error().text << ", line " << checked.error().line;
      Machine machine(*checked);
      machine.compile(*checked, compiler, kept_, options);
      for (int round = 0; round < 6; ++round) {
        // With equal sizes, more indices are right.
        const std::int64_t n = make.chance(15) ? make.pick(3) : 4 + make.pick(5);
        const Sizes names{n, make.chance(75) ? n : 1 + make.pick(8)};
        compare(*checked, machine, make, names);
        if (HasFatalFailure()) return;
      }
    }
    std::printf("%llu units from seed %llu: %d runs, %d of them with an error; %s\n",
                static_cast<unsigned long long>(units), static_cast<unsigned long long>(first),
                runs_, failures_, compiler.describe().c_str());
    EXPECT_EQ(compiler.describe().find("interpreted"), std::string::npos) << compiler.describe();
    // Most runs reach their end, and many do not.
    EXPECT_GT(runs_, static_cast<int>(units));
  }

  Kept kept_{0};
  int runs_ = 0;
  int failures_ = 0;
};

TEST_F(NativeFuzzTest, MachineCodeGivesWhatTheInterpreterGives) {
  OUTRIGGER_NEED_LLVM();
  fuzz({});
}

TEST_F(NativeFuzzTest, WithAllChecks) {
  OUTRIGGER_NEED_LLVM();
  fuzz({.check_all = true});
}

/// The process ends if a check fails that the analysis has proven to be needless.
TEST_F(NativeFuzzTest, WithATrapWhereAnIndexWasProven) {
  OUTRIGGER_NEED_LLVM();
  fuzz({.trap = true});
}

}  // namespace
}  // namespace outrigger::kernel
