#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.hpp"
#include "kernel/interpret.hpp"
#include "wire/kernel_unit.hpp"
#include "wire/value.hpp"

namespace outrigger::kernel {

/// The file protocol/golden/kernels/examples.msgpack.
class GoldenUnits {
 public:
  GoldenUnits() : parser_(Limits{}) {
    std::ifstream file(OUTRIGGER_SOURCE_DIR "/protocol/golden/kernels/examples.msgpack",
                       std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }

  /// An array of maps, valid until the next call.
  wire::Value cases() {
    auto parsed = parser_.parse(bytes_);
    if (!parsed) throw std::runtime_error(parsed.error());
    return *parsed;
  }

  /// The unit of a case.
  Unit unit(std::string_view name) {
    for (wire::Value item : cases().items()) {
      bool found = false;
      const wire::Value* unit = nullptr;
      std::vector<wire::Value> units;
      for (auto [key, value] : item.entries()) {
        if (key == "name") found = value.string() == name;
        if (key == "unit") units.push_back(value);
      }
      unit = units.empty() ? nullptr : &units.front();
      if (!found || unit == nullptr) continue;
      auto read = wire::read_kernel_unit(*unit);
      if (!read) throw std::runtime_error(read.error().text);
      return std::move(*read);
    }
    throw std::runtime_error("no such case");
  }

 private:
  wire::ValueParser parser_;
  std::vector<std::uint8_t> bytes_;
};

/// A run with memory of its own.
inline tl::expected<std::vector<std::uint64_t>, Failure> run_alone(
    const Machine& machine, const std::vector<std::uint64_t>& scalars,
    const std::vector<TensorView>& tensors, const ops::Interrupt& interrupt = {}) {
  std::vector<Sizes> shapes;
  for (const TensorView& tensor : tensors) shapes.push_back(tensor.dims);
  std::vector<std::uint64_t> memory((machine.memory_for(shapes) + 7) / 8);
  return machine.run({scalars, tensors, std::as_writable_bytes(std::span(memory)), interrupt});
}

}  // namespace outrigger::kernel
