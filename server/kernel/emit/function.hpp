#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel/emit/bounds.hpp"
#include "kernel/emit/cost.hpp"
#include "kernel/emit/emit.hpp"
#include "kernel/emit/writer.hpp"

namespace outrigger::kernel {

/// The part that the functions of a unit share.
struct Module {
  const CheckedUnit& unit;
  const EmitOptions& options;
  Emission& out;
  std::vector<Work> works = {};  ///< of the kernels so far
  std::uint32_t metadata = 2;    ///< the next number
  std::string metadata_text = {};
  std::map<std::pair<What, Type>, std::size_t> functions = {};
};

/// The turns of a loop without a loop inside, between two looks at the budget. Its body is free of
/// looks then, so that LLVM can make vectors of it.
inline constexpr std::int64_t piece_turns = 16384;

/// The type of a function's result: {i32, results}. The number is 0, or the kernel has failed.
std::string result_type(const Kernel& kernel);

/// Writes one kernel as a function. A variable is memory of the function, which LLVM turns into
/// registers. Its parameters are: frame, free memory, for each tensor its address and sizes, the
/// dimension names, the scalars.
class FunctionEmitter {
 public:
  FunctionEmitter(Module& module, std::uint32_t number);
  std::string run();

 private:
  struct TensorValue {
    std::string address;
    std::vector<std::string> sizes;
    std::string metadata;  ///< of each access
  };
  struct Loop {
    std::string next;
    std::string exit;
    /// In pieces of turns: a variable that each turn of a piece increases by `step`, and the one
    /// with its value at the beginning (empty: 0). Empty: no pieces.
    std::string counter;
    std::string begin;
    std::string type = "i64";  ///< of both
    std::int64_t step = 1;
    std::int64_t cost = 0;  ///< of a turn
  };
  /// An index that is known before a loop, but for the loop's variable: factor * variable + terms.
  struct Hoist {
    std::uint32_t expression = 0;
    std::uint32_t tensor = 0;
    std::uint32_t axis = 0;
    std::int64_t factor = 0;
    std::uint64_t constant = 0;
    int visits = 0;  ///< of nodes, to find it
    std::vector<std::pair<std::uint32_t, std::int64_t>> terms = {};
  };

  const std::vector<Node>& nodes() const { return kernel_.kernel.nodes; }
  Type type_of(std::uint32_t at) const { return kernel_.types[at]; }

  // The beginning and the end (function.cpp).
  std::string head();
  void tensors();
  void alias_metadata();
  std::string size_of_dim(const Dim& dim);
  void finish();
  void give_back(const std::vector<std::string>& values);

  // Statements (statement.cpp).
  void block(std::uint32_t number);
  /// True if the text is already longer than what is compiled: no more is written.
  bool too_long() const;
  void statement(const Node& n);
  void condition(const Node& n);
  void while_loop(const Node& n);
  void for_loop(const Node& n);
  struct Range {
    std::string first;
    std::string turns;  ///< after the first one
    std::string step;
    std::int64_t step_number = 0;  ///< 0: it is no number
  };
  /// Jumps to `exit` if the range is empty.
  Range range(const Node& n, const std::string& exit);
  void turns(const Node& n, const Range& turns, const std::string& exit, const Work& work);
  bool counted_while(const Node& n, const Work& work);
  /// An `if` that sets variables and reads elements that are inside, without a branch.
  bool straight_if(const Node& n);

  // Checks in front of a loop (hoist.cpp).
  struct Turn {
    const Node& loop;
    const Bounds& bounds;  ///< inside of the loop
  };
  std::vector<Hoist> find_hoists(const Node& loop) const;
  void find_in_block(const Turn& turn, std::uint32_t block, std::vector<Hoist>& found) const;
  void find_in_expression(const Turn& turn, std::uint32_t at, std::vector<Hoist>& found) const;
  void find_in_indices(const Turn& turn, std::uint32_t tensor,
                       const std::vector<std::uint32_t>& operands, std::size_t from,
                       std::vector<Hoist>& found) const;
  bool linear(const Node& loop, std::uint32_t at, std::int64_t scale, Hoist& out) const;
  bool invariant(const Node& loop, std::uint32_t at) const;
  /// The condition under which all of them are inside, for all turns.
  std::string hoisted_condition(const Range& range, const std::vector<Hoist>& hoists);

  // Evaluation without need (hoist.cpp).
  struct Weight {
    int nodes = 0;
    int loads = 0;
  };
  /// True if the expression may be evaluated where its value is not wanted: it cannot fail, and it
  /// is cheap.
  bool harmless(std::uint32_t at, Weight& weight) const;
  bool is_inside(std::uint32_t expression, std::uint32_t tensor, std::uint32_t axis) const;
  void spend(const std::string& cost, std::uint32_t line);
  void spend_turns(const Loop& loop);
  /// Keeps the budget in the frame while a callee with loops runs.
  void save_budget();
  void load_budget();

  // Expressions (expression.cpp).
  std::string expression(std::uint32_t at);
  std::vector<std::string> expressions(const std::vector<std::uint32_t>& operands,
                                       std::size_t from);
  std::string number(const Node& n);
  std::string operation(const Node& n);
  std::string comparison(What what, Type type, const std::string& a, const std::string& b);
  std::string integer_operation(const Node& n, Type type, const std::string& a,
                                const std::string& b);
  std::string division(const Node& n, Type type, const std::string& a, const std::string& b);
  std::string shift(What what, Type type, const std::string& a, const std::string& b);
  std::string float_operation(const Node& n, Type type, const std::string& a, const std::string& b);
  std::string function_call(What what, Type type, const std::string& a, const std::string& b);
  std::string conversion(const Node& n);
  std::string float_to_integer(Type from, Type to, const std::string& x);
  std::string chosen(const Node& n);
  std::string intrinsic(std::string_view name, Type type, const std::string& a,
                        std::string_view more = {});

  // Elements and calls (access.cpp).
  std::string as_cell(const std::string& value, Type type);
  std::string from_cell(const std::string& cell, Type type);
  /// The address of the element, or of the first one of a part.
  /// Fails if an index is outside, unless that is proven to be impossible.
  void check_index(std::uint32_t tensor, std::uint32_t axis, std::uint32_t expression,
                   const std::string& index, std::uint32_t line);
  std::string element(std::uint32_t tensor, const std::vector<std::uint32_t>& operands,
                      std::size_t from, std::uint32_t line);
  std::vector<std::string> call(const Node& n);
  void bind_sizes(const Node& n, const Kernel& callee,
                  const std::vector<std::vector<std::string>>& sizes,
                  std::vector<std::string>& dims);

  // Failures (access.cpp).
  /// Goes on if the condition holds. Otherwise the run fails at `site` with cells as its values.
  void require(const std::string& condition, Site site, const std::vector<std::string>& cells);
  void trap_unless(const std::string& condition);
  void fail(Site site, const std::vector<std::string>& cells);
  void fail_with(std::size_t site, const std::vector<std::string>& cells);
  std::string cell_address(std::size_t cell);
  std::string load_pointer(std::size_t cell);

  Module& module_;
  const CheckedUnit& unit_;
  const CheckedKernel& kernel_;
  const std::uint32_t number_;
  const std::string results_;
  Work work_;
  Bounds bounds_;
  Writer w_;
  std::vector<TensorValue> tensors_;
  std::vector<std::string> slots_;
  std::string free_;    ///< the memory behind the scratch of this kernel
  std::string budget_;  ///< empty: the kernel has no loops
  std::vector<Loop> loops_;
  std::set<std::uint32_t> hoisted_;  ///< indices that were checked before the loop around
};

}  // namespace outrigger::kernel
