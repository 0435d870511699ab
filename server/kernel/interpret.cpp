#include "kernel/interpret.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernel/code.hpp"
#include "kernel/native/native.hpp"

namespace outrigger::kernel {
namespace {

constexpr std::uint64_t countless = std::numeric_limits<std::uint64_t>::max();

/// Sums and products of sizes that a unit may name.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  return a > countless - b ? countless : a + b;
}
std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  return b != 0 && a > countless / b ? countless : a * b;
}

/// Each part of a run's memory begins at a multiple of 8.
std::uint64_t rounded(std::uint64_t bytes) {
  return bytes > countless - 7 ? countless : (bytes + 7) / 8 * 8;
}

template <typename SizeOf>
std::uint64_t bytes_of_array(const Array& array, const SizeOf& size) {
  std::uint64_t bytes = static_cast<std::uint64_t>(bytes_of(array.type));
  // An axis of size 0 makes every other size irrelevant.
  for (const Dim& dim : array.dims)
    if (size(dim) == 0) return 0;
  for (const Dim& dim : array.dims) bytes = times(bytes, static_cast<std::uint64_t>(size(dim)));
  return rounded(bytes);
}

/// The expected size if a tensor's size is not the one of its parameter, or nothing.
std::string bind(const Dim& dim, std::int64_t size, std::span<std::int64_t> dims) {
  constexpr std::int64_t unknown = -1;
  if (dim.kind == Dim::Kind::any) return {};
  if (dim.kind == Dim::Kind::number) return size == dim.plus ? "" : std::to_string(dim.plus);
  std::int64_t& n = dims[dim.name];
  if (n != unknown) return n + dim.plus == size ? "" : std::to_string(n + dim.plus);
  if (size - dim.plus < 0) return std::to_string(dim.plus) + " or more";
  n = size - dim.plus;
  return {};
}

/// Binds the names of all tensor parameters. `size(number, axis)` is of the tensor of that number.
/// Returns why it cannot, or nothing.
template <typename SizeOf>
std::string bind_all(const Kernel& kernel, bool fresh, const SizeOf& size,
                     std::span<std::int64_t> dims) {
  std::fill(dims.begin(), dims.end(), -1);
  std::size_t number = 0;
  std::size_t given = 0;
  for (const Param& param : kernel.params) {
    if (param.mode == Mode::scalar) continue;
    const std::string& name = kernel.tensors[number++];
    if (param.mode == Mode::fresh) {
      given += fresh ? 1 : 0;
      continue;
    }
    const std::size_t tensor = given++;
    for (std::size_t axis = 0; axis < param.dims.size(); ++axis) {
      const std::int64_t n = size(tensor, axis);
      const std::string expected = bind(param.dims[axis], n, dims);
      if (expected.empty()) continue;
      return size_text(name, axis, n, expected);
    }
  }
  return {};
}

[[maybe_unused]] std::size_t tensor_params(const Kernel& kernel) {
  return static_cast<std::size_t>(
      std::count_if(kernel.params.begin(), kernel.params.end(),
                    [](const Param& param) { return param.mode != Mode::scalar; }));
}

/// The memory of a frame, without scratch and local arrays.
std::uint64_t frame_bytes(const Machine::Code& code) {
  return 8 * code.compiled.registers.size() + sizeof(Window) * code.tensors.size() +
         sizeof(Axis) * code.axes + std::uint64_t{8} * code.head.dims;
}

}  // namespace

std::string text_of(std::uint64_t cell, Type type) {
  if (type == Type::boolean) return cell != 0 ? "true" : "false";
  if (is_unsigned(type)) return std::to_string(cell);
  if (is_integer(type)) return std::to_string(static_cast<std::int64_t>(cell));
  const double x = type == Type::f32
                       ? double{std::bit_cast<float>(static_cast<std::uint32_t>(cell))}
                       : std::bit_cast<double>(cell);
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "infinity" : "neg_infinity";
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.begin(), buffer.end(), x).ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string index_text(const Machine::Code& code, std::uint32_t tensor, std::size_t axis,
                       const std::string& index, std::uint64_t size) {
  std::string text = "index " + index + " of " + code.head.tensors[tensor];
  if (code.tensors[tensor].rank > 1) text += ", axis " + std::to_string(axis) + ",";
  text += " is outside";
  text += size == 0 ? ", which has no elements" : " of 0.." + std::to_string(size - 1);
  return text;
}

std::string size_text(const std::string& tensor, std::size_t axis, std::int64_t size,
                      const std::string& expected) {
  std::string text = "axis ";
  text.append(std::to_string(axis)).append(" of ").append(tensor).append(" has the size ");
  text.append(std::to_string(size)).append(", not ").append(expected);
  return text;
}

std::int64_t size_of(const Dim& dim, std::span<const std::int64_t> dims) {
  if (dim.kind == Dim::Kind::number) return dim.plus;
  return std::max<std::int64_t>(dims[dim.name] + dim.plus, 0);
}

tl::expected<Sizes, std::string> bind_dims(const Kernel& kernel, std::span<const Sizes> shapes,
                                           bool fresh) {
  Sizes dims(kernel.dims);
  const auto size = [&](std::size_t tensor, std::size_t axis) { return shapes[tensor][axis]; };
  if (std::string text = bind_all(kernel, fresh, size, dims); !text.empty())
    return tl::make_unexpected(std::move(text));
  return dims;
}

std::uint64_t read_cell(const std::byte* element, Type type) {
  const std::size_t bytes = static_cast<std::size_t>(bytes_of(type));
  std::uint64_t cell = 0;
  std::memcpy(&cell, element, bytes);
  if (!is_integer(type) || is_unsigned(type) || bytes == 8) return cell;
  const auto unused = static_cast<int>(64 - 8 * bytes);
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(cell << unused) >> unused);
}

/// The low bytes of a cell are the element: the machine is little-endian.
void write_cell(std::byte* element, Type type, std::uint64_t cell) {
  std::memcpy(element, &cell, static_cast<std::size_t>(bytes_of(type)));
}

bool clear(std::span<std::byte> memory, const ops::Interrupt& interrupt) {
  constexpr std::size_t piece = std::size_t{1} << 20;
  while (memory.size() > piece) {
    if (interrupt.raised()) return false;
    std::memset(memory.data(), 0, piece);
    memory = memory.subspan(piece);
  }
  if (!memory.empty()) std::memset(memory.data(), 0, memory.size());
  return true;
}

const Instruction* Frame::fail(FailureCode failure, std::string text, std::uint32_t line) {
  run.failed = true;
  run.failure = {.code = failure,
                 .text = std::move(text),
                 .kernel = code.head.name,
                 .file = code.file,
                 .line = line};
  return nullptr;
}

const Instruction* Frame::bad_index(std::uint32_t tensor, Typed index, std::size_t axis,
                                    std::uint32_t line) {
  const std::uint64_t n = windows[tensor].axes[axis].n;
  return fail(FailureCode::bad_index,
              index_text(code, tensor, axis, text_of(registers[index.reg], index.type), n), line);
}

bool look(Frame& frame, std::uint32_t line) {
  frame.run.budget = steps_between_looks;
  if (!frame.run.interrupt.raised()) return true;
  frame.fail(FailureCode::interrupted, "the run was interrupted", line);
  return false;
}

std::byte* element(Frame& frame, std::uint32_t tensor, const std::vector<Typed>& indices,
                   std::uint32_t line) {
  const Window& window = frame.windows[tensor];
  std::byte* at = window.data;
  for (std::size_t axis = 0; axis < indices.size(); ++axis) {
    // A negative index is a large one.
    const std::uint64_t i = frame.registers[indices[axis].reg];
    if (i >= window.axes[axis].n) {
      frame.bad_index(tensor, indices[axis], axis, line);
      return nullptr;
    }
    at += static_cast<std::int64_t>(i) * window.axes[axis].step;
  }
  return at;
}

namespace {

/// The memory of one call, which it gives back at its end.
class Memory {
 public:
  explicit Memory(Run& run) : run_(run), begin_(run.free) {}
  ~Memory() { run_.free = begin_; }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <typename T>
  T* take(std::size_t count) {
    return reinterpret_cast<T*>(bytes(count * sizeof(T)));
  }
  std::byte* bytes(std::uint64_t count) { return std::exchange(run_.free, run_.free + count); }

 private:
  Run& run_;
  std::byte* const begin_;
};

/// Fills the windows and axes of the parameters, in their order.
class Windows {
 public:
  Windows(Window* windows, Axis* axes) : window_(windows), axis_(axes) {}

  /// Begins the next window, whose axes follow.
  void add(std::byte* data) {
    window_->data = data;
    window_->axes = axis_;
    at_ = axis_;
  }
  void axis(Axis axis) { *axis_++ = axis; }
  void end() {
    window_->first = *at_;
    ++window_;
  }
  /// A tensor in C order. The type has a rank of 1 or more.
  template <typename SizeOf>
  void plain(std::byte* data, std::int64_t bytes, const std::vector<Dim>& dims,
             const SizeOf& size) {
    add(data);
    for (const Dim& dim : dims) axis({static_cast<std::uint64_t>(size(dim)), 0});
    for (Axis* a = axis_; a-- != at_;) {
      a->step = bytes;
      bytes = static_cast<std::int64_t>(static_cast<std::uint64_t>(bytes) * a->n);
    }
    end();
  }

 private:
  Window* window_;
  Axis* axis_;
  const Axis* at_ = nullptr;
};

/// A frame whose parameters `fill` gives: it adds their windows, and puts the scalars into the
/// first registers. False: the run has failed.
template <typename Fill>
bool enter(Run& run, const Machine::Code& code, const Frame* caller, std::uint32_t line,
           const Fill& fill) {
  Memory memory(run);
  auto* const registers = memory.take<std::uint64_t>(code.compiled.registers.size());
  auto* const windows = memory.take<Window>(code.tensors.size());
  auto* const axes = memory.take<Axis>(code.axes);
  const std::span<std::int64_t> dims(memory.take<std::int64_t>(code.head.dims), code.head.dims);
  std::copy(code.compiled.registers.begin(), code.compiled.registers.end(), registers);
  Frame frame{run, code, registers, windows};
  Windows all(windows, axes);
  if (!fill(all, registers)) return false;

  const auto bound = [&](std::size_t tensor, std::size_t axis) {
    return static_cast<std::int64_t>(windows[tensor].axes[axis].n);
  };
  if (std::string text = bind_all(code.head, true, bound, dims); !text.empty()) {
    if (caller == nullptr) {
      frame.fail(FailureCode::bad_shape, std::move(text), 0);
      run.failure.file.clear();
    } else {
      // The call is the mistake.
      Frame at = *caller;
      at.fail(FailureCode::bad_shape, code.head.name + ": " + text, line);
    }
    return false;
  }
  const auto size = [&](const Dim& dim) { return size_of(dim, dims); };
  for (const std::vector<Array>* arrays : {&code.head.scratch, &code.head.local}) {
    for (const Array& array : *arrays) {
      const std::uint64_t bytes = bytes_of_array(array, size);
      std::byte* const data = memory.bytes(bytes);
      if (!clear({data, bytes}, run.interrupt)) {
        frame.fail(FailureCode::interrupted, "the run was interrupted", line);
        return false;
      }
      // To clear 1 KiB takes as long as some instructions.
      if (!spend(frame, bytes / 64, line)) return false;
      all.plain(data, bytes_of(array.type), array.dims, size);
    }
  }
  for (const auto& [reg, dim] : code.compiled.dims)
    registers[reg] = static_cast<std::uint64_t>(dims[dim]);
  for (const auto& [reg, place] : code.compiled.sizes)
    registers[reg] = windows[place.first].axes[place.second].n;

  const Instruction* i = code.compiled.instructions.data();
  while (i != nullptr) i = i->run(i, registers, frame);
  return !run.failed;
}

/// A kernel and the shapes of its tensor parameters: the memory that a call of it takes.
std::uint64_t memory_of(const Machine& machine, std::size_t number, std::span<const Sizes> shapes) {
  const Machine::Code& code = machine.code(number);
  std::uint64_t bytes = frame_bytes(code);
  const auto dims = bind_dims(code.head, shapes, true);
  // Such a call fails.
  if (!dims) return bytes;
  std::vector<Sizes> all(shapes.begin(), shapes.end());
  const auto size = [&](const Dim& dim) { return size_of(dim, *dims); };
  for (const std::vector<Array>* arrays : {&code.head.scratch, &code.head.local}) {
    for (const Array& array : *arrays) {
      bytes = plus(bytes, bytes_of_array(array, size));
      Sizes& shape = all.emplace_back();
      for (const Dim& dim : array.dims) shape.push_back(size(dim));
    }
  }
  std::uint64_t callees = 0;
  for (const CallSite& site : code.compiled.calls) {
    std::vector<Sizes> given;
    for (const CallSite::Given& argument : site.given) {
      if (!argument.is_tensor) continue;
      const Sizes& whole = all[argument.at];
      given.emplace_back(whole.begin() + static_cast<std::ptrdiff_t>(argument.indices.size()),
                         whole.end());
    }
    callees = std::max(callees, memory_of(machine, site.kernel, given));
  }
  return plus(bytes, callees);
}

}  // namespace

bool call(Frame& frame, const CallSite& site, std::uint32_t line) {
  Run& run = frame.run;
  const Machine::Code& callee = run.machine.code(site.kernel);
  if (!spend(frame, callee.compiled.instructions.size(), line)) return false;
  return enter(run, callee, &frame, line, [&](Windows& windows, std::uint64_t* registers) {
    for (const CallSite::Given& argument : site.given) {
      if (!argument.is_tensor) {
        *registers++ = frame.registers[argument.at];
        continue;
      }
      const Window& whole = frame.windows[argument.at];
      std::byte* first = element(frame, argument.at, argument.indices, line);
      if (run.failed) return false;
      windows.add(first);
      for (std::size_t axis = argument.indices.size(); axis < frame.code.tensors[argument.at].rank;
           ++axis)
        windows.axis(whole.axes[axis]);
      windows.end();
    }
    return true;
  });
}

Machine::Machine(const CheckedUnit& unit) {
  for (const CheckedKernel& checked : unit.kernels) {
    auto code = std::make_unique<Code>();
    code->compiled = kernel::compile(checked, unit);
    code->head = checked.kernel;
    code->head.nodes = {};
    code->head.blocks = {};
    code->tensors = checked.tensors;
    code->file = unit.files[checked.kernel.file];
    for (const TensorInfo& tensor : code->tensors) code->axes += tensor.rank;
    std::uint64_t calls = 1;
    for (const CallSite& site : code->compiled.calls) calls += calls_[site.kernel];
    calls_.push_back(calls);
    codes_.push_back(std::move(code));
  }
}
Machine::~Machine() = default;
Machine::Machine(Machine&&) noexcept = default;

const Kernel& Machine::head() const { return codes_.back()->head; }

std::uint64_t Machine::held_bytes() const {
  const auto list = [](const auto& items) { return items.capacity() * sizeof(items[0]); };
  const auto strings = [](const std::vector<std::string>& all) {
    std::uint64_t bytes = all.capacity() * sizeof(std::string);
    for (const std::string& text : all) bytes += text.capacity();
    return bytes;
  };
  std::uint64_t bytes = sizeof(Machine) + list(codes_) + (native_ ? native_->held_bytes() : 0);
  for (const auto& code : codes_) {
    const Compiled& compiled = code->compiled;
    const Kernel& head = code->head;
    bytes += sizeof(Code) + code->file.capacity() + head.name.capacity() + list(code->tensors) +
             list(compiled.instructions) + list(compiled.registers) + list(compiled.dims) +
             list(compiled.sizes) + list(compiled.lists) + list(compiled.calls) +
             list(compiled.functions) + strings(head.tensors) + strings(head.texts) +
             list(head.params) + list(head.scratch) + list(head.local) + list(head.slots);
    for (const auto& values : compiled.lists) bytes += list(values);
    for (const CallSite& site : compiled.calls) {
      bytes += list(site.given) + list(site.results);
      for (const CallSite::Given& given : site.given) bytes += list(given.indices);
    }
    for (const Param& param : head.params) bytes += list(param.dims);
    for (const Array& array : head.scratch) bytes += list(array.dims);
    for (const Array& array : head.local) bytes += list(array.dims);
  }
  return bytes;
}

std::uint64_t Machine::memory_for(std::span<const Sizes> shapes) const {
  return memory_of(*this, codes_.size() - 1, shapes);
}

void Machine::compile(const CheckedUnit& unit, Compiler& compiler, Kept& kept,
                      const EmitOptions& options) {
  native_ = make_native(unit, compiler, kept, options);
}

tl::expected<std::vector<std::uint64_t>, Failure> Machine::run(const MachineCall& request) const {
  if (native_) {
    if (auto outcome = native_->run(*this, request)) return std::move(*outcome);
  }
  return interpret(request);
}

tl::expected<std::vector<std::uint64_t>, Failure> Machine::interpret(
    const MachineCall& request) const {
  Run run{*this, request.interrupt, request.memory.data()};
  run.budget = steps_between_looks;
  const Code& code = *codes_.back();
  assert(request.tensors.size() == tensor_params(code.head));
#ifndef NDEBUG
  std::vector<Sizes> shapes;
  for (const TensorView& tensor : request.tensors) shapes.push_back(tensor.dims);
  assert(request.memory.size() >= memory_for(shapes) && "the memory of a kernel is too small");
#endif
  const bool done = enter(run, code, nullptr, 0, [&](Windows& windows, std::uint64_t* registers) {
    std::copy(request.scalars.begin(), request.scalars.end(), registers);
    std::size_t number = 0;
    for (const TensorView& tensor : request.tensors) {
      const std::int64_t bytes = bytes_of(code.tensors[number++].type);
      windows.add(tensor.data);
      std::int64_t step = 1;
      for (const std::int64_t n : tensor.dims) step *= n;
      for (std::size_t axis = 0; axis < tensor.dims.size(); ++axis) {
        const std::int64_t n = tensor.dims[axis];
        step = n == 0 ? 0 : step / n;
        const std::int64_t stride = tensor.strides.empty() ? step : tensor.strides[axis];
        windows.axis({static_cast<std::uint64_t>(n), stride * bytes});
      }
      windows.end();
    }
    return true;
  });
  if (!done) return tl::make_unexpected(std::move(run.failure));
  return std::move(run.results);
}

}  // namespace outrigger::kernel
