#include "engine/session/programs.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <variant>

namespace outrigger::engine {

/// Goes through a program once. Sums stay far below 2^64: a frame bounds what each instruction
/// adds.
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
    extent_.bytes +=
        sizeof(Region) + (region.params.size() + region.outputs.size()) * sizeof(ValueId);
    for (Instruction& instruction : region.body) {
      extent_.instructions += 1;
      extent_.bytes += bytes_of(instruction);
      if (instruction.op == "call") OUTRIGGER_CHECK(call(instruction, nesting));
      for (Region& inner : instruction.regions) OUTRIGGER_CHECK(this->region(inner, nesting + 1));
    }
    return {};
  }

  static std::uint64_t bytes_of(const Instruction& instruction) {
    std::uint64_t bytes = sizeof(Instruction) + instruction.in.size() * sizeof(Operand) +
                          instruction.out.size() * sizeof(ValueId);
    for (const auto& [name, value] : instruction.attrs) {
      bytes += sizeof(Attrs::value_type);
      if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
      if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value))
        bytes += list->size() * 8;
      if (const auto* data = std::get_if<Bytes>(&value)) bytes += data->size();
    }
    return bytes;
  }

  Result<void> call(Instruction& instruction, std::uint64_t nesting) {
    const Prepared* prepared = named(instruction);
    if (prepared == nullptr) return {};
    instruction.callee = prepared->program;
    extent_.instructions += prepared->extent.instructions;
    extent_.bytes += prepared->extent.bytes;
    extent_.nesting = std::max(extent_.nesting, nesting + 1 + prepared->extent.nesting);
    calls_ = true;
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

  /// The program that a `call` names, if its attribute is one at all and there is such a program.
  Prepared* named(const Instruction& instruction) {
    for (const auto& [name, value] : instruction.attrs) {
      const auto* number = name == "program_id" ? std::get_if<Number>(&value) : nullptr;
      const auto* id = number == nullptr ? nullptr : std::get_if<std::int64_t>(number);
      if (id != nullptr && *id > 0) return programs_.use(static_cast<std::uint64_t>(*id));
    }
    return nullptr;
  }

  Programs& programs_;
  Extent extent_;
  bool calls_ = false;
};

Result<Extent> Programs::link(Program& program) { return Linker(*this).program(program); }

Result<void> Programs::check_new(std::uint64_t id, Program& program, Extent& extent) {
  OUTRIGGER_TRY(extent, link(program));
  OUTRIGGER_CHECK(check_program(program));
  const auto same = index_.find(id);
  const std::uint64_t others = bytes_ - (same == index_.end() ? 0 : same->second->extent.bytes);
  if (others + extent.bytes <= Limits::programs_bytes_max) return {};
  return fail(ErrorCode::limit_exceeded, "the prepared programs would take more than " +
                                             std::to_string(Limits::programs_bytes_max) + " bytes");
}

Result<void> Programs::prepare(std::uint64_t id, Program program) {
  Extent extent;
  if (auto checked = check_new(id, program, extent); !checked) {
    refuse(id, checked.error());
    return checked;
  }
  forget(id);
  if (index_.size() >= limits_.programs_max) forget(by_use_.back().id);
  by_use_.push_front(Prepared{id, std::make_shared<const Program>(std::move(program)), extent, {}});
  index_.emplace(id, by_use_.begin());
  bytes_ += extent.bytes;
  return {};
}

/// A refused program replaces nothing, and takes no other one's place.
void Programs::refuse(std::uint64_t id, const Error& error) {
  refusals_.emplace_front(id, error);
  if (refusals_.size() > refusals_max) refusals_.pop_back();
}

void Programs::forget(std::uint64_t id) {
  refusals_.remove_if([&](const auto& refusal) { return refusal.first == id; });
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  bytes_ -= found->second->extent.bytes;
  by_use_.erase(found->second);
  index_.erase(found);
}

Programs::Prepared* Programs::use(std::uint64_t id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  return &*found->second;
}

void Programs::clear() {
  index_.clear();
  by_use_.clear();
  bytes_ = 0;
  refusals_.clear();
}

Result<std::shared_ptr<const Plan>> Programs::plan(std::uint64_t id,
                                                   std::span<const TensorType> arguments) {
  Prepared* prepared = use(id);
  if (prepared == nullptr) {
    for (const auto& [refused, error] : refusals_) {
      if (refused == id) return tl::make_unexpected(error);
    }
    return fail(ErrorCode::unknown_program,
                "there is no prepared program " + std::to_string(id) + ": prepare it (again)");
  }
  auto& plans = prepared->plans;
  const auto fits = [&](const std::shared_ptr<const Plan>& plan) {
    return std::equal(arguments.begin(), arguments.end(), plan->arguments.begin(),
                      plan->arguments.end());
  };
  const auto known = std::find_if(plans.begin(), plans.end(), fits);
  if (known != plans.end()) {
    std::rotate(plans.begin(), known, known + 1);
    return plans.front();
  }
  OUTRIGGER_TRY(auto plan, make_plan(memory_, prepared->program, arguments, threads_));
  if (plans.size() >= limits_.plans_per_program_max) plans.pop_back();
  plans.insert(plans.begin(), plan);
  return plan;
}

}  // namespace outrigger::engine
