#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/kernel_unit.hpp"

namespace outrigger::test {

/// Builds a kernel node by node. Each function returns the position of its node.
class KernelBuilder {
 public:
  using At = std::uint32_t;
  using What = kernel::What;

  explicit KernelBuilder(std::string name) { kernel.name = std::move(name); }

  At node(kernel::Node node) {
    node.line = line;
    kernel.nodes.push_back(std::move(node));
    return static_cast<At>(kernel.nodes.size() - 1);
  }
  At number(std::int64_t n) {
    return node({.what = What::number, .bits = static_cast<std::uint64_t>(n)});
  }
  At yes() { return node({.what = What::number, .type = kernel::Type::boolean, .bits = 1}); }
  At slot(std::uint32_t at) { return node({.what = What::slot, .at = at}); }
  At dim(std::uint32_t at) { return node({.what = What::dim, .at = at}); }
  At op(What what, std::vector<At> operands) {
    return node({.what = what, .operands = std::move(operands)});
  }
  At load(std::uint32_t tensor, At index) {
    return node({.what = What::load, .at = tensor, .operands = {index}});
  }
  At store(std::uint32_t tensor, At value, At index) {
    return node({.what = What::store, .at = tensor, .operands = {value, index}});
  }
  At block(std::vector<At> statements) {
    kernel.blocks.push_back(std::move(statements));
    return static_cast<At>(kernel.blocks.size() - 1);
  }
  /// A loop over all indices of a dimension.
  At each(std::uint32_t variable, std::uint32_t of_dim, At body) {
    const At from = number(0);
    const At end = op(What::subtract, {dim(of_dim), number(1)});
    return node({.what = What::for_, .at = variable, .operands = {from, end, number(1), body}});
  }
  At raise(std::string text, std::vector<At> values) {
    kernel.texts.push_back(std::move(text));
    return node({.what = What::raise,
                 .at = static_cast<std::uint32_t>(kernel.texts.size() - 1),
                 .operands = std::move(values)});
  }
  kernel::Unit unit() const { return {.files = {"lib/a.ex"}, .kernels = {kernel}}; }

  kernel::Kernel kernel;
  std::uint32_t line = 1;
};

inline kernel::Dim named(std::uint32_t dim) { return {kernel::Dim::Kind::name, dim, 0}; }

/// bump(a :: mut(s64[n]), x :: s64) :: s64. It adds x to each element, raises an error in line 9 if
/// x is 13, and gives 2 * x.
inline kernel::Unit bump_unit() {
  using kernel::Mode;
  using kernel::Type;
  KernelBuilder b("A.bump/2");
  b.kernel.dims = 1;
  b.kernel.params = {{Mode::mut, Type::s64, {named(0)}}, {Mode::scalar, Type::s64, {}}};
  b.kernel.tensors = {"a"};
  b.kernel.slots = {Type::s64, Type::s64};
  b.kernel.results = {Type::s64};
  const auto old = b.load(0, b.slot(1));
  const auto sum = b.op(kernel::What::add, {old, b.slot(0)});
  const auto body = b.block({b.store(0, sum, b.slot(1))});
  const auto all = b.each(1, 0, body);
  b.line = 9;
  const auto fails = b.block({b.raise("unlucky", {b.slot(0)})});
  const auto fine = b.block({});
  const auto unlucky = b.op(kernel::What::equal, {b.slot(0), b.number(13)});
  const auto check = b.op(kernel::What::if_, {unlucky, fails, fine});
  const auto twice = b.op(kernel::What::multiply, {b.slot(0), b.number(2)});
  b.block({all, check, b.op(kernel::What::return_, {twice})});
  return b.unit();
}

/// double(a :: s64[n], out :: new(s64[n])), by way of scratch memory of that size.
inline kernel::Unit double_unit() {
  using kernel::Mode;
  using kernel::Type;
  KernelBuilder b("A.double/1");
  b.kernel.dims = 1;
  b.kernel.params = {{Mode::in, Type::s64, {named(0)}}, {Mode::fresh, Type::s64, {named(0)}}};
  b.kernel.scratch = {{Type::s64, {named(0)}}};
  b.kernel.tensors = {"a", "out", "t"};
  b.kernel.slots = {Type::s64};
  const auto copied = b.load(0, b.slot(0));
  const auto first = b.block({b.store(2, copied, b.slot(0))});
  const auto fill = b.each(0, 0, first);
  const auto half = b.load(2, b.slot(0));
  const auto sum = b.op(kernel::What::add, {half, b.load(2, b.slot(0))});
  const auto second = b.block({b.store(1, sum, b.slot(0))});
  const auto give = b.each(0, 0, second);
  b.block({fill, give});
  return b.unit();
}

/// at(a :: s64[n], i :: s64) :: s64, the element at i, in line 4.
inline kernel::Unit at_unit() {
  using kernel::Mode;
  using kernel::Type;
  KernelBuilder b("A.at/2");
  b.kernel.dims = 1;
  b.kernel.params = {{Mode::in, Type::s64, {named(0)}}, {Mode::scalar, Type::s64, {}}};
  b.kernel.tensors = {"a"};
  b.kernel.slots = {Type::s64};
  b.kernel.results = {Type::s64};
  b.line = 4;
  const auto element = b.load(0, b.slot(0));
  b.block({b.op(kernel::What::return_, {element})});
  return b.unit();
}

/// copy(from :: s64[n], to :: mut(s64[n])).
inline kernel::Unit copy_unit() {
  using kernel::Mode;
  using kernel::Type;
  KernelBuilder b("A.copy/2");
  b.kernel.dims = 1;
  b.kernel.params = {{Mode::in, Type::s64, {named(0)}}, {Mode::mut, Type::s64, {named(0)}}};
  b.kernel.tensors = {"from", "to"};
  b.kernel.slots = {Type::s64};
  const auto element = b.load(0, b.slot(0));
  const auto body = b.block({b.store(1, element, b.slot(0))});
  const auto all = b.each(0, 0, body);
  b.block({all});
  return b.unit();
}

/// endless(a :: mut(s64[n])), which writes the element 0 and then loops.
inline kernel::Unit endless_unit() {
  using kernel::Mode;
  using kernel::Type;
  KernelBuilder b("A.endless/1");
  b.kernel.dims = 1;
  b.kernel.params = {{Mode::mut, Type::s64, {named(0)}}};
  b.kernel.tensors = {"a"};
  const auto write = b.store(0, b.number(7), b.number(0));
  const auto nothing = b.block({});
  const auto body = b.block({});
  const auto loop = b.op(kernel::What::while_, {nothing, b.yes(), body});
  b.block({write, loop});
  return b.unit();
}

}  // namespace outrigger::test
