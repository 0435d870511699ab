// Random programs of all ops and dtypes, over shapes with zeros and ones, broadcasts, views and
// special values. Each instruction alone is compared with a naive reference. The whole program,
// fused, on 1, 2 and 5 threads, interpreted and compiled, is compared with its instructions one by
// one, bit for bit.
//
//   OUTRIGGER_SEED=…      one seed instead of the fixed ones and a new one
//   OUTRIGGER_PROGRAMS=…  programs for each seed

#include <algorithm>
#include <array>
#include <iostream>
#include <map>
#include <set>

#include "differential/draw.hpp"
#include "differential/whole.hpp"
#include "engine/builder.hpp"
#include "ops/pass/compile/status.hpp"
#include "support/program_text.hpp"

namespace outrigger::test {
namespace {

using engine::test::Runner;

constexpr std::int64_t elements_max = 200'000;

/// The number of runs of each op, and the number of runs that a reference checked.
struct Coverage {
  std::set<std::string> failed;
  std::map<std::string, std::pair<int, int>> ops;
};

class ProgramRun {
 public:
  ProgramRun(Random& random, Coverage& coverage)
      : random_(random), coverage_(coverage), shapes_(random) {
    runner_.compile.when = ops::Compile::When::never;
  }

  void run() {
    for (std::int64_t n = between(random_, 2, 4); n > 0; --n) add_argument();
    add_indices();
    for (std::int64_t n = between(random_, 2, 10); n > 0; --n) {
      for (int attempt = 0; attempt < 40 && !step(); ++attempt) {
      }
    }
    compare_whole();
  }

 private:
  void add_argument() {
    TensorType type{any_of(random_, all_dtypes), shapes_.draw(random_)};
    if (element_count(type.shape) > elements_max) return add_argument();
    if (chance(random_, 30)) type.dtype = chance(random_, 50) ? DType::f32 : DType::s32;
    // Some tensors are windows onto a larger one: their elements are not adjacent, or are reversed.
    Dims whole = type.shape;
    const bool apart = !whole.empty() && chance(random_, 35);
    if (apart) whole.back() = whole.back() * 2 + 1;
    Tensor tensor = runner_.empty(type.dtype, whole);
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      draw_element(random_, type.dtype,
                   tensor.data() + static_cast<std::size_t>(i) * size_of(type.dtype));
    }
    if (apart) {
      Dims strides = tensor.strides;
      strides.back() = chance(random_, 50) ? 2 : -2;
      const std::int64_t last = type.shape.back() == 0 ? 0 : 2 * (type.shape.back() - 1);
      tensor = view_of(tensor, type, strides, strides.back() < 0 ? last : 1, false);
    }
    const auto id = static_cast<ValueId>(known_.size());
    program_.params.push_back(id);
    arguments_.push_back(tensor);
    add(id, std::move(tensor));
  }

  /// Adds [n][1] zeros and ones: indices that are mostly within bounds.
  void add_indices() {
    const Tensor tensor = runner_.empty(any_of(random_, std::array{DType::s32, DType::u8}),
                                        {shapes_.size(random_), 1});
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      store_number(Number{between(random_, 0, 1)}, tensor.dtype(),
                   tensor.data() + static_cast<std::size_t>(i) * size_of(tensor.dtype()));
    }
    program_.params.push_back(static_cast<ValueId>(known_.size()));
    arguments_.push_back(tensor);
    add(program_.params.back(), tensor);
  }

  void add(ValueId id, Tensor tensor) {
    known_.push_back({id, tensor.type});
    values_.emplace(id, std::move(tensor));
    next_ = std::max(next_, id + 1);
  }

  /// Draws one instruction or several that belong together, and runs each alone. Returns false if
  /// the daemon refuses one.
  bool step() {
    if (!chance(random_, 4)) return run(draw_instruction(random_, shapes_, known_, next_));
    const std::vector<Instruction> stencil = draw_stencil(random_, any_of(random_, known_), next_);
    return std::all_of(stencil.begin(), stencil.end(),
                       [this](const Instruction& instruction) { return run(instruction); });
  }

  bool run(const Instruction& instruction) {
    Program alone;
    std::vector<Tensor> arguments;
    for (const Operand& operand : instruction.in) {
      const auto* id = std::get_if<ValueId>(&operand);
      if (id == nullptr || std::count(alone.params.begin(), alone.params.end(), *id) > 0) continue;
      alone.params.push_back(*id);
      arguments.push_back(values_.at(*id));
    }
    alone.body = {instruction};
    alone.outputs = instruction.out;
    const auto plan = runner_.plan(alone, arguments);
    if (!plan) return false;
    for (const TensorType& type : (*plan)->results) {
      if (element_count(type.shape) > elements_max || type.shape.size() > 5) return false;
    }
    // The plan has no bound for windows; the windows that are drawn are small.
    if (instruction.op != "window_reduce" && (*plan)->work > 30'000'000) return false;
    const engine::Outcome outcome = runner_.run(**plan, arguments);
    if (outcome.error) return false;
    check(instruction, outcome.results);
    program_.body.push_back(instruction);
    for (std::size_t i = 0; i < instruction.out.size(); ++i)
      add(instruction.out[i], outcome.results[i]);
    next_ += 32;  // for the ids inside of a region
    return true;
  }

  void check(const Instruction& instruction, const std::vector<Tensor>& results) {
    std::vector<Given> in;
    for (const Operand& operand : instruction.in) {
      if (const auto* id = std::get_if<ValueId>(&operand)) {
        const Tensor& tensor = values_.at(*id);
        in.push_back({tensor.type, cells_of(tensor)});
      } else {
        in.push_back(literal(std::get<Number>(operand)));
      }
    }
    const bool elementwise = ops::find_op(instruction.op)->kind == ops::Kind::elementwise;
    const Verdict verdict = elementwise ? check_elementwise(instruction, in, results[0])
                                        : check_whole(instruction, in, results[0]);
    auto& [ran, checked] = coverage_.ops[instruction.op];
    ++ran;
    checked += verdict.checked ? 1 : 0;
    // One failure of an op is sufficient.
    if (!verdict.wrong || !coverage_.failed.insert(instruction.op).second) return;
    std::string operands;
    for (const Given& given : in) operands += " " + to_string(given.type);
    Program alone;
    alone.body = {instruction};
    ADD_FAILURE() << *verdict.wrong << "\noperands:" << operands << "\n" << to_text(alone);
  }

  static Given literal(const Number& number) {
    const DType dtype = infer_dtype(number) == DType::s32 ? DType::s64 : DType::f64;
    std::array<std::byte, 8> element;
    store_number(number, dtype, element.data());
    return {TensorType{infer_dtype(number), {}}, {cell_at(dtype, element.data())}};
  }

  void compare_whole() {
    if (program_.body.empty()) return;
    for (const Instruction& instruction : program_.body) {
      for (const ValueId id : instruction.out) {
        if (chance(random_, 40)) program_.outputs.push_back(id);
      }
    }
    program_.outputs.push_back(program_.body.back().out.back());
    for (const ops::Compile& compile : ways()) {
      runner_.compile = compile;
      const bool agrees = std::all_of(teams.begin(), teams.end(),
                                      [this](int count) { return compare_whole(count); });
      if (!agrees) return;
    }
  }

  static constexpr std::array teams{1, 2, 5};

  /// The ways to run passes: interpreted, and as code of each kind that this machine supports.
  static std::vector<ops::Compile> ways() {
    std::vector<ops::Compile> all{{.when = ops::Compile::When::never}};
    for (const ops::Isa isa : {ops::Isa::avx2, ops::Isa::avx512}) {
      if (isa <= ops::machine_isa()) all.push_back({ops::Compile::When::always, isa});
    }
    return all;
  }

  bool compare_whole(int threads) {
    const engine::Outcome outcome = runner_.run(program_, arguments_, threads);
    if (!engine::test::succeeded(outcome)) {
      coverage_.failed.insert(outcome.error->text);
      tell(threads);
      return false;
    }
    for (std::size_t i = 0; i < program_.outputs.size(); ++i) {
      const auto text = bit_difference(values_.at(program_.outputs[i]), outcome.results[i]);
      if (!text || !coverage_.failed.insert("%" + maker_of(program_.outputs[i])).second) continue;
      ADD_FAILURE() << "output " << program_.outputs[i] << ": " << *text;
      tell(threads);
      return false;
    }
    return true;
  }

  std::string maker_of(ValueId id) const {
    for (const Instruction& instruction : program_.body) {
      if (std::count(instruction.out.begin(), instruction.out.end(), id) > 0) return instruction.op;
    }
    return "";
  }

  void tell(int threads) {
    std::string text = "on " + std::to_string(threads) +
                       " threads, compiler: " + std::string(ops::compiler_name(runner_.compile)) +
                       "\n";
    for (const Known& known : known_)
      text += " %" + std::to_string(known.id) + ": " + to_string(known.type);
    ADD_FAILURE() << text << "\n" << to_text(program_);
  }

  Random& random_;
  Coverage& coverage_;
  Shapes shapes_;
  Runner runner_;
  Program program_;
  std::vector<Tensor> arguments_;
  std::vector<Known> known_;
  std::map<ValueId, Tensor> values_;
  ValueId next_ = 0;
};

/// The ops that no program has used.
std::string never_drawn(const Coverage& coverage) {
  std::string never;
  for (const ops::OpRow& row : ops::all_ops()) {
    if (row.kind == ops::Kind::control) continue;
    if (!coverage.ops.contains(std::string(row.name))) never += " " + std::string(row.name);
  }
  return never;
}

/// The elementwise ops that were drawn but have no reference in `element_of`.
std::string never_checked(const Coverage& coverage) {
  std::string never;
  for (const auto& [op, counts] : coverage.ops) {
    const bool elementwise = ops::find_op(op)->kind == ops::Kind::elementwise;
    if (elementwise && counts.second == 0) never += " " + op;
  }
  return never;
}

TEST(Differential, FusedUnfusedAndAnyNumberOfThreadsAgree) {
  Coverage coverage;
  for (const std::uint64_t seed : seeds()) {
    const std::uint64_t programs = environment("OUTRIGGER_PROGRAMS", 300);
    std::cout << "OUTRIGGER_SEED=" << seed << " OUTRIGGER_PROGRAMS=" << programs << std::endl;
    Random random(seed);
    // More programs are drawn while ops are missing.
    for (std::uint64_t i = 0; i < programs || (i < 4 * programs && !never_drawn(coverage).empty());
         ++i) {
      SCOPED_TRACE("OUTRIGGER_SEED=" + std::to_string(seed) + ", program " + std::to_string(i));
      ProgramRun(random, coverage).run();
      if (coverage.failed.size() > 8) return;
    }
  }
  EXPECT_EQ(never_drawn(coverage), "") << "ops that were never drawn";
  EXPECT_EQ(never_checked(coverage), "") << "elementwise ops without a reference in element_of()";
  for (const auto& [op, counts] : coverage.ops) {
    std::cout << op << " " << counts.first << "/" << counts.second << "  ";
  }
  std::cout << std::endl;
}

}  // namespace
}  // namespace outrigger::test
