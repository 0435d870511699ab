#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "ops/pass/compile/code_memory.hpp"
#include "ops/pass/compile/generator.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"
#include "ops/support/isa.hpp"

namespace outrigger::ops {

/// The micro-ops of a pass in another order: those that code can be generated for are segments, run
/// at once over registers of the machine; the others are called over tiles, in between.
struct Schedule {
  struct Part {
    /// By position in the pass: all of a segment, or one that is called.
    std::vector<std::uint16_t> micro_ops;
    bool segment = false;
    /// Registers of the pass that the part reads, and those that it makes for others.
    std::vector<Pass::Register> in;
    std::vector<Pass::Register> out;
  };
  std::vector<Part> parts;
  /// As Pass::slots, for this order.
  std::vector<std::uint16_t> slots;
  std::uint16_t slot_count = 0;

  Schedule(const Pass& pass, Isa isa);
  /// Micro-ops that are part of a segment.
  std::size_t compiled() const;
  /// The pass is one segment.
  bool whole() const { return parts.size() == 1 && parts[0].segment; }
};

/// A pass as machine code, for inputs of which certain ones are the same for all elements.
struct CompiledPass {
  struct Segment {
    SegmentFn code = nullptr;
    std::int64_t lanes = 0;
    /// Whether the code takes any number of elements.
    bool any_length = false;
    /// Bytes of an element of each input and output; 0 of a uniform input.
    std::vector<std::uint8_t> widths;
    std::size_t inputs = 0;
    CodePages pages;

    /// Addresses of its inputs and outputs, and the number of elements.
    void run(std::span<std::byte* const> addresses, std::int64_t n) const;
  };
  Isa isa = Isa::none;
  std::vector<bool> uniform;
  bool streams = false;
  std::shared_ptr<const Schedule> schedule;
  /// One for each segment of the schedule, in its order.
  std::vector<Segment> segments;
  /// The same as the only segment, but its outputs go past the caches.
  std::optional<Segment> streaming;

  /// Runs the only segment, past the caches as far as the outputs' memory is aligned.
  void stream(std::span<std::byte*> addresses, std::int64_t n) const;
};

/// What became of a pass: how much it was used, and its code once that pays. Copies of a pass share
/// it. Thread-safe; the code lives as long as this.
class PassCode {
 public:
  /// Called for a run over so many elements, whose outputs may have to go past the caches. Null:
  /// interpret it.
  const CompiledPass* find(const Pass& pass, const std::vector<bool>& uniform, bool stream,
                           std::int64_t elements, const Context& context);

  /// Micro-ops that the code made last runs in registers.
  std::size_t compiled_micro_ops() const;

 private:
  const CompiledPass* compile(const Pass& pass, const std::vector<bool>& uniform, bool stream,
                              Isa isa, Kept& kept);

  mutable std::mutex mutex_;
  std::uint64_t work_ = 0;
  std::vector<std::unique_ptr<const CompiledPass>> variants_;
  bool hopeless_ = false;
};

}  // namespace outrigger::ops
