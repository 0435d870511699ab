#include "kernel/emit/function.hpp"

#include <algorithm>

namespace outrigger::kernel {
namespace {

/// With more tensors, the text about which ones do not overlap would be longer than the code.
constexpr std::size_t aliases_max = 32;

std::string alignment(Type type) { return std::to_string(bytes_of(type)); }

}  // namespace

std::string result_type(const Kernel& kernel) {
  std::string type = "{ i32";
  for (const Type result : kernel.results) type += cat(", ", ir_type(result));
  return type + " }";
}

FunctionEmitter::FunctionEmitter(Module& module, std::uint32_t number)
    : module_(module),
      unit_(module.unit),
      kernel_(module.unit.kernels[number]),
      number_(number),
      results_(result_type(kernel_.kernel)),
      work_(work_of_kernel(kernel_.kernel, module.works)),
      bounds_(kernel_) {}

std::string FunctionEmitter::run() {
  const std::string declared = head();
  tensors();
  if (work_.loops) {
    budget_ = w_.variable("i64", "0");
    load_budget();
  }
  block(static_cast<std::uint32_t>(kernel_.kernel.blocks.size() - 1));
  // The check has shown that a kernel with results does not come here.
  if (!w_.ended()) {
    std::vector<std::string> values;
    for (const Type type : kernel_.kernel.results)
      values.emplace_back(is_float(type) ? "0.0" : "0");
    give_back(values);
  }
  module_.works.push_back(work_);
  return declared + w_.text() + "}\n\n";
}

std::string FunctionEmitter::head() {
  const Kernel& k = kernel_.kernel;
  std::string head = cat("define internal ", results_, " @k", number_, "(ptr noalias %f, ptr %m");
  const std::string size = "i64 range(i64 0, 9007199254740992) %";
  std::size_t scalar = 0;
  std::string scalars;
  for (const Param& param : k.params) {
    if (param.mode == Mode::scalar) {
      const std::string name = cat("s", scalar++);
      scalars += cat(", ", ir_type(param.type), " %", name);
      slots_.push_back(w_.variable(ir_type(param.type), "%" + name));
      continue;
    }
    const std::size_t t = tensors_.size();
    TensorValue& tensor = tensors_.emplace_back();
    tensor.address = cat("%a", t);
    head += cat(", ptr noalias ", tensor.address);
    for (std::size_t axis = 0; axis < param.dims.size(); ++axis) {
      const std::string name = cat("n", t, "_", axis);
      tensor.sizes.push_back("%" + name);
      head += cat(", ", size, name);
    }
  }
  for (std::uint32_t dim = 0; dim < k.dims; ++dim) head += cat(", ", size, "d", dim);
  // A variable that is not assigned yet has a value, too: nothing undefined is written.
  while (slots_.size() < k.slots.size()) {
    const Type type = k.slots[slots_.size()];
    const std::string_view zero = type == Type::boolean ? "false" : is_float(type) ? "0.0" : "0";
    slots_.push_back(w_.variable(ir_type(type), zero));
  }
  // Local arrays of an inlined kernel would all be in the frame of its caller.
  const bool local = !k.local.empty();
  return head + scalars + (local ? ") noinline #1 {\nfirst:\n" : ") #0 {\nfirst:\n");
}

std::string FunctionEmitter::size_of_dim(const Dim& dim) {
  if (dim.kind == Dim::Kind::number) return std::to_string(dim.plus);
  std::string name = cat("%d", dim.name);
  if (dim.plus == 0) return name;
  std::string sum = w_.value("add nsw i64 ", name, ", ", dim.plus);
  if (dim.plus > 0) return sum;
  return w_.value("call i64 @llvm.smax.i64(i64 ", sum, ", i64 0)");
}

/// Scratch and local arrays, which are zero at first.
void FunctionEmitter::tensors() {
  const Kernel& k = kernel_.kernel;
  free_ = "%m";
  for (const Array& array : k.scratch) {
    TensorValue tensor;
    tensor.address = free_;
    std::string bytes = std::to_string(bytes_of(array.type));
    for (const Dim& dim : array.dims) {
      tensor.sizes.push_back(size_of_dim(dim));
      bytes = w_.value("mul i64 ", bytes, ", ", tensor.sizes.back());
    }
    // Each array begins at a multiple of 8.
    const std::string more = w_.value("add i64 ", bytes, ", 7");
    const std::string whole = w_.value("and i64 ", more, ", -8");
    const std::string run = load_pointer(FrameCell::run);
    const std::string clear = load_pointer(FrameCell::clear);
    const std::string ended =
        w_.value("call i32 ", clear, "(ptr ", run, ", ptr ", tensor.address, ", i64 ", whole, ")");
    const std::string fine = w_.value("icmp eq i32 ", ended, ", 0");
    require(fine, {.kind = Site::Kind::interrupted}, {});
    free_ = w_.value("getelementptr i8, ptr ", free_, ", i64 ", whole);
    tensors_.push_back(std::move(tensor));
  }
  for (const Array& array : k.local) {
    const std::int64_t n = array.dims.front().plus;
    TensorValue tensor;
    tensor.address = w_.memory(cat("[", n, " x ", ir_type(array.type), "]"), "32");
    tensor.sizes.push_back(std::to_string(n));
    w_.line("call void @llvm.memset.p0.i64(ptr align 32 ", tensor.address, ", i8 0, i64 ",
            n * bytes_of(array.type), ", i1 false)");
    tensors_.push_back(std::move(tensor));
  }
  alias_metadata();
}

/// No two tensors overlap, if one of them is written.
void FunctionEmitter::alias_metadata() {
  for (std::size_t t = 0; t < tensors_.size(); ++t)
    tensors_[t].metadata = cat(", align ", alignment(kernel_.tensors[t].type));
  if (tensors_.size() < 2 || tensors_.size() > aliases_max) return;
  std::string& text = module_.metadata_text;
  const std::uint32_t domain = module_.metadata++;
  text += cat("!", domain, " = distinct !{!", domain, "}\n");
  const std::uint32_t scopes = module_.metadata;
  module_.metadata += static_cast<std::uint32_t>(tensors_.size());
  for (std::size_t t = 0; t < tensors_.size(); ++t)
    text += cat("!", scopes + t, " = distinct !{!", scopes + t, ", !", domain, "}\n");
  for (std::size_t t = 0; t < tensors_.size(); ++t) {
    const std::uint32_t own = module_.metadata++;
    const std::uint32_t others = module_.metadata++;
    text += cat("!", own, " = !{!", scopes + t, "}\n!", others, " = !{");
    std::string_view comma;
    for (std::size_t other = 0; other < tensors_.size(); ++other) {
      if (other == t) continue;
      text += cat(comma, "!", scopes + other);
      comma = ", ";
    }
    text += "}\n";
    tensors_[t].metadata += cat(", !alias.scope !", own, ", !noalias !", others);
  }
}

void FunctionEmitter::save_budget() {
  if (budget_.empty()) return;
  const std::string left = w_.value("load i64, ptr ", budget_);
  w_.line("store i64 ", left, ", ptr ", cell_address(FrameCell::budget));
}

void FunctionEmitter::load_budget() {
  const std::string left = w_.value("load i64, ptr ", cell_address(FrameCell::budget));
  w_.line("store i64 ", left, ", ptr ", budget_);
}

void FunctionEmitter::give_back(const std::vector<std::string>& values) {
  save_budget();
  std::string result = "zeroinitializer";
  for (std::size_t i = 0; i < values.size(); ++i)
    result = w_.value("insertvalue ", results_, " ", result, ", ",
                      ir_type(kernel_.kernel.results[i]), " ", values[i], ", ", i + 1);
  w_.end("ret ", results_, " ", result);
}

}  // namespace outrigger::kernel
