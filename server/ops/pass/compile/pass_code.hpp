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

/// The micro-ops of a pass in another order. Micro-ops for which code can be generated form
/// segments, which compute in registers of the machine. The other micro-ops are called on tiles
/// between the segments.
struct Schedule {
  struct Part {
    /// Positions in the pass: all micro-ops of a segment, or one that is called.
    std::vector<std::uint16_t> micro_ops;
    bool segment = false;
    /// The registers of the pass that the part reads, and those that it gives to other parts.
    std::vector<Pass::Register> in;
    std::vector<Pass::Register> out;
  };
  std::vector<Part> parts;
  /// Pass::slots for this order.
  std::vector<std::uint16_t> slots;
  std::uint16_t slot_count = 0;

  Schedule(const Pass& pass, Isa isa);
  /// The number of micro-ops in segments.
  std::size_t compiled() const;
  /// True if the pass is one segment.
  bool whole() const { return parts.size() == 1 && parts[0].segment; }
};

/// A pass as machine code, for one combination of uniform inputs.
struct CompiledPass {
  struct Segment {
    SegmentFn code = nullptr;
    std::int64_t lanes = 0;
    /// True if the code accepts any number of elements.
    bool any_length = false;
    /// The bytes of an element of each input and output; 0 for a uniform input.
    std::vector<std::uint8_t> widths;
    std::size_t inputs = 0;
    CodePages pages;

    /// Runs the code with the addresses of its inputs and outputs, and the number of elements.
    void run(std::span<std::byte* const> addresses, std::int64_t n) const;
  };
  Isa isa = Isa::none;
  std::vector<bool> uniform;
  bool streams = false;
  std::shared_ptr<const Schedule> schedule;
  /// One segment of code for each segment of the schedule, in the same order.
  std::vector<Segment> segments;
  /// The only segment, with stores that bypass the caches.
  std::optional<Segment> streaming;

  /// Runs the only segment. Its stores bypass the caches where the memory of the outputs is
  /// aligned.
  void stream(std::span<std::byte*> addresses, std::int64_t n) const;
};

/// The use of a pass so far, and its code once compilation pays. Copies of a pass share it.
/// Thread-safe; the code lives as long as this object.
class PassCode {
 public:
  /// Call it before a run over `elements` elements; `stream` is true if the outputs may bypass the
  /// caches. Null means that the pass must be interpreted.
  const CompiledPass* find(const Pass& pass, const std::vector<bool>& uniform, bool stream,
                           std::int64_t elements, const Context& context);

  /// The number of micro-ops in the segments of the latest code.
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
