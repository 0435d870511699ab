#include "ops/pass/compile/pass_code.hpp"

#include <algorithm>
#include <cstring>

#include <boost/container/small_vector.hpp>

#include "ops/pass/compile/status.hpp"

namespace outrigger::ops {
namespace {

/// The element operations of a pass before it is compiled. The interpreter takes about as long for
/// them as the compilation takes.
constexpr std::uint64_t work_before = std::uint64_t{1} << 18;
/// The combinations of inputs for which a pass is compiled; other combinations are interpreted.
constexpr std::size_t variants_max = 8;

std::optional<CompiledPass::Segment> compile_segment(const Pass& pass, const Schedule::Part& part,
                                                     const std::vector<bool>& uniform, Isa isa,
                                                     bool stream, Kept& kept) {
  Trace trace(isa);
  SegmentTrace segment{trace, {}, {}, {}, {}, stream};
  std::vector<Trace::Id> values(pass.registers.size());
  for (const Pass::Register r : part.in) {
    values[r] = trace.input(pass.registers[r], segment.inputs.size());
    segment.inputs.push_back(pass.registers[r]);
    segment.uniform.push_back(r < pass.inputs && uniform[r]);
  }
  for (const std::uint16_t position : part.micro_ops) {
    const Pass::MicroOp& op = pass.micro_ops[position];
    const std::array<Trace::Id, 3> in{values[op.in[0]], values[op.in[1]], values[op.in[2]]};
    values[op.out] = op.record(trace, in.data());
  }
  for (const Pass::Register r : part.out) {
    segment.outputs.push_back(values[r]);
    segment.output_types.push_back(pass.registers[r]);
  }
  const auto code = generate(segment, isa);
  if (!code) return std::nullopt;
  auto pages = CodePages::make(code->bytes, kept);
  if (!pages) return std::nullopt;
  std::vector<std::uint8_t> widths;
  for (std::size_t i = 0; i < segment.inputs.size(); ++i) {
    const std::size_t width = segment.uniform[i] ? 0 : size_of(segment.inputs[i]);
    widths.push_back(static_cast<std::uint8_t>(width));
  }
  for (const DType type : segment.output_types)
    widths.push_back(static_cast<std::uint8_t>(size_of(type)));
  const auto entry = reinterpret_cast<SegmentFn>(const_cast<void*>(pages->data()));
  return CompiledPass::Segment{entry,
                               code->lanes,
                               isa == Isa::avx512,
                               std::move(widths),
                               segment.inputs.size(),
                               std::move(*pages)};
}

}  // namespace

#if defined(__clang__)
// The check reads the type of the function in front of the code. Generated code has no type there.
__attribute__((no_sanitize("function")))
#endif
void CompiledPass::Segment::run(std::span<std::byte* const> addresses, std::int64_t n) const {
  if (any_length) return code(addresses.data(), n);
  const std::int64_t whole = n - n % lanes;
  if (whole > 0) code(addresses.data(), whole);
  if (whole == n) return;
  // The rest is copied to padded vectors.
  constexpr std::size_t vector_max = 64;
  const auto rest = static_cast<std::size_t>(n - whole);
  const auto done = static_cast<std::size_t>(whole);
  boost::container::small_vector<std::array<std::byte, vector_max>, 16> vectors(widths.size());
  boost::container::small_vector<std::byte*, 16> padded(addresses.begin(), addresses.end());
  for (std::size_t k = 0; k < widths.size(); ++k) {
    if (widths[k] == 0) continue;
    if (k < inputs)
      std::memcpy(vectors[k].data(), addresses[k] + done * widths[k], rest * widths[k]);
    padded[k] = vectors[k].data();
  }
  code(padded.data(), lanes);
  for (std::size_t k = inputs; k < widths.size(); ++k)
    std::memcpy(addresses[k] + done * widths[k], padded[k], rest * widths[k]);
}

void CompiledPass::stream(std::span<std::byte*> addresses, std::int64_t n) const {
  const std::size_t aligned_to = register_bytes(isa);
  const Segment& segment = segments[0];
  const auto behind_boundary = [&](std::size_t k) {
    return reinterpret_cast<std::uintptr_t>(addresses[k]) % aligned_to;
  };
  const auto advance = [&](std::int64_t by) {
    for (std::size_t k = 0; k < addresses.size(); ++k) addresses[k] += by * segment.widths[k];
    n -= by;
  };
  const std::size_t first = segment.inputs;
  const auto before = static_cast<std::int64_t>((aligned_to - behind_boundary(first)) % aligned_to /
                                                segment.widths[first]);
  if (n < before + streaming->lanes) return segment.run(addresses, n);
  if (before > 0) segment.run(addresses, before);
  advance(before);
  bool aligned = true;
  for (std::size_t k = first; k < addresses.size(); ++k)
    aligned = aligned && behind_boundary(k) == 0;
  if (!aligned) return segment.run(addresses, n);
  const std::int64_t whole = n - n % streaming->lanes;
  streaming->code(addresses.data(), whole);
  advance(whole);
  if (n > 0) segment.run(addresses, n);
}

const CompiledPass* PassCode::find(const Pass& pass, const std::vector<bool>& uniform, bool stream,
                                   std::int64_t elements, const Context& context) {
  const Compile& how = context.compile;
  if (how.when == Compile::When::never || how.isa == Isa::none || pass.micro_ops.empty())
    return nullptr;
  const std::lock_guard lock(mutex_);
  for (const auto& variant : variants_) {
    if (variant->isa == how.isa && variant->uniform == uniform && variant->streams == stream)
      return variant.get();
  }
  if (hopeless_ || variants_.size() >= variants_max) return nullptr;
  work_ += static_cast<std::uint64_t>(elements) * pass.micro_ops.size();
  if (how.when != Compile::When::always && work_ < work_before) return nullptr;
  const CompiledPass* compiled = nullptr;
  try {
    compiled = compile(pass, uniform, stream, how.isa, context.memory.kept());
  } catch (const std::bad_alloc&) {
    // The interpreter needs no memory for code.
  }
  hopeless_ = compiled == nullptr;
  return compiled;
}

const CompiledPass* PassCode::compile(const Pass& pass, const std::vector<bool>& uniform,
                                      bool stream, Isa isa, Kept& kept) {
  std::shared_ptr<const Schedule> schedule;
  for (const auto& variant : variants_) {
    if (variant->isa == isa) schedule = variant->schedule;
  }
  if (!schedule) schedule = std::make_shared<const Schedule>(pass, isa);
  if (schedule->compiled() == 0 || !executable_memory_refused().empty()) return nullptr;
  auto compiled =
      std::make_unique<CompiledPass>(CompiledPass{isa, uniform, stream, schedule, {}, {}});
  for (const Schedule::Part& part : schedule->parts) {
    if (!part.segment) continue;
    auto segment = compile_segment(pass, part, uniform, isa, false, kept);
    if (!segment) return nullptr;
    compiled->segments.push_back(std::move(*segment));
  }
  if (stream && schedule->whole()) {
    auto streaming = compile_segment(pass, schedule->parts[0], uniform, isa, true, kept);
    if (!streaming) return nullptr;
    compiled->streaming.emplace(std::move(*streaming));
  }
  variants_.push_back(std::move(compiled));
  return variants_.back().get();
}

std::string_view compiler_name(const Compile& compile) {
  if (compile.when == Compile::When::never || compile.isa == Isa::none) return "none";
  return compile.isa == Isa::avx512 ? "avx512" : "avx2";
}

std::size_t compiled_micro_ops(const Pass& pass) { return pass.code->compiled_micro_ops(); }

std::size_t PassCode::compiled_micro_ops() const {
  const std::lock_guard lock(mutex_);
  return variants_.empty() ? 0 : variants_.back()->schedule->compiled();
}

}  // namespace outrigger::ops
