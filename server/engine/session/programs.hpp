#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "engine/planner/plan.hpp"
#include "engine/session/kernels.hpp"
#include "engine/session/tenant.hpp"
#include "tensor/kept.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

/// The size of a program when its calls are expanded.
struct Extent {
  std::uint64_t instructions = 0;
  std::uint64_t operands = 0;
  std::uint64_t bytes = 0;    ///< of the program as data, approximately
  std::uint64_t own = 0;      ///< the same without the programs that it calls
  std::uint64_t nesting = 0;  ///< regions and calls inside each other
};

/// The arguments of a call, for plan(): their types, and the numbers among them.
struct CallTypes {
  ArgumentTypes arguments;
  std::span<const NumberArgument> numbers = {};
};

/// The prepared programs of one session, each with its plans for the argument types of its calls.
/// Limits bound their numbers; the least recently used one goes first. Their bytes count in
/// Memory::kept(), which may evict them.
class Programs {
 public:
  /// `kernels` are those of the session. `threads`: the team that plans are made for. `counted`:
  /// the programs of the token, if it has one.
  Programs(Memory& memory, const Limits& limits, Kernels& kernels, int threads,
           Counted* counted = nullptr)
      : memory_(memory), limits_(limits), kernels_(kernels), threads_(threads), counted_(counted) {}
  ~Programs() { clear(); }
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  /// Replaces a program of the same id. Errors: those of link() and check_program(),
  /// limit_exceeded, quota_exceeded. Later calls of a new id give that error again, so that a
  /// client that did not wait learns the cause.
  Result<void> prepare(std::uint64_t id, const wire::SharedProgram& program);
  /// The same for a program that could not be read.
  void refuse(std::uint64_t id, const Error& error);
  /// Binds each `call` in the program to the prepared program that it names now, and each `kernel`
  /// to the kernel. A program can only call programs that were prepared before it, so no program
  /// calls itself. An instruction with an unknown id stays unbound. Errors: those of
  /// Kernels::use(), limit_exceeded if the program with all that it calls is too large.
  Result<Extent> link(Program& program);
  void forget(std::uint64_t id);
  void clear();
  std::size_t size() const { return index_.size(); }

  /// A plan that the program has already; null if there is none. Errors: unknown_program, those of
  /// prepare().
  template <typename Fits>
  Result<std::shared_ptr<const Plan>> known_plan(std::uint64_t id, const Fits& fits);
  /// The size of the program; null if there is none of that id.
  const Extent* extent(std::uint64_t id) const;
  /// A plan of a prepared program. Errors: unknown_program, those of prepare() and make_plan().
  Result<std::shared_ptr<const Plan>> plan(std::uint64_t id, const CallTypes& types,
                                           const ops::Interrupt* interrupt = nullptr);
  /// A plan of a program that is run once, which link() has bound.
  Result<std::shared_ptr<const Plan>> plan_once(std::shared_ptr<const Program> program,
                                                const Extent& extent, const CallTypes& types,
                                                const ops::Interrupt* interrupt);

 private:
  class Linker;
  struct Prepared;
  struct Planned;
  struct Planned final : Kept::Item {
    Planned(Prepared& prepared, std::shared_ptr<const Plan> made)
        : of(prepared), plan(std::move(made)) {}
    void evict() noexcept override;

    Prepared& of;
    std::shared_ptr<const Plan> plan;
  };
  struct Prepared final : Kept::Item {
    Prepared(Programs& programs, std::uint64_t with_id)
        : Item(From::client), owner(programs), id(with_id) {}
    void evict() noexcept override { owner.forget(id); }

    Programs& owner;
    const std::uint64_t id;
    std::shared_ptr<const Program> program;
    Extent extent;
    std::list<Planned> plans;  ///< most recently used first
  };

  Result<void> check_new(std::uint64_t id, Program& program, Extent& extent);
  /// The program, which now is the most recently used one; null if there is none.
  Prepared* use(std::uint64_t id);
  Result<Prepared*> find(std::uint64_t id);
  void use(Prepared& prepared, std::list<Planned>::iterator planned);
  void drop_last_plan(Prepared& prepared);
  Result<std::shared_ptr<Plan>> make(std::shared_ptr<const Program> program, const Extent& extent,
                                     const CallTypes& types, const ops::Interrupt* interrupt);
  Result<void> count_as_used(Plan& plan);

  Memory& memory_;
  const Limits& limits_;
  Kernels& kernels_;
  const int threads_;
  Counted* const counted_;
  std::list<Prepared> by_use_;  ///< most recently used first
  std::unordered_map<std::uint64_t, std::list<Prepared>::iterator> index_;
  /// The errors of the latest refused programs, by ids that name no program.
  static constexpr std::size_t refusals_max = 64;
  std::list<std::pair<std::uint64_t, Error>> refusals_;
};

template <typename Fits>
Result<std::shared_ptr<const Plan>> Programs::known_plan(std::uint64_t id, const Fits& fits) {
  OUTRIGGER_TRY(Prepared * prepared, find(id));
  for (auto planned = prepared->plans.begin(); planned != prepared->plans.end(); ++planned) {
    if (!fits(*planned->plan)) continue;
    use(*prepared, planned);
    return planned->plan;
  }
  return nullptr;
}

}  // namespace outrigger::engine
