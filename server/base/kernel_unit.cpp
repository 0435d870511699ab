#include "base/kernel_unit.hpp"

namespace outrigger::kernel {
namespace {

template <typename T>
std::uint64_t bytes_of(const std::vector<T>& items) {
  return items.capacity() * sizeof(T);
}

std::uint64_t bytes_of_texts(const std::vector<std::string>& texts) {
  std::uint64_t bytes = bytes_of(texts);
  for (const std::string& text : texts) bytes += text.capacity();
  return bytes;
}

std::uint64_t bytes_of_arrays(const std::vector<Array>& arrays) {
  std::uint64_t bytes = bytes_of(arrays);
  for (const Array& array : arrays) bytes += bytes_of(array.dims);
  return bytes;
}

std::uint64_t bytes_of_nodes(const std::vector<Node>& nodes) {
  std::uint64_t bytes = bytes_of(nodes);
  for (const Node& node : nodes) {
    bytes += bytes_of(node.operands) + bytes_of(node.arguments);
    for (const Argument& argument : node.arguments) bytes += bytes_of(argument.indices);
  }
  return bytes;
}

}  // namespace

std::uint64_t held_bytes(const Unit& unit) {
  std::uint64_t bytes = sizeof(Unit) + bytes_of_texts(unit.files) + bytes_of(unit.kernels);
  for (const Kernel& kernel : unit.kernels) {
    bytes += kernel.name.capacity() + bytes_of(kernel.params) + bytes_of_arrays(kernel.scratch) +
             bytes_of_arrays(kernel.local) + bytes_of_texts(kernel.tensors) +
             bytes_of(kernel.slots) + bytes_of(kernel.results) + bytes_of_nodes(kernel.nodes) +
             bytes_of(kernel.blocks) + bytes_of_texts(kernel.texts);
    for (const Param& param : kernel.params) bytes += bytes_of(param.dims);
    for (const auto& block : kernel.blocks) bytes += bytes_of(block);
  }
  return bytes;
}

}  // namespace outrigger::kernel
