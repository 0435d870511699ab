#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel/check.hpp"

namespace outrigger::kernel {

/// Writes a kernel of a test, node by node.
class KernelBuilder {
 public:
  using At = std::uint32_t;

  explicit KernelBuilder(std::uint32_t dims = 0) { kernel.dims = dims; }

  static Dim named(std::uint32_t name, std::int64_t plus = 0) {
    return {Dim::Kind::name, name, plus};
  }
  At tensor(Mode mode, Type type, std::vector<Dim> dims) {
    kernel.params.push_back({mode, type, std::move(dims)});
    kernel.tensors.push_back("t" + std::to_string(kernel.tensors.size()));
    return static_cast<At>(kernel.tensors.size() - 1);
  }
  At scalar(Type type) {
    kernel.params.push_back({Mode::scalar, type, {}});
    return variable(type);
  }
  At variable(Type type) {
    kernel.slots.push_back(type);
    return static_cast<At>(kernel.slots.size() - 1);
  }

  At add(Node node) {
    node.line = static_cast<std::uint32_t>(kernel.nodes.size() + 1);
    kernel.nodes.push_back(std::move(node));
    return static_cast<At>(kernel.nodes.size() - 1);
  }
  At number(std::int64_t n, Type type = Type::s64) {
    return add({.what = What::number, .type = type, .bits = static_cast<std::uint64_t>(n)});
  }
  At slot(At at) { return add({.what = What::slot, .at = at}); }
  At dim(At at) { return add({.what = What::dim, .at = at}); }
  At of(What what, At a, At b) { return add({.what = what, .operands = {a, b}}); }
  At plus(At a, std::int64_t n) { return of(What::add, a, number(n)); }
  At load(At tensor, std::vector<At> indices) {
    return add({.what = What::load, .at = tensor, .operands = std::move(indices)});
  }
  At set(At at, At value) { return add({.what = What::set, .at = at, .operands = {value}}); }
  At store(At tensor, At value, std::vector<At> indices) {
    indices.insert(indices.begin(), value);
    return add({.what = What::store, .at = tensor, .operands = std::move(indices)});
  }
  At block(std::vector<At> statements) {
    kernel.blocks.push_back(std::move(statements));
    return static_cast<At>(kernel.blocks.size() - 1);
  }
  At range(At variable, At a, At b, std::vector<At> body) {
    const At inner = block(std::move(body));
    const At one = number(1);
    return add({.what = What::for_, .at = variable, .operands = {a, b, one, inner}});
  }
  At loop(At condition, std::vector<At> body) {
    const At before = block({});
    const At inner = block(std::move(body));
    return add({.what = What::while_, .operands = {before, condition, inner}});
  }
  At give_back(std::vector<At> values) {
    return add({.what = What::return_, .operands = std::move(values)});
  }
  /// The kernel, with the body.
  Kernel done(std::vector<At> body) {
    block(std::move(body));
    kernel.name = "built";
    return std::move(kernel);
  }

  Kernel kernel;
};

inline Unit unit_of(std::vector<Kernel> kernels) {
  return {.files = {"a.ex"}, .kernels = std::move(kernels)};
}

}  // namespace outrigger::kernel
