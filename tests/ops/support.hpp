#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ops/cast/cast.hpp"
#include "ops/op.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops::test {

template <typename T>
constexpr DType dtype_of() {
  for (const DType dtype : kernel_dtypes) {
    if (with_type(dtype, [](auto tag) { return std::is_same_v<typename decltype(tag)::type, T>; }))
      return dtype;
  }
  return DType::f64;
}

/// The context of a kernel, and functions that make tensors.
class Lab {
 public:
  explicit Lab(std::uint64_t limit = 0) : memory(limit) {}

  Context context(int threads = 1) { return Context{memory, interrupt, threads, scratch}; }

  template <typename T>
  Tensor tensor(const Dims& shape, const std::vector<T>& values) {
    Tensor made = empty(dtype_of<T>(), shape);
    std::copy(values.begin(), values.end(), made.as<T>());
    return made;
  }
  Tensor empty(DType dtype, const Dims& shape) {
    auto made = allocate_tensor(memory, TensorType{dtype, shape});
    EXPECT_TRUE(made);
    std::memset(made->storage->buffer->data(), 0xCD, made->storage->buffer->bytes());
    return std::move(*made);
  }

  /// Infers, and runs a create, compute or update op without casts. The operands must have the
  /// dtypes that the op requests.
  Result<Tensor> run(std::string_view name, const std::vector<Tensor>& in, const Attrs& attrs = {},
                     int threads = 1) {
    OUTRIGGER_TRY(std::vector<Tensor> out, run_all(name, in, attrs, threads));
    return std::move(out[0]);
  }

  /// run() for an op with several results.
  Result<std::vector<Tensor>> run_all(std::string_view name, const std::vector<Tensor>& in,
                                      const Attrs& attrs = {}, int threads = 1) {
    const OpRow& row = *find_op(name);
    std::vector<InferOperand> operands;
    for (const Tensor& tensor : in) operands.push_back(InferOperand{tensor.type});
    OUTRIGGER_TRY(const Inferred inferred, row.infer(InferCall{operands, AttrView(attrs)}));
    std::vector<Tensor> out;
    for (const TensorType& type : inferred.results) out.push_back(empty(type.dtype, type.shape));
    Context here = context(threads);
    if (row.kind == Kind::update) OUTRIGGER_CHECK(copy_tensor(here, in[0], out[0]));
    OUTRIGGER_CHECK(row.run(RunCall{here, in, out, AttrView(attrs), inferred.compute}));
    return out;
  }

  Memory memory;
  Interrupt interrupt;
  std::vector<std::byte> scratch;
};

template <typename T>
std::vector<T> values(const Tensor& tensor) {
  std::vector<T> all(static_cast<std::size_t>(tensor.size()));
  if (!all.empty()) read_elements(tensor, 0, tensor.size(), all.data());
  return all;
}

/// The raw bytes of the elements in C order, for a comparison bit for bit.
inline std::vector<std::byte> bytes(const Tensor& tensor) {
  std::vector<std::byte> all(static_cast<std::size_t>(byte_count(tensor.type)));
  if (!all.empty()) read_elements(tensor, 0, tensor.size(), all.data());
  return all;
}

/// Builds a Pass from the names of ops.
class PassMaker {
 public:
  PassMaker(Dims space, std::vector<DType> inputs) {
    pass_.space = std::move(space);
    pass_.inputs = static_cast<std::uint16_t>(inputs.size());
    pass_.registers = std::move(inputs);
  }
  Pass::Register apply(std::string_view op, DType compute, std::vector<Pass::Register> in,
                       std::optional<DType> result = {}) {
    return add(find_op(op)->tile(compute), result.value_or(compute), in);
  }
  Pass::Register cast(Pass::Register from, DType to) {
    for (const CastStep& step : cast_steps(pass_.registers[from], to))
      from = add(step.kernel(), step.to, {from});
    return from;
  }
  Pass done(std::vector<Pass::Register> stores) {
    pass_.stores = std::move(stores);
    pass_.finish();
    return pass_;
  }
  Pass::Register truth(Pass::Register from) {
    for (const CastStep& step : boolean_steps(pass_.registers[from]))
      from = add(step.kernel(), step.to, {from});
    return from;
  }
  /// The number of registers.
  std::size_t size() const { return pass_.registers.size(); }

  Pass::Register add(const Kernel& kernel, DType result, const std::vector<Pass::Register>& in) {
    EXPECT_NE(kernel.run, nullptr);
    Pass::MicroOp op{
        .run = kernel.run, .arity = static_cast<std::uint8_t>(in.size()), .record = kernel.record};
    op.out = static_cast<Pass::Register>(pass_.registers.size());
    op.in.fill(in[0]);
    std::copy(in.begin(), in.end(), op.in.begin());
    pass_.registers.push_back(result);
    pass_.micro_ops.push_back(op);
    return op.out;
  }

 private:
  Pass pass_;
};

}  // namespace outrigger::ops::test
