#include <algorithm>

#include "kernel/emit/function.hpp"

namespace outrigger::kernel {

std::string FunctionEmitter::cell_address(std::size_t cell) {
  if (cell == 0) return "%f";
  return w_.value("getelementptr inbounds i64, ptr %f, i64 ", cell);
}

/// An address in the frame, which does not change.
std::string FunctionEmitter::load_pointer(std::size_t cell) {
  const std::string address = cell_address(cell);
  return w_.value("load ptr, ptr ", address, ", !invariant.load !2");
}

std::string FunctionEmitter::as_cell(const std::string& value, Type type) {
  const std::string_view t = ir_type(type);
  if (type == Type::f64) return w_.value("bitcast double ", value, " to i64");
  if (type == Type::f32) {
    const std::string bits = w_.value("bitcast float ", value, " to i32");
    return w_.value("zext i32 ", bits, " to i64");
  }
  if (t == "i64") return value;
  const bool is_signed = is_integer(type) && !is_unsigned(type);
  return w_.value(is_signed ? "sext " : "zext ", t, " ", value, " to i64");
}

std::string FunctionEmitter::from_cell(const std::string& cell, Type type) {
  const std::string_view t = ir_type(type);
  if (type == Type::f64) return w_.value("bitcast i64 ", cell, " to double");
  if (type == Type::f32) {
    const std::string bits = w_.value("trunc i64 ", cell, " to i32");
    return w_.value("bitcast i32 ", bits, " to float");
  }
  return t == "i64" ? cell : w_.value("trunc i64 ", cell, " to ", t);
}

void FunctionEmitter::fail_with(std::size_t site, const std::vector<std::string>& cells) {
  Emission& out = module_.out;
  out.cells = std::max(out.cells, out.values + cells.size());
  for (std::size_t i = 0; i < cells.size(); ++i)
    w_.line("store i64 ", cells[i], ", ptr ", cell_address(out.values + i));
  w_.line("store i64 ", site, ", ptr ", cell_address(FrameCell::site));
  w_.end("ret ", results_, " ", w_.value("insertvalue ", results_, " zeroinitializer, i32 1, 0"));
}

void FunctionEmitter::fail(Site site, const std::vector<std::string>& cells) {
  site.kernel = number_;
  module_.out.sites.push_back(std::move(site));
  fail_with(module_.out.sites.size() - 1, cells);
}

void FunctionEmitter::require(const std::string& condition, Site site,
                              const std::vector<std::string>& cells) {
  const std::string fine = w_.label();
  const std::string cold = w_.cold([&] { fail(std::move(site), cells); });
  w_.branch(condition, fine, cold, likely);
  w_.begin(fine);
}

void FunctionEmitter::check_index(std::uint32_t tensor, std::uint32_t axis,
                                  std::uint32_t expression, const std::string& index,
                                  std::uint32_t line) {
  const std::string& size = tensors_[tensor].sizes[axis];
  const bool proven = is_inside(expression, tensor, axis);
  if (proven && !module_.options.trap) return;
  const std::string within = w_.value("icmp ult i64 ", index, ", ", size);
  if (proven) return trap_unless(within);
  require(within,
          {.kind = Site::Kind::index,
           .line = line,
           .at = tensor,
           .axis = axis,
           .types = {type_of(expression), Type::s64}},
          {index, size});
}

/// A test's check of what was proven.
void FunctionEmitter::trap_unless(const std::string& condition) {
  const std::string fine = w_.label();
  const std::string trap = w_.cold([&] {
    w_.line("call void @llvm.trap()");
    w_.end("unreachable");
  });
  w_.branch(condition, fine, trap, likely);
  w_.begin(fine);
}

std::string FunctionEmitter::element(std::uint32_t tensor,
                                     const std::vector<std::uint32_t>& operands, std::size_t from,
                                     std::uint32_t line) {
  const TensorValue& value = tensors_[tensor];
  std::vector<std::string> indices;
  for (std::size_t i = from; i < operands.size(); ++i) {
    const std::string index = expression(operands[i]);
    // A negative index is a large one.
    indices.push_back(as_cell(index, type_of(operands[i])));
  }
  std::string offset;
  for (std::size_t axis = 0; axis < indices.size(); ++axis)
    check_index(tensor, static_cast<std::uint32_t>(axis), operands[from + axis], indices[axis],
                line);
  // The elements before one that exists fit an integer.
  for (std::size_t axis = 0; axis < value.sizes.size(); ++axis) {
    if (axis > 0) offset = w_.value("mul nuw nsw i64 ", offset, ", ", value.sizes[axis]);
    if (axis >= indices.size()) continue;
    offset = axis == 0 ? indices[0] : w_.value("add nuw nsw i64 ", offset, ", ", indices[axis]);
  }
  return w_.value("getelementptr inbounds ", ir_type(kernel_.tensors[tensor].type), ", ptr ",
                  value.address, ", i64 ", offset);
}

std::vector<std::string> FunctionEmitter::call(const Node& n) {
  const CheckedKernel& checked = unit_.kernels[n.at];
  const Kernel& callee = checked.kernel;
  // First the values of all arguments, then the checks of parts, then those of sizes.
  struct Given {
    std::vector<std::string> indices;
    std::string value;
  };
  std::vector<Given> given;
  for (const Argument& argument : n.arguments) {
    Given& one = given.emplace_back();
    if (!argument.is_tensor) one.value = expression(argument.at);
    for (const std::uint32_t index : argument.indices)
      one.indices.push_back(as_cell(expression(index), type_of(index)));
  }
  std::string tensors;
  std::string scalars;
  std::vector<std::vector<std::string>> sizes;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Argument& argument = n.arguments[i];
    if (!argument.is_tensor) {
      scalars += cat(", ", ir_type(callee.params[i].type), " ", given[i].value);
      continue;
    }
    const TensorValue& whole = tensors_[argument.at];
    std::string address = whole.address;
    std::string offset;
    for (std::size_t axis = 0; axis < given[i].indices.size(); ++axis) {
      check_index(argument.at, static_cast<std::uint32_t>(axis), argument.indices[axis],
                  given[i].indices[axis], n.line);
    }
    // A part may have no elements, and the product of the other sizes then has no bound: no nuw.
    for (std::size_t axis = 0; axis < whole.sizes.size() && !given[i].indices.empty(); ++axis) {
      if (axis > 0) offset = w_.value("mul i64 ", offset, ", ", whole.sizes[axis]);
      if (axis >= given[i].indices.size()) continue;
      offset = axis == 0 ? given[i].indices[0]
                         : w_.value("add i64 ", offset, ", ", given[i].indices[axis]);
    }
    if (!offset.empty())
      address = w_.value("getelementptr ", ir_type(kernel_.tensors[argument.at].type), ", ptr ",
                         address, ", i64 ", offset);
    tensors += cat(", ptr ", address);
    auto& own = sizes.emplace_back(
        whole.sizes.begin() + static_cast<std::ptrdiff_t>(given[i].indices.size()),
        whole.sizes.end());
    for (const std::string& size : own) tensors += cat(", i64 ", size);
  }
  std::vector<std::string> dims(callee.dims);
  bind_sizes(n, callee, sizes, dims);
  for (const std::string& dim : dims) tensors += cat(", i64 ", dim);
  const Work& work = module_.works[n.at];
  if (work.loops) save_budget();
  const std::string type = result_type(callee);
  const std::string result =
      w_.value("call ", type, " @k", n.at, "(ptr %f, ptr ", free_, tensors, scalars, ")");
  const std::string failed = w_.value("extractvalue ", type, " ", result, ", 0");
  const std::string fine = w_.label();
  const std::string cold = w_.cold([&] {
    // The callee has told the site.
    w_.end("ret ", results_, " ", w_.value("insertvalue ", results_, " zeroinitializer, i32 1, 0"));
  });
  w_.branch(w_.value("icmp eq i32 ", failed, ", 0"), fine, cold, likely);
  w_.begin(fine);
  if (work.loops) load_budget();
  std::vector<std::string> results;
  for (std::size_t i = 0; i < callee.results.size(); ++i)
    results.push_back(w_.value("extractvalue ", type, " ", result, ", ", i + 1));
  return results;
}

/// The values of a callee's dimension names.
void FunctionEmitter::bind_sizes(const Node& n, const Kernel& callee,
                                 const std::vector<std::vector<std::string>>& sizes,
                                 std::vector<std::string>& dims) {
  std::uint32_t tensor = 0;
  for (const Param& param : callee.params) {
    if (param.mode == Mode::scalar) continue;
    const std::uint32_t number = tensor++;
    for (std::uint32_t axis = 0; axis < param.dims.size(); ++axis) {
      if (too_long()) return;
      const Dim& dim = param.dims[axis];
      if (dim.kind == Dim::Kind::any) continue;
      const std::string& size = sizes[number][axis];
      Site site{.kind = Site::Kind::shape,
                .line = n.line,
                .at = n.at,
                .tensor = number,
                .axis = axis,
                .types = {Type::s64, Type::s64}};
      if (dim.kind == Dim::Kind::name && dims[dim.name].empty()) {
        dims[dim.name] = size;
        if (dim.plus == 0) continue;
        dims[dim.name] = w_.value("sub nsw i64 ", size, ", ", dim.plus);
        site.at_least = true;
        require(w_.value("icmp sge i64 ", dims[dim.name], ", 0"), std::move(site),
                {size, std::to_string(dim.plus)});
        continue;
      }
      std::string expected = std::to_string(dim.plus);
      if (dim.kind == Dim::Kind::name) {
        expected = dims[dim.name];
        if (dim.plus != 0) expected = w_.value("add nsw i64 ", expected, ", ", dim.plus);
      }
      if (expected == size) continue;
      require(w_.value("icmp eq i64 ", size, ", ", expected), std::move(site), {size, expected});
    }
  }
}

}  // namespace outrigger::kernel
