#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "engine/planner/form.hpp"
#include "engine/planner/kernel_call.hpp"
#include "engine/planner/plan.hpp"

namespace outrigger::engine {
namespace {

using ops::InferCall;
using ops::InferOperand;
using ops::Inferred;
using ops::Kind;
using ops::OpRow;

class Resolver {
 public:
  Resolver(Memory& memory, Plan& plan, PlanningSteps& steps)
      : memory_(memory), plan_(plan), steps_(steps) {}

  Result<Block> program(const Program& program, const ArgumentTypes& arguments,
                        std::span<const NumberArgument> numbers) {
    if (program.params.size() != arguments.size()) {
      return fail(ErrorCode::bad_program,
                  "the program has " + std::to_string(program.params.size()) + " parameters, but " +
                      std::to_string(arguments.size()) + " arguments were given");
    }
    Block block;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const Slot slot = new_slot(arguments[i]);
      block.params.push_back(slot);
      OUTRIGGER_CHECK(scope_.define(program.params[i], slot));
    }
    for (const NumberArgument& number : numbers) {
      number_arguments_.emplace(block.params[number.first], plan_.numbers.size());
      plan_.numbers.emplace_back(number.first, class_of(number.second));
      numbers_given_.push_back(&number.second);
    }
    arguments_ = arguments.size();
    plan_.written.assign(arguments.size(), false);
    OUTRIGGER_CHECK(body(program, {}, block));
    const std::unordered_set<Slot> viewed = viewed_in(block);
    for (const Slot slot : block.outputs) {
      plan_.results.push_back(plan_.types[slot]);
      plan_.result_aliases.push_back(aliases_.contains(slot) || viewed.contains(slot));
    }
    return make_constants(block);
  }

 private:
  /// Values of the program, not arguments, that are seen through a mutable view which is a result.
  /// If they are results too, the two results keep one memory.
  std::unordered_set<Slot> viewed_in(const Block& block) const {
    std::unordered_set<Slot> viewed;
    for (const Slot slot : block.outputs) {
      const Slot base = base_of(slot);
      if (base != slot && base >= arguments_) viewed.insert(base);
    }
    return viewed;
  }

  /// The value that a mutable view shows, through other mutable views.
  Slot base_of(Slot slot) const {
    for (auto base = aliases_.find(slot); base != aliases_.end(); base = aliases_.find(slot))
      slot = base->second;
    return slot;
  }

  Slot new_slot(const TensorType& type) { return plan_.types.add(type); }

  /// Instructions and outputs; ids that are defined inside are forgotten at the end.
  Result<void> body(const Region& region, const Path& path, Block& block) {
    const std::size_t outside = scope_.size();
    if (block.nodes.empty()) block.nodes.reserve(region.body.size());
    OUTRIGGER_CHECK(
        for_each_instruction(region, path, [&](const Instruction& instruction, const Path& here) {
          steps_.step();
          return this->instruction(instruction, here, block);
        }));
    for (const ValueId id : region.outputs) {
      steps_.step();
      OUTRIGGER_TRY(const Slot slot, scope_.find(id));
      const auto number = number_arguments_.find(slot);
      block.outputs.push_back(number == number_arguments_.end()
                                  ? slot
                                  : number_value(number->second, plan_.types[slot].dtype));
    }
    scope_.leave(outside);
    return {};
  }

  Result<void> instruction(const Instruction& instruction, const Path& path, Block& block) {
    OUTRIGGER_TRY(const OpRow* row, check_instruction(instruction));
    Node node;
    node.row = row;
    node.attrs = &instruction.attrs;
    node.path = path;
    node.in_place = instruction.in_place;
    if (row->name == "kernel") return kernel(instruction, std::move(node), block);
    if (row->kind == Kind::control) return control(instruction, std::move(node), block);

    InferOperands operands;
    OUTRIGGER_CHECK(operand_slots(instruction, operands, node.in));
    OUTRIGGER_TRY(node.inferred,
                  ops::infer(*row, InferCall{std::span(operands.data(), operands.size()),
                                             ops::AttrView(instruction.attrs)}));
    materialize_literals(operands, node);
    if (row->kind == Kind::view && node.in_place &&
        node.inferred.operands[0] != plan_.types[node.in[0]].dtype) {
      return fail(ErrorCode::bad_dtype, "a mutable view cannot be another dtype than " +
                                            to_string(plan_.types[node.in[0]]));
    }
    if (row->kind != Kind::elementwise) add_casts(node, block);
    if (row->kind == Kind::fold) OUTRIGGER_CHECK(fold(instruction, node));
    if (node.in_place) {
      OUTRIGGER_CHECK(in_place(instruction, node));
    } else {
      OUTRIGGER_CHECK(results(instruction, node));
    }
    if (row->kind == Kind::constant) constant_operand(instruction, node);
    if (row->kind == Kind::elementwise) {
      block.nodes.push_back(std::move(node));
    } else {
      add_with_raw_results(std::move(node), block);
    }
    return {};
  }

  using InferOperands = boost::container::small_vector<InferOperand, 4>;

  /// Slots of operands. A literal gets its slot later, when its dtype is known. An argument that is
  /// a number is a literal too: its slot names the argument.
  Result<void> operand_slots(const Instruction& instruction, InferOperands& operands,
                             Slots& slots) {
    for (const Operand& operand : instruction.in) {
      steps_.step();
      if (const auto* number = std::get_if<Number>(&operand)) {
        operands.push_back(InferOperand{TensorType{infer_dtype(*number), {}}, number});
        slots.push_back(0);
        continue;
      }
      OUTRIGGER_TRY(const Slot slot, scope_.find(std::get<ValueId>(operand)));
      const auto number = number_arguments_.find(slot);
      const bool literal = number != number_arguments_.end();
      operands.push_back(
          InferOperand{plan_.types[slot], literal ? numbers_given_[number->second] : nullptr});
      slots.push_back(slot);
    }
    return {};
  }

  void materialize_literals(const InferOperands& operands, Node& node) {
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].literal == nullptr) continue;
      // A cast to u8 would make 0.5 false: it keeps its own dtype.
      const bool boolean = (node.row->boolean_operands >> i & 1) != 0;
      const DType dtype = boolean ? operands[i].type.dtype : node.inferred.operands[i];
      node.in[i] = literal(operands[i], node.in[i], dtype);
    }
  }

  /// The slot of a literal operand in a dtype. `given` is the slot of the argument, if it is one.
  Slot literal(const InferOperand& operand, Slot given, DType dtype) {
    const auto number = number_arguments_.find(given);
    const bool argument =
        number != number_arguments_.end() && numbers_given_[number->second] == operand.literal;
    return argument ? number_value(number->second, dtype) : constant(*operand.literal, dtype);
  }

  void constant_operand(const Instruction& instruction, Node& node) {
    const ops::AttrView attrs(instruction.attrs);
    node.in.push_back(constant(attrs.number("value"), node.inferred.results[0].dtype));
  }

  /// A scalar that the plan holds for all its runs.
  Slot constant(const Number& number, DType dtype) {
    const Slot slot = new_slot(TensorType{dtype, {}});
    plan_.constants.emplace_back(slot, static_cast<std::uint32_t>(constants_.size()));
    store_number(number, dtype, &constants_.emplace_back());
    return slot;
  }

  /// A scalar that each run makes of an argument that is a number. All its uses share one slot.
  Slot number_value(std::size_t number, DType dtype) {
    const auto [known, added] = number_values_.try_emplace({number, dtype}, 0);
    if (!added) return known->second;
    known->second = new_slot(TensorType{dtype, {}});
    plan_.number_values.emplace_back(known->second, static_cast<std::uint32_t>(number));
    return known->second;
  }

  /// Puts the constants into one buffer.
  Result<Block> make_constants(Block& block) {
    if (!constants_.empty()) {
      const auto count = static_cast<std::int64_t>(constants_.size());
      OUTRIGGER_TRY(const Tensor all, allocate_tensor(memory_, TensorType{DType::c128, {count}}));
      std::memcpy(all.data(), constants_.data(), constants_.size() * scalar_bytes);
      plan_.constant_values = all.storage;
    }
    return std::move(block);
  }

  /// Brings operands to the dtypes that inference asked for. Elementwise ops cast in their pass.
  void add_casts(Node& node, Block& block) {
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      node.in[i] = cast(node, node.in[i], node.inferred.operands[i], block);
    }
  }

  /// The value of a slot in a dtype: the slot itself, or the result of a cast, which is added to
  /// the block.
  Slot cast(const Node& of, Slot from, DType wanted, Block& block) {
    const TensorType type = plan_.types[from];
    if (type.dtype == wanted) return from;
    Node cast = make_cast(of, from, TensorType{wanted, type.shape});
    const Slot slot = new_slot(cast.inferred.results[0]);
    cast.out = {slot};
    block.nodes.push_back(std::move(cast));
    return slot;
  }

  static Node make_cast(const Node& of, Slot from, const TensorType& to) {
    Node cast;
    cast.row = ops::find_op("as_type");
    cast.path = of.path;
    cast.in = {from};
    cast.inferred.compute = to.dtype;
    cast.inferred.operands = {to.dtype};
    cast.inferred.results.push_back(to);
    cast.inferred.raw = {to.dtype};
    return cast;
  }

  /// Adds the node, and casts of the results that its kernel gives in another dtype than inference
  /// says. The in-place form then writes a temporary, and the cast of the temporary writes the
  /// operand.
  void add_with_raw_results(Node node, Block& block) {
    std::vector<Node> casts;
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      TensorType raw = plan_.types[node.out[i]];
      if (node.inferred.raw[i] == raw.dtype) continue;
      raw.dtype = node.inferred.raw[i];
      const Slot slot = new_slot(raw);
      Node cast = make_cast(node, slot, plan_.types[node.out[i]]);
      cast.out = {node.out[i]};
      cast.in_place = node.in_place;
      node.in_place = false;
      node.out[i] = slot;
      casts.push_back(std::move(cast));
    }
    block.nodes.push_back(std::move(node));
    for (Node& cast : casts) block.nodes.push_back(std::move(cast));
  }

  Result<void> results(const Instruction& instruction, Node& node) {
    for (std::size_t i = 0; i < instruction.out.size(); ++i) {
      const Slot slot = new_slot(node.inferred.results[i]);
      node.out.push_back(slot);
      OUTRIGGER_CHECK(scope_.define(instruction.out[i], slot));
    }
    return {};
  }

  Result<void> in_place(const Instruction& instruction, Node& node) {
    const auto position = static_cast<std::size_t>(node.row->in_place);
    if (std::holds_alternative<Number>(instruction.in[position])) {
      return fail(ErrorCode::bad_program, "a number cannot be written in place");
    }
    OUTRIGGER_TRY(const Slot target, scope_.find(std::get<ValueId>(instruction.in[position])));
    if (numbers_.contains(target) || number_arguments_.contains(target)) {
      return fail(ErrorCode::bad_program,
                  "the parameter is a number here, which cannot be written");
    }
    mark_written(target);
    if (node.row->kind == Kind::view) {
      OUTRIGGER_CHECK(results(instruction, node));
      aliases_.emplace(node.out[0], target);
      return {};
    }
    const TensorType& type = plan_.types[target];
    const TensorType& result = node.inferred.results[0];
    if (type != result) {
      return fail(type.dtype != result.dtype ? ErrorCode::bad_dtype : ErrorCode::bad_shape,
                  "cannot be done in place: the operand is " + to_string(type) +
                      ", but the result is " + to_string(result));
    }
    node.out.push_back(target);
    return scope_.define(instruction.out[0], target);
  }

  /// A write to a mutable view writes the value that the view shows.
  void mark_written(Slot slot) {
    const Slot base = base_of(slot);
    if (base < plan_.written.size()) plan_.written[base] = true;
  }

  Result<void> control(const Instruction& instruction, Node node, Block& block) {
    InferOperands operands;
    OUTRIGGER_CHECK(operand_slots(instruction, operands, node.in));
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].literal == nullptr) continue;
      node.in[i] = literal(operands[i], node.in[i], operands[i].type.dtype);
      numbers_.insert(node.in[i]);
    }
    if (node.row->name == "call") return call(instruction, node, block);
    if (node.row->name == "while") {
      OUTRIGGER_CHECK(loop(instruction, node));
    } else {
      OUTRIGGER_CHECK(branch(instruction, node));
    }
    OUTRIGGER_CHECK(check_results(node.inferred.results.size(), instruction));
    OUTRIGGER_CHECK(results(instruction, node));
    block.nodes.push_back(std::move(node));
    return {};
  }

  Result<void> kernel(const Instruction& instruction, Node node, Block& block) {
    OUTRIGGER_CHECK(check_kernel(instruction));
    const kernel::Machine& machine = *instruction.machine;
    InferOperands operands;
    OUTRIGGER_CHECK(operand_slots(instruction, operands, node.in));
    OUTRIGGER_TRY(KernelCall call,
                  infer_kernel(machine, std::span(operands.data(), operands.size()), node.path));
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].literal != nullptr)
        node.in[i] = literal(operands[i], node.in[i], call.operands[i]);
    }
    node.kernel = {&machine, call.memory};
    const std::vector<std::uint32_t> written = written_operands(machine.head());
    if (!node.in_place) {
      for (const std::uint32_t position : written)
        call.results.push_back(plan_.types[node.in[position]]);
    }
    for (std::size_t i = 0; i < call.results.size(); ++i) {
      node.out.push_back(new_slot(call.results[i]));
      OUTRIGGER_CHECK(scope_.define(instruction.out[i], node.out.back()));
    }
    if (node.in_place) {
      for (const std::uint32_t position : written) {
        mark_written(node.in[position]);
        node.out.push_back(node.in[position]);
      }
    }
    block.nodes.push_back(std::move(node));
    return {};
  }

  /// Adds the instructions of the called program in the place of the call, with the operands as its
  /// parameters. The called program sees no other value of this one.
  Result<void> call(const Instruction& instruction, const Node& node, Block& block) {
    OUTRIGGER_CHECK(check_call(instruction));
    const Program& callee = *instruction.callee;
    Scope<Slot> outside;
    std::swap(scope_, outside);
    const auto own = static_cast<Slot>(plan_.types.size());
    for (std::size_t i = 0; i < node.in.size(); ++i)
      OUTRIGGER_CHECK(scope_.define(callee.params[i], node.in[i]));
    Path inner = node.path;
    inner.push_back(0);
    Slots outputs;
    std::swap(block.outputs, outputs);
    OUTRIGGER_CHECK(body(callee, inner, block));
    std::swap(block.outputs, outputs);
    std::swap(scope_, outside);
    std::unordered_set<Slot> given;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      // A parameter, or a value that is another output already, becomes another value: a write in
      // place to one of the two must not show in the other.
      const bool fresh = outputs[i] >= own && given.insert(outputs[i]).second;
      OUTRIGGER_CHECK(
          scope_.define(instruction.out[i], fresh ? outputs[i] : copy(node, outputs[i], block)));
    }
    return {};
  }

  /// Another value with the same elements: a view, which becomes a copy when one of the two values
  /// is written.
  Slot copy(const Node& of, Slot from, Block& block) {
    static const OpRow row = [] {
      OpRow made = *ops::find_op("reshape");
      made.name = "call";
      return made;
    }();
    Node view;
    view.row = &row;
    view.path = of.path;
    view.in = {from};
    view.inferred.operands = {plan_.types[from].dtype};
    view.inferred.results.push_back(plan_.types[from]);
    view.inferred.raw = {plan_.types[from].dtype};
    view.out = {new_slot(plan_.types[from])};
    block.nodes.push_back(view);
    return view.out[0];
  }

  /// Resolves a nested region whose parameters are the given slots.
  Result<Block> region(const Instruction& instruction, std::size_t index, const Slots& params,
                       const Path& path) {
    const Region& region = instruction.regions[index];
    if (region.params.size() != params.size()) {
      return fail(ErrorCode::bad_program, "region " + std::to_string(index) + " must have " +
                                              std::to_string(params.size()) + " parameters, has " +
                                              std::to_string(region.params.size()));
    }
    const std::size_t outside = scope_.size();
    Block block;
    block.params = params;
    for (std::size_t i = 0; i < params.size(); ++i)
      OUTRIGGER_CHECK(scope_.define(region.params[i], params[i]));
    Path inner = path;
    inner.push_back(static_cast<std::uint32_t>(index));
    OUTRIGGER_CHECK(body(region, inner, block));
    scope_.leave(outside);
    return block;
  }

  std::string output_types(const Block& block) const {
    std::string text;
    for (const Slot slot : block.outputs)
      text += (text.empty() ? "" : ", ") + to_string(plan_.types[slot]);
    return "(" + text + ")";
  }

  /// The first difference of two lists of values: their number, a dtype or a shape.
  std::optional<ErrorCode> mismatch(const Slots& a, const Slots& b) const {
    if (a.size() != b.size()) return ErrorCode::bad_program;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (plan_.types[a[i]].dtype != plan_.types[b[i]].dtype) return ErrorCode::bad_dtype;
      if (plan_.types[a[i]].shape != plan_.types[b[i]].shape) return ErrorCode::bad_shape;
    }
    return std::nullopt;
  }

  /// The region of reduce, window_reduce or map: it makes one scalar of scalars of the operands'
  /// dtypes.
  Result<void> fold(const Instruction& instruction, Node& node) {
    Slots params;
    for (const DType dtype : node.inferred.operands) params.push_back(new_slot({dtype, {}}));
    OUTRIGGER_TRY(Block body, region(instruction, 0, params, node.path));
    if (body.outputs.size() != 1 || !plan_.types[body.outputs[0]].shape.empty()) {
      return fail(body.outputs.size() != 1 ? ErrorCode::bad_program : ErrorCode::bad_shape,
                  "the region must give one scalar, gives " + output_types(body));
    }
    body.outputs[0] = cast(node, body.outputs[0], node.inferred.results[0].dtype, body);
    node.regions.push_back(std::move(body));
    return {};
  }

  Result<void> loop(const Instruction& instruction, Node& node) {
    // Both regions see the carried values in the same slots.
    Slots carried;
    for (const Slot slot : node.in) carried.push_back(new_slot(plan_.types[slot]));
    OUTRIGGER_TRY(Block condition, region(instruction, 0, carried, node.path));
    if (condition.outputs.size() != 1 || !plan_.types[condition.outputs[0]].shape.empty()) {
      return fail(condition.outputs.size() != 1 ? ErrorCode::bad_program : ErrorCode::bad_shape,
                  "the condition must give one scalar, gives " + output_types(condition));
    }
    OUTRIGGER_TRY(Block body, region(instruction, 1, carried, node.path));
    Block initial;
    initial.outputs = carried;
    if (const auto code = mismatch(body.outputs, carried)) {
      return fail(*code, "the body must give the types that it takes, " + output_types(initial) +
                             ", but gives " + output_types(body));
    }
    for (const Slot slot : carried) node.inferred.results.push_back(plan_.types[slot]);
    node.regions.push_back(std::move(condition));
    node.regions.push_back(std::move(body));
    return {};
  }

  Result<void> branch(const Instruction& instruction, Node& node) {
    if (!plan_.types[node.in[0]].shape.empty()) {
      return fail(ErrorCode::bad_shape,
                  "the predicate must be a scalar, got " + to_string(plan_.types[node.in[0]]));
    }
    OUTRIGGER_TRY(Block on_true, region(instruction, 0, {}, node.path));
    OUTRIGGER_TRY(Block on_false, region(instruction, 1, {}, node.path));
    if (const auto code = mismatch(on_true.outputs, on_false.outputs)) {
      return fail(*code, "both regions must give the same types: " + output_types(on_true) +
                             " and " + output_types(on_false));
    }
    for (const Slot slot : on_true.outputs) node.inferred.results.push_back(plan_.types[slot]);
    node.regions.push_back(std::move(on_true));
    node.regions.push_back(std::move(on_false));
    return {};
  }

  Memory& memory_;
  Plan& plan_;
  PlanningSteps& steps_;
  std::size_t arguments_ = 0;
  std::vector<Bits128> constants_;
  /// Slots of the arguments that are numbers, with their positions among the numbers. Such a slot
  /// has only the type of a literal.
  std::unordered_map<Slot, std::size_t> number_arguments_;
  std::vector<const Number*> numbers_given_;
  /// By position of the number.
  std::map<std::pair<std::size_t, DType>, Slot> number_values_;
  Scope<Slot> scope_;
  /// Mutable views, each with the slot that it shows.
  std::unordered_map<Slot, Slot> aliases_;
  /// Literals that are parameters of a called program: all runs of the plan share them.
  std::unordered_set<Slot> numbers_;
};

}  // namespace

Result<Block> resolve(Memory& memory, const Program& program, const ArgumentTypes& arguments,
                      std::span<const NumberArgument> numbers, Plan& plan, PlanningSteps& steps) {
  return Resolver(memory, plan, steps).program(program, arguments, numbers);
}

}  // namespace outrigger::engine
