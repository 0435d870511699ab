#include "kernel/interpret.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernel/code.hpp"

namespace outrigger::kernel {
namespace {

using Cells = std::vector<std::uint64_t>;

std::uint64_t read(const std::byte* at, Type type) {
  const auto load = [at](auto value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (type) {
    case Type::u8:
      return load(std::uint8_t{});
    case Type::u16:
      return load(std::uint16_t{});
    case Type::u32:
    case Type::f32:
      return load(std::uint32_t{});
    case Type::s8:
      return static_cast<std::uint64_t>(std::int64_t{load(std::int8_t{})});
    case Type::s16:
      return static_cast<std::uint64_t>(std::int64_t{load(std::int16_t{})});
    case Type::s32:
      return static_cast<std::uint64_t>(std::int64_t{load(std::int32_t{})});
    default:
      return load(std::uint64_t{});
  }
}

/// The low bytes of a cell are the element: the machine is little-endian.
void write(std::byte* at, Type type, std::uint64_t cell) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(at, &cell, static_cast<std::size_t>(bytes_of(type)));
}

/// A number in the text of an error, as Elixir writes it.
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

std::size_t elements(const std::vector<std::int64_t>& dims) {
  std::size_t count = 1;
  for (const std::int64_t n : dims) count *= static_cast<std::size_t>(n);
  return count;
}

/// Why a tensor's size is not the one of its parameter, or nothing.
std::string bind(const Dim& dim, std::int64_t size, std::vector<std::int64_t>& dims) {
  constexpr std::int64_t unknown = -1;
  if (dim.kind == Dim::Kind::any) return {};
  if (dim.kind == Dim::Kind::number) return size == dim.plus ? "" : std::to_string(dim.plus);
  std::int64_t& n = dims[dim.name];
  if (n != unknown) return n + dim.plus == size ? "" : std::to_string(n + dim.plus);
  if (size - dim.plus < 0) return std::to_string(dim.plus) + " or more";
  n = size - dim.plus;
  return {};
}

}  // namespace

std::int64_t size_of(const Dim& dim, const std::vector<std::int64_t>& dims) {
  if (dim.kind == Dim::Kind::number) return dim.plus;
  return std::max<std::int64_t>(dims[dim.name] + dim.plus, 0);
}

tl::expected<std::vector<std::int64_t>, std::string> bind_dims(
    const Kernel& kernel, const std::vector<TensorView>& tensors, bool fresh) {
  std::vector<std::int64_t> dims(kernel.dims, -1);
  std::size_t number = 0;  // of the tensor
  std::size_t given = 0;
  for (const Param& param : kernel.params) {
    if (param.mode == Mode::scalar) continue;
    const std::string& name = kernel.tensors[number++];
    if (param.mode == Mode::fresh) {
      given += fresh ? 1 : 0;
      continue;
    }
    const TensorView& tensor = tensors[given++];
    for (std::size_t axis = 0; axis < param.dims.size(); ++axis) {
      const std::string expected = bind(param.dims[axis], tensor.dims[axis], dims);
      if (expected.empty()) continue;
      std::string text = "axis ";
      text.append(std::to_string(axis)).append(" of ").append(name).append(" has the size ");
      text.append(std::to_string(tensor.dims[axis])).append(", not ").append(expected);
      return tl::make_unexpected(std::move(text));
    }
  }
  return dims;
}

namespace {

/// One call of a kernel.
class Frame {
 public:
  Frame(const Kernel& head, const std::vector<TensorInfo>& infos, const std::string& file,
        const Compiled& code, std::vector<TensorView> tensors, std::vector<std::int64_t> dims)
      : head_(head), infos_(infos), file_(file), code_(code), tensors_(std::move(tensors)) {
    for (const Array& array : head.scratch) add(array, dims);
    for (const Array& array : head.local) add(array, dims);
    registers = code.registers;
    for (const auto& [reg, dim] : code.dims) registers[reg] = static_cast<std::uint64_t>(dims[dim]);
    for (const auto& [reg, place] : code.sizes)
      registers[reg] = static_cast<std::uint64_t>(tensors_[place.first].dims[place.second]);
  }

  Cells registers;
  Failure failure;

  const TensorView& tensor(std::uint32_t number) const { return tensors_[number]; }
  Type type(std::uint32_t number) const { return infos_[number].type; }
  const std::vector<Typed>& list(std::uint32_t number) const { return code_.lists[number]; }

  bool refuse(FailureCode code, std::string text, std::uint32_t line) {
    failure = {
        .code = code, .text = std::move(text), .kernel = head_.name, .file = file_, .line = line};
    return false;
  }

  /// The element at the indices, whose number may be less than the rank: then the part's first one.
  std::byte* element(std::uint32_t number, const std::vector<Typed>& indices, std::uint32_t line) {
    const TensorView& tensor = tensors_[number];
    std::size_t at = 0;
    for (std::size_t axis = 0; axis < tensor.dims.size(); ++axis) {
      const auto n = static_cast<std::uint64_t>(tensor.dims[axis]);
      std::uint64_t i = 0;
      if (axis < indices.size()) {
        // A negative index is a large one.
        i = registers[indices[axis].reg];
        if (i >= n) {
          bad_index(number, indices[axis], axis, line);
          return nullptr;
        }
      }
      at = at * n + i;
    }
    return tensor.data + at * static_cast<std::size_t>(bytes_of(type(number)));
  }

 private:
  void add(const Array& array, const std::vector<std::int64_t>& dims) {
    TensorView tensor;
    for (const Dim& dim : array.dims) tensor.dims.push_back(size_of(dim, dims));
    const std::size_t bytes =
        elements(tensor.dims) * static_cast<std::size_t>(bytes_of(array.type));
    memory_.push_back(std::make_unique<std::byte[]>(bytes));
    tensor.data = memory_.back().get();
    tensors_.push_back(std::move(tensor));
  }

  void bad_index(std::uint32_t number, Typed index, std::size_t axis, std::uint32_t line) {
    const std::int64_t n = tensors_[number].dims[axis];
    std::string text =
        "index " + text_of(registers[index.reg], index.type) + " of " + head_.tensors[number];
    if (tensors_[number].dims.size() > 1) text += ", axis " + std::to_string(axis) + ",";
    text += " is outside";
    text += n == 0 ? ", which has no elements" : " of 0.." + std::to_string(n - 1);
    refuse(FailureCode::bad_index, std::move(text), line);
  }

  const Kernel& head_;
  const std::vector<TensorInfo>& infos_;
  const std::string& file_;
  const Compiled& code_;
  std::vector<TensorView> tensors_;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

}  // namespace

Machine::Machine(const CheckedUnit& unit) {
  for (const CheckedKernel& kernel : unit.kernels) {
    auto code = std::make_unique<Code>();
    code->compiled = compile(kernel, unit);
    code->head = kernel.kernel;
    code->head.nodes.clear();
    code->head.blocks.clear();
    code->tensors = kernel.tensors;
    code->file = unit.files[kernel.kernel.file];
    codes_.push_back(std::move(code));
  }
}
Machine::~Machine() = default;
Machine::Machine(Machine&&) noexcept = default;

namespace {

/// True if the counter plus the step is still in the range. The counter is; its distance to the end
/// fits an unsigned integer.
bool goes_on(std::int64_t counter, std::int64_t end, std::int64_t step) {
  const auto from = static_cast<std::uint64_t>(counter);
  const auto to = static_cast<std::uint64_t>(end);
  const auto turn = static_cast<std::uint64_t>(step);
  return step > 0 ? to - from >= turn : from - to >= std::uint64_t{0} - turn;
}

}  // namespace

tl::expected<Cells, Failure> Machine::run_code(std::size_t number, const Cells& scalars,
                                               std::vector<TensorView> tensors,
                                               std::vector<std::int64_t> dims,
                                               const std::atomic<bool>* cancelled) const {
  const Code& code = *codes_[number];
  Frame frame(code.head, code.tensors, code.file, code.compiled, std::move(tensors),
              std::move(dims));
  Cells& r = frame.registers;
  std::copy(scalars.begin(), scalars.end(), r.begin());
  const auto refused = [&frame] { return tl::make_unexpected(std::move(frame.failure)); };
  for (std::size_t at = 0;; ++at) {
    const Instruction& i = code.compiled.instructions[at];
    switch (i.op) {
      case Op::move:
        r[i.dst] = r[i.a];
        break;
      case Op::unary:
        r[i.dst] = i.f1(r[i.a]);
        break;
      case Op::binary:
        r[i.dst] = i.f2(r[i.a], r[i.b]);
        break;
      case Op::divide:
        if (r[i.b] == 0) {
          frame.refuse(FailureCode::bad_value, "division by zero", i.line);
          return refused();
        }
        r[i.dst] = i.f2(r[i.a], r[i.b]);
        break;
      case Op::load: {
        const std::byte* element = frame.element(i.a, frame.list(i.b), i.line);
        if (element == nullptr) return refused();
        r[i.dst] = read(element, frame.type(i.a));
        break;
      }
      case Op::store: {
        std::byte* element = frame.element(i.a, frame.list(i.b), i.line);
        if (element == nullptr) return refused();
        write(element, frame.type(i.a), r[i.dst]);
        break;
      }
      // The loop's own step follows: a target is one instruction ahead of it.
      case Op::jump:
        at = std::size_t{i.c} - 1;
        break;
      case Op::jump_if:
        if (r[i.a] != 0) at = std::size_t{i.c} - 1;
        break;
      case Op::jump_if_not:
        if (r[i.a] == 0) at = std::size_t{i.c} - 1;
        break;
      case Op::poll:
        if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
          frame.refuse(FailureCode::cancelled, "the run was cancelled", i.line);
          return refused();
        }
        break;
      case Op::begin_range: {
        const auto step = static_cast<std::int64_t>(r[i.b]);
        const auto first = static_cast<std::int64_t>(r[i.dst]);
        const auto end = static_cast<std::int64_t>(r[i.a]);
        if (step == 0) {
          frame.refuse(FailureCode::bad_value, "the step of the range is 0", i.line);
          return refused();
        }
        if (step > 0 ? first > end : first < end) at = std::size_t{i.c} - 1;
        break;
      }
      case Op::next: {
        const auto counter = static_cast<std::int64_t>(r[i.dst]);
        if (goes_on(counter, static_cast<std::int64_t>(r[i.a]),
                    static_cast<std::int64_t>(r[i.b]))) {
          r[i.dst] += r[i.b];
          at = std::size_t{i.c} - 1;
        }
        break;
      }
      case Op::call: {
        const CallSite& site = code.compiled.calls[i.a];
        Cells given;
        std::vector<TensorView> views;
        for (const CallSite::Given& argument : site.given) {
          if (!argument.is_tensor) {
            given.push_back(r[argument.at]);
            continue;
          }
          const TensorView& whole = frame.tensor(argument.at);
          std::byte* first = whole.data;
          if (!argument.indices.empty())
            first = frame.element(argument.at, argument.indices, i.line);
          if (first == nullptr && !argument.indices.empty()) return refused();
          const auto kept = static_cast<std::ptrdiff_t>(argument.indices.size());
          views.push_back({first, {whole.dims.begin() + kept, whole.dims.end()}});
        }
        const Kernel& callee = codes_[site.kernel]->head;
        auto sizes = bind_dims(callee, views, true);
        if (!sizes) {
          frame.refuse(FailureCode::bad_shape, callee.name + ": " + sizes.error(), i.line);
          return refused();
        }
        auto results = run_code(site.kernel, given, std::move(views), std::move(*sizes), cancelled);
        if (!results) return results;
        for (std::size_t k = 0; k < site.results.size(); ++k) r[site.results[k]] = (*results)[k];
        break;
      }
      case Op::give_back: {
        Cells results;
        for (const Typed& value : frame.list(i.a)) results.push_back(r[value.reg]);
        return results;
      }
      case Op::fail: {
        std::string text = code.head.texts[i.a];
        const char* before = ": ";
        for (const Typed& value : frame.list(i.b)) {
          text += before + text_of(r[value.reg], value.type);
          before = ", ";
        }
        frame.refuse(FailureCode::raised, std::move(text), i.line);
        return refused();
      }
    }
  }
}

tl::expected<Cells, Failure> Machine::run(const Cells& scalars,
                                          const std::vector<TensorView>& tensors,
                                          const std::atomic<bool>* cancelled) const {
  const Kernel& head = codes_.back()->head;
  auto dims = bind_dims(head, tensors, true);
  if (!dims)
    return tl::make_unexpected(Failure{.code = FailureCode::bad_shape,
                                       .text = std::move(dims.error()),
                                       .kernel = head.name,
                                       .file = {}});
  return run_code(codes_.size() - 1, scalars, tensors, std::move(*dims), cancelled);
}

}  // namespace outrigger::kernel
