#include "kernel/emit/emit.hpp"

#include <algorithm>

#include "kernel/emit/function.hpp"

namespace outrigger::kernel {
namespace {

/// The form of a call from outside: all that the unit's own kernel gets is in the frame.
class Entry {
 public:
  Entry(const CheckedUnit& unit, Emission& out) : kernel_(unit.kernels.back()), out_(out) {
    number_ = unit.kernels.size() - 1;
  }

  /// Gives each value its cell.
  void place() {
    const Kernel& k = kernel_.kernel;
    std::size_t next = FrameCell::count;
    out_.tensors = next;
    std::size_t tensor = 0;
    for (const Param& param : k.params)
      if (param.mode != Mode::scalar) next += 1 + kernel_.tensors[tensor++].rank;
    out_.dims = next;
    next += k.dims;
    out_.scalars = next;
    for (const Param& param : k.params) next += param.mode == Mode::scalar ? 1 : 0;
    out_.results = next;
    next += k.results.size();
    out_.values = next;
    out_.cells = next;
  }

  std::string text() {
    const Kernel& k = kernel_.kernel;
    std::string given = "ptr %f, ptr " + load("ptr", FrameCell::memory, "");
    std::size_t next = out_.tensors;
    std::size_t tensor = 0;
    for (const Param& param : k.params) {
      if (param.mode == Mode::scalar) continue;
      given += cat(", ptr ", load("ptr", next++, ""));
      for (std::uint32_t axis = 0; axis < kernel_.tensors[tensor].rank; ++axis)
        given += cat(", i64 ", load("i64", next++, size_range));
      ++tensor;
    }
    for (std::uint32_t dim = 0; dim < k.dims; ++dim)
      given += cat(", i64 ", load("i64", next++, size_range));
    // The low bytes of a cell are the value.
    for (const Param& param : k.params)
      if (param.mode == Mode::scalar)
        given += cat(", ", ir_type(param.type), " ", load(ir_type(param.type), next++, ""));
    const std::string type = result_type(k);
    const std::string result = w_.value("call ", type, " @k", number_, "(", given, ")");
    for (std::size_t i = 0; i < k.results.size(); ++i) store(type, result, i, next + i);
    const std::string failed = w_.value("extractvalue ", type, " ", result, ", 0");
    w_.end("ret i32 ", failed);
    return cat("define i32 @", entry_name, "(ptr noalias %f) #0 {\nfirst:\n", w_.text(), "}\n\n");
  }

 private:
  std::string address(std::size_t cell) {
    return w_.value("getelementptr inbounds i64, ptr %f, i64 ", cell);
  }
  std::string load(std::string_view type, std::size_t cell, std::string_view more) {
    const std::string from = address(cell);
    return w_.value("load ", type, ", ptr ", from, ", align 8", more);
  }
  void store(const std::string& type, const std::string& result, std::size_t i, std::size_t cell) {
    const Type own = kernel_.kernel.results[i];
    const std::string value = w_.value("extractvalue ", type, " ", result, ", ", i + 1);
    w_.line("store ", ir_type(own), " ", value, ", ptr ", address(cell), ", align 8");
  }

  const CheckedKernel& kernel_;
  Emission& out_;
  std::size_t number_ = 0;
  Writer w_;
};

constexpr std::string_view declared_always = R"(declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare i32 @llvm.umin.i32(i32, i32)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.trap()
)";

/// Declares the functions of one operand for each type.
std::string declarations() {
  std::string text(declared_always);
  for (const std::string_view type : {"i8", "i16", "i32", "i64"}) {
    text += cat("declare ", type, " @llvm.ctpop.", type, "(", type, ")\n");
    for (const std::string_view name : {"abs", "ctlz", "cttz"})
      text += cat("declare ", type, " @llvm.", name, ".", type, "(", type, ", i1)\n");
  }
  for (const std::string_view name : {"fabs", "sqrt", "floor", "ceil", "trunc"})
    text += cat("declare float @llvm.", name, ".f32(float)\n", "declare double @llvm.", name,
                ".f64(double)\n");
  return text;
}

/// #1: local arrays may be larger than a page; each page of the stack is touched in its order.
/// #2: a look at the interrupt changes no memory of the kernel. #3: functions of numbers.
constexpr std::string_view module_attributes = R"(
attributes #0 = { nounwind "prefer-vector-width"="256" }
attributes #1 = { nounwind "prefer-vector-width"="256" "probe-stack"="inline-asm" }
attributes #2 = { nounwind memory(inaccessiblemem: readwrite) }
attributes #3 = { nounwind willreturn memory(none) }

!0 = !{!"branch_weights", i32 1048575, i32 1}
!1 = !{i64 0, i64 9007199254740992}
!2 = !{}
)";

}  // namespace

Emission emit(const CheckedUnit& unit, const EmitOptions& options) {
  Emission out;
  out.sites.push_back({});
  Entry entry(unit, out);
  entry.place();
  Module module{.unit = unit, .options = options, .out = out};
  module.metadata = 3;
  for (std::uint32_t number = 0; number < unit.kernels.size() && !out.too_long; ++number)
    out.text += FunctionEmitter(module, number).run();
  if (out.too_long || out.text.size() + module.metadata_text.size() > module_bytes_max) {
    out.too_long = true;
    return out;
  }
  out.text += entry.text() + declarations();
  out.text += module_attributes;
  out.text += module.metadata_text;
  return out;
}

}  // namespace outrigger::kernel
