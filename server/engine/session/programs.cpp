#include "engine/session/programs.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "engine/planner/form.hpp"

namespace outrigger::engine {
namespace {

/// A plan of fewer bytes (some hundred instructions) does not count while it is in use.
constexpr std::uint64_t uncounted_bytes = std::uint64_t{1} << 20;

bool fits(const Plan& plan, const CallTypes& types) {
  if (plan.argument_count() != types.arguments.size() || !fits_numbers(plan, types.numbers))
    return false;
  for (std::size_t i = 0; i < types.arguments.size(); ++i) {
    if (types.arguments[i] != plan.argument(i)) return false;
  }
  return true;
}

}  // namespace

/// Goes through a program once. The sums stay far below 2^64, because a frame bounds the bytes of
/// each instruction.
class Programs::Linker {
 public:
  explicit Linker(Programs& programs) : programs_(programs) {}

  Result<Extent> program(Region& region) {
    OUTRIGGER_CHECK(this->region(region, 0));
    if (calls_) OUTRIGGER_CHECK(check());
    return extent_;
  }

 private:
  Result<void> region(Region& region, std::uint64_t nesting) {
    extent_.nesting = std::max(extent_.nesting, nesting);
    extent_.operands += region.params.size() + region.outputs.size();
    add(sizeof(Region) + (region.params.size() + region.outputs.size()) * sizeof(ValueId));
    for (Instruction& instruction : region.body) {
      extent_.instructions += 1;
      extent_.operands += instruction.in.size() + instruction.out.size();
      add(held_bytes(instruction));
      if (instruction.op == "call") OUTRIGGER_CHECK(call(instruction, nesting));
      if (instruction.op == "kernel") OUTRIGGER_CHECK(kernel(instruction));
      for (Region& inner : instruction.regions) OUTRIGGER_CHECK(this->region(inner, nesting + 1));
    }
    return {};
  }

  void add(std::uint64_t bytes) {
    extent_.bytes += bytes;
    extent_.own += bytes;
  }

  Result<void> call(Instruction& instruction, std::uint64_t nesting) {
    const auto id = named(instruction, "program_id");
    const Prepared* prepared = id ? programs_.use(*id) : nullptr;
    if (prepared == nullptr) return {};
    instruction.callee = prepared->program;
    extent_.instructions += prepared->extent.instructions;
    extent_.operands += prepared->extent.operands;
    extent_.bytes += prepared->extent.bytes;
    extent_.nesting = std::max(extent_.nesting, nesting + 1 + prepared->extent.nesting);
    calls_ = true;
    return check();
  }

  Result<void> kernel(Instruction& instruction) {
    const auto id = named(instruction, "kernel_id");
    if (!id) return {};
    OUTRIGGER_TRY(instruction.machine, programs_.kernels_.use(*id));
    if (instruction.machine == nullptr) return {};
    // The planner looks at each call inside of the kernel.
    extent_.instructions += instruction.machine->calls();
    return check();
  }

  Result<void> check() const {
    const auto most = [](std::uint64_t value, std::uint64_t limit,
                         std::string_view what) -> Result<void> {
      if (value <= limit) return {};
      return fail(ErrorCode::limit_exceeded,
                  "with the programs that it calls, the program has more than " +
                      std::to_string(limit) + " " + std::string(what));
    };
    OUTRIGGER_CHECK(most(extent_.instructions, programs_.limits_.instructions_max, "instructions"));
    OUTRIGGER_CHECK(most(extent_.bytes, Limits::program_data_max, "bytes"));
    return most(extent_.nesting, Limits::nesting_max, "regions and calls inside each other");
  }

  /// The id in an attribute of an instruction; nothing if it is none.
  static std::optional<std::uint64_t> named(const Instruction& instruction,
                                            std::string_view attribute) {
    for (const auto& [name, value] : instruction.attrs) {
      const auto* number = name == attribute ? std::get_if<Number>(&value) : nullptr;
      const auto* id = number == nullptr ? nullptr : std::get_if<std::int64_t>(number);
      if (id != nullptr && *id > 0) return static_cast<std::uint64_t>(*id);
    }
    return std::nullopt;
  }

  Programs& programs_;
  Extent extent_;
  bool calls_ = false;
};

Result<Extent> Programs::link(Program& program) { return Linker(*this).program(program); }

void Programs::Planned::evict() noexcept {
  of.plans.remove_if([this](const Planned& planned) { return &planned == this; });
}

Result<void> Programs::check_new(std::uint64_t id, Program& program, Extent& extent) {
  const bool replaces = index_.contains(id) || index_.size() >= limits_.programs_max;
  if (counted_ != nullptr && !replaces) OUTRIGGER_CHECK(counted_->check());
  OUTRIGGER_TRY(extent, link(program));
  OUTRIGGER_CHECK(check_program(program));
  const Kept& kept = memory_.kept();
  if (kept.could_hold(extent.own)) return {};
  return fail(ErrorCode::limit_exceeded,
              "the program takes " + format_bytes(extent.own) + ", but the daemon keeps only " +
                  format_bytes(kept.limit()) +
                  " of programs and plans: make it smaller, or raise the memory limit");
}

Result<void> Programs::prepare(std::uint64_t id, const wire::SharedProgram& program) {
  Extent extent;
  if (auto checked = check_new(id, *program, extent); !checked) {
    refuse(id, checked.error());
    return checked;
  }
  Kept& kept = memory_.kept();
  kept.make_room(extent.own);
  struct Held {
    std::shared_ptr<const Program> program;
    Kept::Charge charge;
  };
  const auto held =
      std::make_shared<const Held>(Held{program.pointer(), Kept::Charge(kept, extent.own)});
  // The steps that can fail come before the first change.
  std::list<Prepared> made;
  made.emplace_front(*this, id);
  made.front().program = std::shared_ptr<const Program>(held, held->program.get());
  made.front().extent = extent;
  decltype(index_) place;
  place.emplace(id, made.begin());
  index_.reserve(index_.size() + 1);
  forget(id);
  if (index_.size() >= limits_.programs_max) forget(by_use_.back().id);
  index_.merge(place);
  if (counted_ != nullptr) counted_->add();
  by_use_.splice(by_use_.begin(), made);
  kept.use(by_use_.front());
  return {};
}

/// A refused program replaces no program, and takes no other one's place.
void Programs::refuse(std::uint64_t id, const Error& error) {
  refusals_.emplace_front(id, error);
  if (refusals_.size() > refusals_max) refusals_.pop_back();
}

void Programs::forget(std::uint64_t id) {
  refusals_.remove_if([&](const auto& refusal) { return refusal.first == id; });
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  Prepared& prepared = *found->second;
  while (!prepared.plans.empty()) drop_last_plan(prepared);
  memory_.kept().remove(prepared);
  const auto place = found->second;
  index_.erase(found);
  by_use_.erase(place);
  if (counted_ != nullptr) counted_->remove();
}

void Programs::drop_last_plan(Prepared& prepared) {
  memory_.kept().remove(prepared.plans.back());
  prepared.plans.pop_back();
}

Programs::Prepared* Programs::use(std::uint64_t id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  memory_.kept().use(*found->second);
  return &*found->second;
}

const Extent* Programs::extent(std::uint64_t id) const {
  const auto found = index_.find(id);
  return found == index_.end() ? nullptr : &found->second->extent;
}

void Programs::clear() {
  while (!by_use_.empty()) forget(by_use_.back().id);
  refusals_.clear();
}

Result<Programs::Prepared*> Programs::find(std::uint64_t id) {
  if (Prepared* prepared = use(id)) return prepared;
  for (const auto& [refused, error] : refusals_) {
    if (refused == id) return tl::make_unexpected(error);
  }
  return fail(ErrorCode::unknown_program,
              "there is no prepared program " + std::to_string(id) + ": prepare it (again)");
}

void Programs::use(Prepared& prepared, std::list<Planned>::iterator planned) {
  memory_.kept().use(*planned);
  prepared.plans.splice(prepared.plans.begin(), prepared.plans, planned);
}

Result<std::shared_ptr<const Plan>> Programs::plan(std::uint64_t id, const CallTypes& types,
                                                   const ops::Interrupt* interrupt) {
  OUTRIGGER_TRY(auto known, known_plan(id, [&](const Plan& plan) { return fits(plan, types); }));
  if (known) return known;
  OUTRIGGER_TRY(Prepared * prepared, find(id));
  OUTRIGGER_TRY(std::shared_ptr<Plan> made,
                make(prepared->program, prepared->extent, types, interrupt));
  Kept& kept = memory_.kept();
  const std::uint64_t bytes = held_bytes(*made);
  // The room for the plan must not come from the program itself.
  kept.remove(*prepared);
  const bool room = kept.make_room(bytes);
  kept.use(*prepared);
  if (!room) {
    OUTRIGGER_CHECK(count_as_used(*made));
    return made;
  }
  made->kept = Kept::Charge(kept, bytes);
  if (prepared->plans.size() >= limits_.plans_per_program_max) drop_last_plan(*prepared);
  prepared->plans.emplace_front(*prepared, made);
  kept.use(prepared->plans.front());
  return made;
}

Result<std::shared_ptr<const Plan>> Programs::plan_once(std::shared_ptr<const Program> program,
                                                        const Extent& extent,
                                                        const CallTypes& types,
                                                        const ops::Interrupt* interrupt) {
  OUTRIGGER_TRY(std::shared_ptr<Plan> made, make(std::move(program), extent, types, interrupt));
  OUTRIGGER_CHECK(count_as_used(*made));
  return made;
}

/// A plan that is not kept counts as memory of the run.
Result<void> Programs::count_as_used(Plan& plan) {
  const std::uint64_t bytes = held_bytes(plan);
  if (bytes < uncounted_bytes) return {};
  OUTRIGGER_TRY(plan.used, MemoryCharge::make(memory_, bytes));
  return {};
}

Result<std::shared_ptr<Plan>> Programs::make(std::shared_ptr<const Program> program,
                                             const Extent& extent, const CallTypes& types,
                                             const ops::Interrupt* interrupt) {
  const std::uint64_t bytes = planning_bytes(extent.instructions, extent.operands);
  MemoryCharge charge;
  if (bytes >= uncounted_bytes) {
    auto counted = MemoryCharge::make(memory_, bytes);
    if (!counted) {
      return fail(ErrorCode::out_of_memory,
                  "planning the program of " + std::to_string(extent.instructions) +
                      " instructions would exceed the memory limit: " + counted.error().text);
    }
    charge = std::move(*counted);
  }
  return make_plan(memory_, std::move(program), types.arguments,
                   {.threads = threads_, .interrupt = interrupt, .numbers = types.numbers});
}

}  // namespace outrigger::engine
