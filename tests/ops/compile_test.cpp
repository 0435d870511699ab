// Compares passes as machine code with the same passes in the interpreter, byte for byte: each op
// that is compiled, over special values and random bits, for each instruction set that this machine
// supports.

#include <sys/prctl.h>

#include <cstdlib>
#include <map>
#include <set>

#include "differential/draw.hpp"
#include "ops/pass/compile/status.hpp"
#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;
using outrigger::test::any_of;
using outrigger::test::between;
using outrigger::test::chance;
using outrigger::test::draw_element;
using outrigger::test::Random;

std::vector<Isa> instruction_sets() {
  std::vector<Isa> all;
  if (machine_isa() >= Isa::avx2) all.push_back(Isa::avx2);
  if (machine_isa() >= Isa::avx512) all.push_back(Isa::avx512);
  return all;
}

std::string name_of_isa(Isa isa) { return isa == Isa::avx512 ? "avx512" : "avx2"; }

class CompileTest : public testing::Test {
 protected:
  /// The elements have any address, not only aligned ones.
  Tensor random_tensor(DType dtype, const Dims& shape) {
    const std::int64_t count = element_count(shape);
    const std::int64_t skipped = between(random_, 0, 3);
    const Tensor whole = lab_.empty(dtype, {count + skipped});
    for (std::int64_t i = 0; i < count + skipped; ++i)
      draw_element(random_, dtype, whole.data() + static_cast<std::size_t>(i) * size_of(dtype));
    return view_of(whole, TensorType{dtype, shape}, contiguous_strides(shape), skipped, true);
  }
  Tensor random_truth(const Dims& shape) {
    Tensor tensor = random_tensor(u8, shape);
    for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.as<std::uint8_t>()[i] %= 2;
    return tensor;
  }

  std::vector<std::vector<std::byte>> outputs(const Pass& pass, const std::vector<Tensor>& in,
                                              const Dims& shape, const Compile& how, int threads) {
    std::vector<Tensor> out;
    for (const Pass::Register r : pass.stores)
      out.push_back(random_tensor(pass.registers[r], shape));
    Context context = lab_.context(threads);
    context.compile = how;
    EXPECT_TRUE(run_pass(context, pass, in, out));
    std::vector<std::vector<std::byte>> all;
    for (const Tensor& tensor : out) all.push_back(bytes(tensor));
    return all;
  }

  /// True if code and interpreter agree for all instruction sets.
  bool agree(const Pass& pass, const std::vector<Tensor>& in, int threads = 1) {
    const Dims& shape = pass.space;
    const auto expected = outputs(pass, in, shape, {.when = Compile::When::never}, threads);
    for (const Isa isa : instruction_sets()) {
      const auto got = outputs(pass, in, shape, {Compile::When::always, isa}, threads);
      for (std::size_t o = 0; o < got.size(); ++o) {
        if (got[o] == expected[o]) continue;
        tell(pass, in, o, expected[o], got[o], isa);
        return false;
      }
    }
    return true;
  }

  void tell(const Pass& pass, const std::vector<Tensor>& in, std::size_t o,
            const std::vector<std::byte>& expected, const std::vector<std::byte>& got, Isa isa) {
    const std::size_t width = size_of(pass.registers[pass.stores[o]]);
    std::size_t at = 0;
    while (expected[at] == got[at]) ++at;
    at -= at % width;
    const auto hex = [width](const std::byte* element) {
      std::string text;
      for (std::size_t i = width; i-- > 0;) {
        constexpr std::string_view digits = "0123456789abcdef";
        text += digits[static_cast<std::size_t>(element[i]) >> 4];
        text += digits[static_cast<std::size_t>(element[i]) & 15];
      }
      return text;
    };
    std::string operands;
    for (const Tensor& tensor : in) {
      operands += " " + to_string(tensor.type);
      const std::size_t w = size_of(tensor.dtype());
      if (tensor.shape() != pass.space) continue;
      std::uint64_t bits = 0;
      std::memcpy(&bits, tensor.data() + at / width * w, std::min<std::size_t>(w, 8));
      char text[32];
      std::snprintf(text, sizeof text, " (%llx)", static_cast<unsigned long long>(bits));
      operands += text;
    }
    ADD_FAILURE() << name_of_isa(isa) << ": output " << o << " of " << to_string(pass.space)
                  << ", element " << at / width << ": " << hex(&got[at]) << " instead of "
                  << hex(&expected[at]) << "; inputs:" << operands;
  }

  Lab lab_;
  Random random_{20261125};
};

/// The row's op alone, with its operands in the dtypes that it requests; nothing if it refuses
/// them.
std::optional<Pass> single(const OpRow& row, DType dtype, std::int64_t n) {
  std::vector<InferOperand> operands;
  for (std::size_t i = 0; i < row.operands.size(); ++i) {
    const bool scalar = row.name == "clip" && i > 0;
    const bool truth = (row.boolean_operands >> i & 1) != 0;
    operands.push_back({TensorType{truth ? u8 : dtype, scalar ? Dims{} : Dims{n}}});
  }
  const Attrs attrs;
  const auto inferred = infer(row, InferCall{operands, AttrView(attrs)});
  if (!inferred) return std::nullopt;
  const Kernel kernel = kernel_of(row, inferred->compute);
  if (!kernel || kernel.record == nullptr) return std::nullopt;
  std::vector<DType> inputs;
  std::vector<Pass::Register> in;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const bool truth = (row.boolean_operands >> i & 1) != 0;
    inputs.push_back(truth ? u8 : inferred->operands[i]);
    in.push_back(static_cast<Pass::Register>(i));
  }
  PassMaker maker({n}, inputs);
  return maker.done({maker.add(kernel, inferred->raw[0], in)});
}

TEST_F(CompileTest, EachOpOfEachDtype) {
  std::map<std::string, std::set<DType>> compiled;
  for (const OpRow& row : all_ops()) {
    if (row.kind != Kind::elementwise || row.tile == nullptr) continue;
    for (const DType dtype : kernel_dtypes) {
      for (std::int64_t n = 0; n <= 330; n += n < 70 ? 1 : 127) {
        const auto pass = single(row, dtype, n);
        if (!pass) continue;
        std::vector<Tensor> in;
        for (std::size_t i = 0; i < pass->inputs; ++i) {
          const bool truth = (row.boolean_operands >> i & 1) != 0;
          const bool scalar = row.name == "clip" && i > 0;
          in.push_back(truth    ? random_truth({n})
                       : scalar ? random_tensor(pass->registers[i], {})
                                : random_tensor(pass->registers[i], {n}));
        }
        ASSERT_TRUE(agree(*pass, in)) << row.name << " of " << name_of(dtype);
        if (n > 1 && compiled_micro_ops(*pass) > 0) compiled[std::string(row.name)].insert(dtype);
      }
    }
  }
  if (instruction_sets().empty()) GTEST_SKIP() << "this machine has no AVX2";
  for (const char* op :
       {"add",     "subtract",      "multiply", "min",   "max",       "negate", "abs",
        "sign",    "clip",          "select",   "equal", "not_equal", "less",   "less_equal",
        "greater", "greater_equal", "floor",    "ceil",  "round",     "is_nan", "is_infinity"}) {
    EXPECT_EQ(compiled[op].size(), kernel_dtypes.size()) << op;
  }
  for (const char* op : {"divide", "sqrt", "rsqrt"})
    EXPECT_TRUE(compiled[op].contains(f32) && compiled[op].contains(f64)) << op;
  for (const char* op :
       {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "left_shift", "right_shift"})
    EXPECT_EQ(compiled[op].size(), 8U) << op;
  for (const char* op : {"logical_and", "logical_or", "logical_xor", "logical_not"})
    EXPECT_TRUE(compiled[op].contains(u8)) << op;
}

TEST_F(CompileTest, EachCast) {
  std::size_t compiled = 0;
  for (const DType from : all_dtypes) {
    for (const DType to : all_dtypes) {
      if (from == to || is_complex(from) || is_complex(to)) continue;
      for (const std::int64_t n : {2L, 7L, 16L, 61L, 3000L}) {
        PassMaker maker({n}, {from});
        const Pass pass = maker.done({maker.cast(0, to)});
        if (pass.micro_ops.empty()) continue;
        ASSERT_TRUE(agree(pass, {random_tensor(from, {n})}))
            << name_of(from) << " to " << name_of(to);
        compiled += compiled_micro_ops(pass) == pass.micro_ops.size() ? 1 : 0;
      }
    }
  }
  EXPECT_TRUE(instruction_sets().empty() || compiled > 5U * 90) << compiled;
}

/// A random pass of about that many micro-ops.
class RandomPass {
 public:
  RandomPass(Random& random, Dims space) : random_(random), space_(std::move(space)) {
    for (std::int64_t n = between(random, 1, 6); n > 0; --n)
      inputs_.push_back(any_of(random, kernel_dtypes));
  }

  Pass make(std::size_t size) {
    PassMaker maker(space_, inputs_);
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      have_.push_back(static_cast<Pass::Register>(i));
    const bool calls = chance(random_, 50);
    while (maker.size() < size) step(maker, calls);
    std::vector<Pass::Register> stores;
    for (std::size_t i = have_.size(); i-- > inputs_.size();) {
      const Pass::Register r = have_[i];
      if (stores.empty() || (!used_.contains(r) && chance(random_, 60)) || chance(random_, 3))
        stores.push_back(r);
    }
    return maker.done(stores);
  }

  const std::vector<DType>& inputs() const { return inputs_; }

 private:
  void step(PassMaker& maker, bool calls) {
    const OpRow& row = any_of(random_, all_ops());
    if (row.kind != Kind::elementwise || row.tile == nullptr || row.name == "fill" ||
        row.name == "complex" || row.family == "complex")
      return;
    const DType dtype = any_of(random_, kernel_dtypes);
    std::vector<InferOperand> operands;
    for (std::size_t i = 0; i < row.operands.size(); ++i)
      operands.push_back({TensorType{dtype, {}}});
    const Attrs attrs;
    const auto inferred = infer(row, InferCall{operands, AttrView(attrs)});
    if (!inferred) return;
    const Kernel kernel = kernel_of(row, inferred->compute);
    if (!kernel || (kernel.record == nullptr && (!calls || chance(random_, 50)))) return;
    std::vector<Pass::Register> in;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const Pass::Register r = any_of(random_, have_);
      used_.insert(r);
      const bool truth = (row.boolean_operands >> i & 1) != 0;
      in.push_back(truth ? maker.truth(r) : maker.cast(r, inferred->operands[i]));
    }
    have_.push_back(maker.add(kernel, inferred->raw[0], in));
  }

  Random& random_;
  Dims space_;
  std::vector<DType> inputs_;
  std::vector<Pass::Register> have_;
  std::set<Pass::Register> used_;
};

/// A tensor that is broadcast to the shape, or has it with another layout.
class Layouts {
 public:
  Layouts(Random& random, const Dims& shape) : random_(random), shape_(shape) {}

  Dims draw() {
    if (chance(random_, 20)) return {};
    Dims dims = shape_;
    for (std::int64_t& dim : dims) dim = chance(random_, 20) ? 1 : dim;
    return dims;
  }

 private:
  Random& random_;
  const Dims& shape_;
};

TEST_F(CompileTest, RandomPasses) {
  const std::vector<Dims> shapes{{2},     {31},     {64},        {1000},    {3000},
                                 {70001}, {5, 200}, {3, 130, 7}, {9, 9, 9}, {2, 3, 301}};
  std::size_t compiled = 0;
  std::size_t all = 0;
  const std::uint64_t rounds = outrigger::test::environment("OUTRIGGER_PROGRAMS", 400);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    random_.seed(outrigger::test::environment("OUTRIGGER_SEED", 1) * 1000003 + round);
    SCOPED_TRACE(testing::Message() << "round " << round);
    const Dims& shape = any_of(random_, shapes);
    RandomPass maker(random_, shape);
    const Pass pass = maker.make(static_cast<std::size_t>(between(random_, 2, 100)));
    Layouts layouts(random_, shape);
    std::vector<Tensor> in;
    for (const DType dtype : maker.inputs()) {
      Tensor tensor = random_tensor(dtype, layouts.draw());
      if (!tensor.shape().empty() && chance(random_, 15)) {
        // A reversed axis.
        Dims strides = tensor.strides;
        const std::int64_t last = (tensor.shape().back() - 1) * strides.back();
        strides.back() = -strides.back();
        tensor = view_of(tensor, tensor.type, strides, tensor.offset + last, true);
      }
      in.push_back(std::move(tensor));
    }
    ASSERT_TRUE(agree(pass, in, static_cast<int>(between(random_, 1, 3))));
    compiled += compiled_micro_ops(pass);
    all += pass.micro_ops.size();
  }
  EXPECT_TRUE(instruction_sets().empty() || compiled > all / 2) << compiled << " of " << all;
}

TEST_F(CompileTest, OutputsOverInputs) {
  for (std::uint64_t round = 0; round < 200; ++round) {
    random_.seed(round);
    SCOPED_TRACE(testing::Message() << "round " << round);
    const Dims shape{between(random_, 2, 3000)};
    RandomPass maker(random_, shape);
    const Pass pass = maker.make(static_cast<std::size_t>(between(random_, 2, 40)));
    std::vector<std::vector<std::byte>> first;
    std::vector<Tensor> original;
    for (const DType dtype : maker.inputs()) original.push_back(random_tensor(dtype, shape));
    std::vector<Compile> ways{{.when = Compile::When::never}};
    for (const Isa isa : instruction_sets()) ways.push_back({Compile::When::always, isa});
    for (const Compile& how : ways) {
      Context context = lab_.context();
      context.compile = how;
      std::vector<Tensor> in;
      for (const Tensor& tensor : original) {
        in.push_back(lab_.empty(tensor.dtype(), shape));
        ASSERT_TRUE(copy_tensor(context, tensor, in.back()));
      }
      // The first output of the same width takes the memory of each input.
      std::set<std::size_t> taken;
      std::vector<Tensor> out;
      for (const Pass::Register r : pass.stores) {
        const std::size_t width = size_of(pass.registers[r]);
        std::size_t donor = 0;
        while (donor < in.size() && (taken.contains(donor) || size_of(in[donor].dtype()) != width ||
                                     std::count(pass.stores.begin(), pass.stores.end(), donor) > 0))
          ++donor;
        if (donor == in.size()) {
          out.push_back(lab_.empty(pass.registers[r], shape));
          continue;
        }
        taken.insert(donor);
        out.push_back(in[donor]);
        out.back().type.dtype = pass.registers[r];
      }
      ASSERT_TRUE(run_pass(context, pass, in, out));
      std::vector<std::vector<std::byte>> got;
      for (const Tensor& tensor : out) got.push_back(bytes(tensor));
      if (first.empty()) first = got;
      ASSERT_TRUE(got == first) << name_of_isa(how.isa);
    }
  }
}

TEST_F(CompileTest, OnlyWorkThatPaysIsCompiled) {
  if (instruction_sets().empty()) GTEST_SKIP() << "this machine has no AVX2";
  const auto run = [this](const Pass& pass) {
    const std::vector<Tensor> in{random_tensor(f32, pass.space)};
    outputs(pass, in, pass.space, {}, 1);
    return compiled_micro_ops(pass);
  };
  const auto make = [](std::int64_t n) {
    PassMaker maker({n}, {f32});
    return maker.done({maker.apply("add", f32, {maker.apply("multiply", f32, {0, 0}), 0})});
  };
  const Pass small = make(1000);
  EXPECT_EQ(run(small), 0U);
  for (int i = 0; i < 2000; ++i) run(small);
  EXPECT_EQ(compiled_micro_ops(small), 2U) << "it has been run often enough";
  EXPECT_EQ(run(make(2'000'000)), 2U);
}

TEST_F(CompileTest, CodeEndsWithItsPass) {
  if (instruction_sets().empty()) GTEST_SKIP() << "this machine has no AVX2";
  const std::uint64_t before = code_bytes();
  {
    PassMaker maker({1000}, {f32});
    const Pass pass = maker.done({maker.apply("add", f32, {0, 0})});
    ASSERT_TRUE(agree(pass, {random_tensor(f32, {1000})}));
    EXPECT_GT(code_bytes(), before);
  }
  EXPECT_EQ(code_bytes(), before);
}

/// Simulates a system that refuses executable memory: from now on, this process gets none.
bool refuse_executable_memory() {
  constexpr int set_mdwe = 65;  // PR_SET_MDWE, Linux 6.3
  constexpr unsigned long refuse_exec_gain = 1;
  return ::prctl(set_mdwe, refuse_exec_gain, 0UL, 0UL, 0UL) == 0;
}

TEST(CompileRefusedTest, PassesAreInterpreted) {
  constexpr int get_mdwe = 66;
  if (::prctl(get_mdwe, 0UL, 0UL, 0UL, 0UL) < 0) GTEST_SKIP() << "this kernel cannot refuse it";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto child = [] {
    if (!refuse_executable_memory() || executable_memory_refused().empty()) std::exit(2);
    Lab lab;
    PassMaker maker({3}, {f32});
    const Pass pass = maker.done({maker.apply("add", f32, {0, 0})});
    const Tensor in = lab.tensor<float>({3}, {1, 2, 3});
    const Tensor out = lab.empty(f32, {3});
    Context context = lab.context();
    context.compile.when = Compile::When::always;
    const bool ran = run_pass(context, pass, std::span(&in, 1), std::span(&out, 1)).has_value();
    const bool right = values<float>(out) == std::vector<float>{2, 4, 6};
    std::exit(ran && right && compiled_micro_ops(pass) == 0 ? 0 : 1);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace outrigger::ops::test
