#include "kernel/check.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>

namespace outrigger::kernel {
namespace {

using Limits = UnitLimits;

/// The variables that are assigned on a way through the kernel; nothing behind a jump.
using Assigned = std::optional<std::vector<bool>>;

void meet(Assigned& into, const Assigned& other) {
  if (!other) return;
  if (!into) {
    into = other;
    return;
  }
  for (std::size_t i = 0; i < into->size(); ++i) (*into)[i] = (*into)[i] && (*other)[i];
}

/// The cost of a kernel with all kernels that it calls.
struct Cost {
  std::size_t nodes = 0;
  std::uint32_t depth = 0;
  std::int64_t local_bytes = 0;
};

class Checker {
 public:
  Checker(Kernel kernel, const std::vector<std::string>& files,
          const std::vector<CheckedKernel>& done, const std::vector<Cost>& costs)
      : files_(files), done_(done), costs_(costs) {
    checked_.kernel = std::move(kernel);
  }

  /// False: `refusal` says why.
  bool run() { return head() && nodes() && blocks() && body() && all_used() && limits(); }

  Refusal refusal;
  Cost cost;
  CheckedKernel take() { return std::move(checked_); }

 private:
  const Kernel& kernel() const { return checked_.kernel; }

  bool refuse(std::string text, std::uint32_t line = 0) {
    refusal.text = (kernel().name.empty() ? "a kernel" : kernel().name) + ": " + std::move(text);
    if (kernel().file < files_.size()) refusal.file = files_[kernel().file];
    refusal.line = line;
    return false;
  }

  bool head() {
    const Kernel& k = kernel();
    if (k.file >= files_.size()) return refuse("its file is not in the unit");
    if (k.nodes.size() > Limits::kernel_nodes_max) return refuse("it has too many nodes");
    if (k.params.size() > Limits::params_max) return refuse("it has too many parameters");
    if (k.slots.size() > Limits::slots_max) return refuse("it has too many variables");
    if (k.results.size() > Limits::results_max) return refuse("it has too many results");
    if (k.blocks.empty()) return refuse("it has no body");
    // Each parameter brings at most rank_max names.
    if (k.dims > Limits::params_max * Limits::rank_max) return refuse("it has too many sizes");
    std::vector<bool> known(k.dims);
    std::size_t scalars = 0;
    for (const Param& param : k.params) {
      if (param.type == Type::boolean) return refuse("a parameter is a condition");
      if (param.mode == Mode::scalar) {
        if (scalars >= k.slots.size() || k.slots[scalars] != param.type)
          return refuse("the first variables are not the scalar parameters");
        ++scalars;
      } else if (!tensor(param.type, param.dims, param.mode != Mode::in)) {
        return false;
      }
      if (param.mode != Mode::fresh) {
        for (const Dim& dim : param.dims)
          if (dim.kind == Dim::Kind::name) known[dim.name] = true;
      }
    }
    scalars_ = scalars;
    for (const Type type : k.results)
      if (type == Type::boolean) return refuse("a result is a condition");
    if (std::find(known.begin(), known.end(), false) != known.end())
      return refuse("a size occurs in no parameter that is passed");
    for (const Param& param : k.params)
      if (param.mode == Mode::fresh && !all_known(param.dims))
        return refuse("a result has a size that is not known");
    if (k.scratch.size() + k.local.size() > Limits::arrays_max)
      return refuse("it has too many arrays");
    for (const Array& array : k.scratch)
      if (!all_known(array.dims) || !tensor(array.type, array.dims, true))
        return refuse("scratch has a size that is not known");
    for (const Array& array : k.local) {
      const Dim& dim = array.dims.front();
      if (dim.kind != Dim::Kind::number || dim.plus < 0 || dim.plus > Limits::local_bytes_max)
        return refuse("a local array is too large");
      if (!tensor(array.type, array.dims, true)) return false;
      cost.local_bytes += dim.plus * bytes_of(array.type);
    }
    if (cost.local_bytes > Limits::local_bytes_max) return refuse("its local arrays are too large");
    if (k.tensors.size() != checked_.tensors.size())
      return refuse("the names of its tensors are not complete");
    return true;
  }

  bool tensor(Type type, const std::vector<Dim>& dims, bool writable) {
    if (type == Type::boolean) return refuse("a tensor has conditions");
    if (dims.empty() || dims.size() > Limits::rank_max) return refuse("a tensor has a bad rank");
    for (const Dim& dim : dims) {
      if (dim.kind == Dim::Kind::name && dim.name >= kernel().dims)
        return refuse("a size has no name");
      if (dim.plus > Limits::size_max || dim.plus < -Limits::size_max ||
          (dim.kind == Dim::Kind::number && dim.plus < 0))
        return refuse("a size is out of range");
    }
    checked_.tensors.push_back({type, static_cast<std::uint32_t>(dims.size()), writable});
    return true;
  }

  static bool all_known(const std::vector<Dim>& dims) {
    return std::none_of(dims.begin(), dims.end(),
                        [](const Dim& dim) { return dim.kind == Dim::Kind::any; });
  }

  bool nodes() {
    const std::size_t count = kernel().nodes.size();
    checked_.types.assign(count, Type::boolean);
    uses_.assign(count, 0);
    depths_.assign(count, 0);
    cost.nodes = count;
    for (at_ = 0; at_ < count; ++at_)
      if (!node(kernel().nodes[at_])) return false;
    return true;
  }

  /// Takes an operand: an expression below, which has no other use. Its type, or nothing.
  std::optional<Type> take_operand(std::uint32_t operand) {
    if (operand >= at_ || is_statement(kernel().nodes[operand].what) || uses_[operand] != 0 ||
        has_no_value(kernel().nodes[operand]))
      return std::nullopt;
    uses_[operand] = 1;
    depths_[at_] = std::max(depths_[at_], depths_[operand] + 1);
    return checked_.types[operand];
  }

  bool has_no_value(const Node& n) const {
    return n.what == What::call && done_[n.at].kernel.results.empty();
  }

  bool operand_of(std::uint32_t operand, Type type) { return take_operand(operand) == type; }

  bool index(std::uint32_t operand) {
    const auto type = take_operand(operand);
    return type && is_integer(*type);
  }

  bool node(const Node& n) {
    const bool fits = node_fits(n);
    if (depths_[at_] > Limits::expressions_deep_max)
      return refuse("an expression is nested too deeply", n.line);
    return fits || refuse("node " + std::to_string(at_) + " does not fit", n.line);
  }

  bool node_fits(const Node& n) {
    Type& type = checked_.types[at_];
    const auto& tensors = checked_.tensors;
    const auto& slots = kernel().slots;
    switch (n.what) {
      case What::number:
        type = n.type;
        return true;
      case What::slot:
        if (n.at >= slots.size()) return false;
        type = slots[n.at];
        return true;
      case What::dim:
        type = Type::s64;
        return n.at < kernel().dims;
      case What::size:
        type = Type::s64;
        return n.at < tensors.size() && n.operands[0] < tensors[n.at].rank;
      case What::load:
        if (n.at >= tensors.size() || n.operands.size() != tensors[n.at].rank) return false;
        type = tensors[n.at].type;
        return indices(n.operands, 0);
      case What::as: {
        const auto from = take_operand(n.operands[0]);
        type = n.type;
        return from && *from != Type::boolean && type != Type::boolean;
      }
      case What::logical_and:
      case What::logical_or:
        type = Type::boolean;
        return operand_of(n.operands[0], type) && operand_of(n.operands[1], type);
      case What::logical_not:
        type = Type::boolean;
        return operand_of(n.operands[0], type);
      case What::select: {
        if (!operand_of(n.operands[0], Type::boolean)) return false;
        const auto a = take_operand(n.operands[1]);
        if (!a || !operand_of(n.operands[2], *a)) return false;
        type = *a;
        return true;
      }
      case What::call:
        return call(n);
      case What::set:
        return n.at < slots.size() && operand_of(n.operands[0], slots[n.at]);
      case What::store:
        return n.at < tensors.size() && tensors[n.at].writable &&
               n.operands.size() == tensors[n.at].rank + 1 &&
               operand_of(n.operands[0], tensors[n.at].type) && indices(n.operands, 1);
      case What::if_:
        return operand_of(n.operands[0], Type::boolean) && block(n.operands[1]) &&
               block(n.operands[2]);
      case What::while_:
        return block(n.operands[0]) && operand_of(n.operands[1], Type::boolean) &&
               block(n.operands[2]);
      case What::for_:
        return n.at < slots.size() && slots[n.at] == Type::s64 &&
               operand_of(n.operands[0], Type::s64) && operand_of(n.operands[1], Type::s64) &&
               operand_of(n.operands[2], Type::s64) && block(n.operands[3]);
      case What::break_:
      case What::continue_:
        return true;
      case What::return_:
        if (n.operands.size() != kernel().results.size()) return false;
        for (std::size_t i = 0; i < n.operands.size(); ++i)
          if (!operand_of(n.operands[i], kernel().results[i])) return false;
        return true;
      case What::raise:
        return std::all_of(n.operands.begin(), n.operands.end(),
                           [&](std::uint32_t e) { return take_operand(e).has_value(); });
      case What::give:
        return give(n);
      default:
        return operation(n);
    }
  }

  bool indices(const std::vector<std::uint32_t>& operands, std::size_t from) {
    return std::all_of(operands.begin() + static_cast<std::ptrdiff_t>(from), operands.end(),
                       [&](std::uint32_t e) { return index(e); });
  }

  bool operation(const Node& n) {
    const auto a = take_operand(n.operands[0]);
    if (!a || *a == Type::boolean) return false;
    if (n.operands.size() == 2 && !operand_of(n.operands[1], *a)) return false;
    Type& type = checked_.types[at_];
    type = *a;
    switch (n.what) {
      case What::add:
      case What::subtract:
      case What::multiply:
      case What::min:
      case What::max:
      case What::negate:
      case What::abs:
        return true;
      case What::divide:
      case What::pow:
      case What::atan2:
      case What::exp:
      case What::log:
      case What::sin:
      case What::cos:
      case What::tan:
      case What::asin:
      case What::acos:
      case What::atan:
      case What::sinh:
      case What::cosh:
      case What::tanh:
      case What::asinh:
      case What::acosh:
      case What::atanh:
      case What::sqrt:
      case What::floor:
      case What::ceil:
      case What::trunc:
        return is_float(*a);
      case What::is_nan:
        type = Type::boolean;
        return is_float(*a);
      case What::equal:
      case What::not_equal:
      case What::less:
      case What::less_equal:
      case What::greater:
      case What::greater_equal:
        type = Type::boolean;
        return true;
      default:
        return is_integer(*a);
    }
  }

  bool call(const Node& n) {
    if (n.at >= done_.size()) return false;
    const CheckedKernel& callee = done_[n.at];
    const auto& params = callee.kernel.params;
    if (n.arguments.size() != params.size()) return false;
    for (std::size_t i = 0; i < params.size(); ++i)
      if (!argument(params[i], n.arguments[i])) return false;
    // A tensor that the callee writes is its only name of that memory.
    for (std::size_t i = 0; i < params.size(); ++i)
      for (std::size_t j = 0; j < params.size(); ++j)
        if (i != j && params[i].mode == Mode::mut && n.arguments[j].is_tensor &&
            n.arguments[i].at == n.arguments[j].at)
          return false;
    if (!callee.kernel.results.empty()) checked_.types[at_] = callee.kernel.results.front();
    const Cost& inner = costs_[n.at];
    cost.nodes += inner.nodes;
    cost.depth = std::max(cost.depth, inner.depth + 1);
    callee_bytes_ = std::max(callee_bytes_, inner.local_bytes);
    return cost.nodes <= Limits::kernel_nodes_max;
  }

  bool argument(const Param& param, const Argument& given) {
    if (param.mode == Mode::scalar) return !given.is_tensor && operand_of(given.at, param.type);
    if (param.mode == Mode::fresh || !given.is_tensor || given.at >= checked_.tensors.size())
      return false;
    const TensorInfo& tensor = checked_.tensors[given.at];
    return tensor.type == param.type && tensor.rank == param.dims.size() + given.indices.size() &&
           (param.mode == Mode::in || tensor.writable) && indices(given.indices, 0);
  }

  bool give(const Node& n) {
    const std::uint32_t call = n.operands[0];
    if (call >= at_ || kernel().nodes[call].what != What::call || uses_[call] != 0) return false;
    uses_[call] = 1;
    depths_[at_] = depths_[call] + 1;
    const auto& results = done_[kernel().nodes[call].at].kernel.results;
    if (n.operands.size() == 1) return true;
    if (n.operands.size() != results.size() + 1) return false;
    for (std::size_t i = 0; i < results.size(); ++i) {
      const std::uint32_t slot = n.operands[i + 1];
      if (slot >= kernel().slots.size() || kernel().slots[slot] != results[i]) return false;
    }
    return true;
  }

  /// A block of a statement: it has no other statement around it.
  bool block(std::uint32_t number) {
    if (number + 1 >= kernel().blocks.size()) return false;
    block_uses_.resize(kernel().blocks.size());
    if (block_uses_[number]) return false;
    block_uses_[number] = true;
    return true;
  }

  /// Statements stand in one block, and blocks inside of a block have smaller numbers.
  bool blocks() {
    block_uses_.resize(kernel().blocks.size());
    for (std::size_t b = 0; b < kernel().blocks.size(); ++b) {
      if (b + 1 < kernel().blocks.size() && !block_uses_[b])
        return refuse("block " + std::to_string(b) + " has no statement");
      for (const std::uint32_t at : kernel().blocks[b]) {
        if (at >= kernel().nodes.size() || !is_statement(kernel().nodes[at].what) || uses_[at] != 0)
          return refuse("block " + std::to_string(b) + " has another node than a statement");
        uses_[at] = 1;
        for (const std::uint32_t inner : blocks_of(kernel().nodes[at]))
          if (inner >= b) return refuse("blocks form a cycle", kernel().nodes[at].line);
      }
    }
    return true;
  }

  static std::vector<std::uint32_t> blocks_of(const Node& n) {
    if (n.what == What::if_) return {n.operands[1], n.operands[2]};
    if (n.what == What::while_) return {n.operands[0], n.operands[2]};
    if (n.what == What::for_) return {n.operands[3]};
    return {};
  }

  bool body() {
    std::vector<bool> at_first(kernel().slots.size());
    std::fill_n(at_first.begin(), scalars_, true);
    Assigned assigned = std::move(at_first);
    if (!walk(static_cast<std::uint32_t>(kernel().blocks.size() - 1), assigned, nullptr, 0))
      return false;
    if (assigned && !kernel().results.empty())
      return refuse("a way through it ends without a result");
    return true;
  }

  /// Follows the ways through a block. `breaks` collects those that leave the loop around.
  bool walk(std::uint32_t number, Assigned& assigned, Assigned* breaks, std::uint32_t depth) {
    if (depth >= Limits::blocks_deep_max) return refuse("blocks are nested too deeply");
    for (const std::uint32_t at : kernel().blocks[number]) {
      if (!assigned) return refuse("a statement is never reached", kernel().nodes[at].line);
      if (!statement(kernel().nodes[at], assigned, breaks, depth)) return false;
    }
    return true;
  }

  bool statement(const Node& n, Assigned& assigned, Assigned* breaks, std::uint32_t depth) {
    switch (n.what) {
      case What::if_: {
        if (!reads(n.operands[0], *assigned)) return false;
        Assigned other = assigned;
        if (!walk(n.operands[1], assigned, breaks, depth + 1) ||
            !walk(n.operands[2], other, breaks, depth + 1))
          return false;
        meet(assigned, other);
        return true;
      }
      case What::while_: {
        if (!walk(n.operands[0], assigned, nullptr, depth + 1)) return false;
        if (!assigned) return refuse("the condition of a loop is never reached", n.line);
        if (!reads(n.operands[1], *assigned)) return false;
        Assigned inside = assigned;
        // Only the breaks leave a loop whose condition is the number true.
        const Node& condition = kernel().nodes[n.operands[1]];
        Assigned leaving = assigned;
        if (condition.what == What::number && condition.bits != 0) leaving = std::nullopt;
        if (!walk(n.operands[2], inside, &leaving, depth + 1)) return false;
        assigned = std::move(leaving);
        return true;
      }
      case What::for_: {
        for (std::size_t i = 0; i < 3; ++i)
          if (!reads(n.operands[i], *assigned)) return false;
        std::vector<bool> with_index = *assigned;
        with_index[n.at] = true;
        Assigned inside = std::move(with_index);
        return walk(n.operands[3], inside, &assigned, depth + 1);
      }
      case What::break_:
      case What::continue_:
        if (breaks == nullptr) return refuse("a jump stands outside of a loop", n.line);
        if (n.what == What::break_) meet(*breaks, assigned);
        assigned = std::nullopt;
        return true;
      case What::give:
        if (!reads(n.operands[0], *assigned)) return false;
        for (std::size_t i = 1; i < n.operands.size(); ++i) (*assigned)[n.operands[i]] = true;
        return true;
      default:
        for (const std::uint32_t operand : n.operands)
          if (!reads(operand, *assigned)) return false;
        if (n.what == What::set) (*assigned)[n.at] = true;
        if (n.what == What::return_ || n.what == What::raise) assigned = std::nullopt;
        return true;
    }
  }

  /// Checks that all variables of an expression are assigned.
  bool reads(std::uint32_t expression, const std::vector<bool>& assigned) {
    std::vector<std::uint32_t> waiting{expression};
    while (!waiting.empty()) {
      const Node& n = kernel().nodes[waiting.back()];
      waiting.pop_back();
      if (n.what == What::slot && !assigned[n.at])
        return refuse("variable " + std::to_string(n.at) + " is not assigned on every way", n.line);
      if (n.what == What::size) continue;
      waiting.insert(waiting.end(), n.operands.begin(), n.operands.end());
      for (const Argument& argument : n.arguments) {
        if (!argument.is_tensor) waiting.push_back(argument.at);
        waiting.insert(waiting.end(), argument.indices.begin(), argument.indices.end());
      }
    }
    return true;
  }

  bool all_used() {
    for (std::size_t at = 0; at < uses_.size(); ++at)
      if (uses_[at] == 0)
        return refuse("node " + std::to_string(at) + " has no use", kernel().nodes[at].line);
    return true;
  }

  bool limits() {
    if (cost.depth > Limits::calls_deep_max) return refuse("calls are nested too deeply");
    cost.local_bytes += callee_bytes_;
    if (cost.local_bytes > Limits::all_local_bytes_max)
      return refuse("its local arrays, with those of its callees, are too large");
    return true;
  }

  const std::vector<std::string>& files_;
  const std::vector<CheckedKernel>& done_;
  const std::vector<Cost>& costs_;
  CheckedKernel checked_;
  std::size_t at_ = 0;
  std::size_t scalars_ = 0;
  std::int64_t callee_bytes_ = 0;
  std::vector<std::uint8_t> uses_;
  std::vector<std::uint32_t> depths_;
  std::vector<bool> block_uses_;
};

}  // namespace

tl::expected<CheckedUnit, Refusal> check(Unit unit) {
  CheckedUnit checked;
  if (unit.kernels.empty() || unit.kernels.size() > Limits::kernels_max)
    return tl::make_unexpected(Refusal{.text = "a unit has from 1 to 256 kernels"});
  const std::size_t nodes =
      std::accumulate(unit.kernels.begin(), unit.kernels.end(), std::size_t{0},
                      [](std::size_t sum, const Kernel& k) { return sum + k.nodes.size(); });
  if (nodes > Limits::unit_nodes_max)
    return tl::make_unexpected(Refusal{.text = "the unit has too many nodes"});
  checked.files = std::move(unit.files);
  std::vector<Cost> costs;
  for (Kernel& kernel : unit.kernels) {
    Checker checker(std::move(kernel), checked.files, checked.kernels, costs);
    if (!checker.run()) return tl::make_unexpected(std::move(checker.refusal));
    costs.push_back(checker.cost);
    checked.kernels.push_back(checker.take());
  }
  return checked;
}

}  // namespace outrigger::kernel
