#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "base/kernel_unit.hpp"
#include "base/limits.hpp"
#include "kernel/interpret.hpp"
#include "kernel/native/compiler.hpp"
#include "tensor/kept.hpp"
#include "tensor/memory.hpp"

namespace outrigger::engine {

/// The kernels of one session, as code that is interpreted, and as machine code once the compiler
/// has made it. A limit bounds their number; the least recently used one
/// goes first. Their bytes count in Memory::kept(), which may evict them. A program that is bound
/// to a kernel keeps it alive.
class Kernels {
 public:
  Kernels(Memory& memory, const Limits& limits, kernel::Compiler& compiler)
      : memory_(memory), limits_(limits), compiler_(compiler) {}
  ~Kernels() { clear(); }
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  /// Replaces a kernel of the same id. Errors: bad_kernel, limit_exceeded. Programs with a kernel
  /// of a refused id give that error again, so that a client that did not wait learns the cause.
  Result<void> define(std::uint64_t id, kernel::Unit unit);
  void forget(std::uint64_t id);
  void clear();
  std::size_t size() const { return index_.size(); }

  /// The kernel, which now is the most recently used one; null if there is none. Errors: those of
  /// define() for a refused id.
  Result<std::shared_ptr<const kernel::Machine>> use(std::uint64_t id);

 private:
  struct Defined final : Kept::Item {
    Defined(Kernels& kernels, std::uint64_t with_id)
        : Item(From::client), owner(kernels), id(with_id) {}
    void evict() noexcept override { owner.forget(id); }

    Kernels& owner;
    const std::uint64_t id;
    std::shared_ptr<const kernel::Machine> machine;
  };

  Result<std::shared_ptr<const kernel::Machine>> make(kernel::Unit unit);

  Memory& memory_;
  const Limits& limits_;
  kernel::Compiler& compiler_;
  std::list<Defined> by_use_;  ///< most recently used first
  std::unordered_map<std::uint64_t, std::list<Defined>::iterator> index_;
  /// The errors of the latest refused kernels, by ids that name no kernel.
  static constexpr std::size_t refusals_max = 64;
  std::list<std::pair<std::uint64_t, Error>> refusals_;
};

}  // namespace outrigger::engine
