#include "kernel/native/native.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernel/arithmetic.hpp"
#include "kernel/code.hpp"

namespace outrigger::kernel {
namespace {

/// Sizes below it are those that the emitter counts with.
constexpr std::int64_t native_size_max = UnitLimits::size_max;
/// So many bytes are cleared between two looks at the interrupt.
constexpr std::uint64_t cleared_max = std::uint64_t{1} << 20;

/// The first argument of the functions below, which the code of a run calls.
struct NativeRun {
  const ops::Interrupt& interrupt;
  std::uint64_t cleared = 0;
};

std::int32_t poll_native(const NativeRun* run) noexcept { return run->interrupt.raised() ? 1 : 0; }

std::int32_t clear_native(NativeRun* run, std::byte* at, std::uint64_t bytes) noexcept {
  run->cleared += bytes;
  if (run->cleared > cleared_max) {
    run->cleared = 0;
    if (run->interrupt.raised()) return 1;
  }
  return clear({at, bytes}, run->interrupt) ? 0 : 1;
}

float call_native_f32(ops::TileFn function, float x, float y) noexcept {
  float result = 0;
  const std::array<const void*, 2> in{&x, &y};
  function(&result, in.data(), 1);
  return result;
}

double call_native_f64(ops::TileFn function, double x, double y) noexcept {
  double result = 0;
  const std::array<const void*, 2> in{&x, &y};
  function(&result, in.data(), 1);
  return result;
}

/// The cell of a float as an integer of the type.
std::uint64_t convert_native(double x, std::uint64_t type) noexcept {
  const auto cell = cell_of(x);
  switch (static_cast<Type>(type)) {
    case Type::u8:
      return convert<std::uint8_t, double>(cell);
    case Type::u16:
      return convert<std::uint16_t, double>(cell);
    case Type::u32:
      return convert<std::uint32_t, double>(cell);
    case Type::u64:
      return convert<std::uint64_t, double>(cell);
    case Type::s8:
      return convert<std::int8_t, double>(cell);
    case Type::s16:
      return convert<std::int16_t, double>(cell);
    case Type::s32:
      return convert<std::int32_t, double>(cell);
    default:
      return convert<std::int64_t, double>(cell);
  }
}

template <typename T>
std::uint64_t address_cell(T* address) {
  return reinterpret_cast<std::uint64_t>(address);
}

using EntryFn = std::int32_t (*)(std::uint64_t* frame);

#if defined(__clang__)
// The check reads the type of the function in front of the code. Generated code has no type there.
__attribute__((no_sanitize("function")))
#endif
bool run_entry(const void* entry, std::uint64_t* frame) {
  return reinterpret_cast<EntryFn>(const_cast<void*>(entry))(frame) == 0;
}

bool in_c_order(const TensorView& tensor) {
  if (tensor.strides.empty()) return true;
  std::int64_t step = 1;
  bool plain = true;
  for (std::size_t axis = tensor.dims.size(); axis-- > 0;) {
    const std::int64_t n = tensor.dims[axis];
    if (n == 0) return true;
    plain = plain && (n == 1 || tensor.strides[axis] == step);
    step *= n;
  }
  return plain;
}

}  // namespace

Native::Native(Emission emission, const CheckedUnit& unit, std::shared_ptr<ModuleCode> code)
    : emission_(std::move(emission)),
      results_(unit.kernels.back().kernel.results),
      code_(std::move(code)) {
  for (const auto& [what, type] : emission_.functions)
    functions_.push_back(function_of(what, type));
}

std::uint64_t Native::held_bytes() const {
  std::uint64_t bytes = sizeof(Native) + emission_.sites.capacity() * sizeof(Site);
  for (const Site& site : emission_.sites) bytes += site.types.capacity();
  return bytes;
}

bool Native::fits(const Machine::Code& code, const MachineCall& request) const {
  std::size_t number = 0;
  return std::all_of(request.tensors.begin(), request.tensors.end(), [&](const TensorView& tensor) {
    const auto size = static_cast<std::uintptr_t>(bytes_of(code.tensors[number++].type));
    return in_c_order(tensor) && address_cell(tensor.data) % size == 0 &&
           std::all_of(tensor.dims.begin(), tensor.dims.end(),
                       [](std::int64_t n) { return n <= native_size_max; });
  });
}

std::optional<tl::expected<std::vector<std::uint64_t>, Failure>> Native::run(
    const Machine& machine, const MachineCall& request) const {
  const Machine::Code& own = machine.code(emission_.sites[0].kernel);
  if (!fits(own, request)) return std::nullopt;
  const void* const entry = code_->entry(request.interrupt);
  if (entry == nullptr) return std::nullopt;
  std::vector<Sizes> shapes;
  for (const TensorView& tensor : request.tensors) shapes.push_back(tensor.dims);
  const auto dims = bind_dims(own.head, shapes, true);
  if (!dims) return std::nullopt;

  NativeRun run{request.interrupt};
  std::vector<std::uint64_t> frame(emission_.cells);
  frame[FrameCell::budget] = static_cast<std::uint64_t>(frame_budget);
  frame[FrameCell::run] = address_cell(&run);
  frame[FrameCell::poll] = address_cell(&poll_native);
  frame[FrameCell::clear] = address_cell(&clear_native);
  frame[FrameCell::call_f32] = address_cell(&call_native_f32);
  frame[FrameCell::call_f64] = address_cell(&call_native_f64);
  frame[FrameCell::convert] = address_cell(&convert_native);
  frame[FrameCell::functions] = address_cell(functions_.data());
  frame[FrameCell::memory] = address_cell(request.memory.data());
  std::size_t next = emission_.tensors;
  for (const TensorView& tensor : request.tensors) {
    frame[next++] = address_cell(tensor.data);
    for (const std::int64_t n : tensor.dims) frame[next++] = static_cast<std::uint64_t>(n);
  }
  for (const std::int64_t n : *dims) frame[next++] = static_cast<std::uint64_t>(n);
  for (const std::uint64_t scalar : request.scalars) frame[next++] = scalar;
  if (!run_entry(entry, frame.data())) return tl::make_unexpected(failure(machine, frame));
  std::vector<std::uint64_t> results;
  for (std::size_t i = 0; i < results_.size(); ++i)
    results.push_back(
        read_cell(reinterpret_cast<const std::byte*>(&frame[emission_.results + i]), results_[i]));
  return results;
}

Failure Native::failure(const Machine& machine, const std::vector<std::uint64_t>& frame) const {
  const Site& site = emission_.sites.at(frame[FrameCell::site]);
  const Machine::Code& code = machine.code(site.kernel);
  const std::uint64_t* const cells = frame.data() + emission_.values;
  Failure failure{.kernel = code.head.name, .file = code.file, .line = site.line};
  switch (site.kind) {
    case Site::Kind::interrupted:
      failure.code = FailureCode::interrupted;
      failure.text = "the run was interrupted";
      break;
    case Site::Kind::index:
      failure.code = FailureCode::bad_index;
      failure.text =
          index_text(code, site.at, site.axis, text_of(cells[0], site.types[0]), cells[1]);
      break;
    case Site::Kind::divisor:
      failure.code = FailureCode::bad_value;
      failure.text = zero_divisor_text;
      break;
    case Site::Kind::step:
      failure.code = FailureCode::bad_value;
      failure.text = zero_step_text;
      break;
    case Site::Kind::shape: {
      const Kernel& callee = machine.code(site.at).head;
      failure.code = FailureCode::bad_shape;
      failure.text =
          callee.name + ": " +
          size_text(callee.tensors[site.tensor], site.axis, static_cast<std::int64_t>(cells[0]),
                    std::to_string(static_cast<std::int64_t>(cells[1])) +
                        (site.at_least ? " or more" : ""));
      break;
    }
    case Site::Kind::raised: {
      failure.code = FailureCode::raised;
      failure.text = code.head.texts[site.at];
      const char* before = ": ";
      for (std::size_t i = 0; i < site.types.size(); ++i) {
        failure.text += before + text_of(cells[i], site.types[i]);
        before = ", ";
      }
      break;
    }
  }
  return failure;
}

std::shared_ptr<const Native> make_native(const CheckedUnit& unit, Compiler& compiler, Kept& kept,
                                          const EmitOptions& options) {
  if (!compiler.available()) return nullptr;
  Emission emission = emit(unit, options);
  // The run of the unit begins in its own kernel.
  emission.sites[0].kernel = static_cast<std::uint32_t>(unit.kernels.size() - 1);
  const std::string text = std::exchange(emission.text, {});
  if (emission.too_long) {
    compiler.count_failure("it is too long for the compiler");
    return nullptr;
  }
  auto code = ModuleCode::find(text, compiler, kept);
  if (!code) {
    compiler.count_failure("there is no space for its code");
    return nullptr;
  }
  return std::make_shared<const Native>(std::move(emission), unit, std::move(code));
}

}  // namespace outrigger::kernel
