#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "base/error.hpp"
#include "base/program.hpp"
#include "ops/pass/folding.hpp"
#include "ops/pass/pass.hpp"
#include "ops/support/context.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ops {

/// The way in which the planner handles an op.
enum class Kind : std::uint8_t {
  elementwise,  ///< a kernel over tiles: it is fused with its neighbours
  view,         ///< another window onto the operand's memory, without work
  constant,     ///< one number (the attribute "value") at every position, without memory
  create,       ///< the result depends on attributes only
  compute,      ///< reads its operands, writes a result with memory of its own
  update,       ///< changes some elements of a copy of operand 0, or of operand 0 itself
  fold,         ///< applies its region to elements; the region is lifted, or the engine runs it
  control,      ///< an op with regions that the engine runs
};

/// The growth of an op's work with the elements of its operands and results. Ops with little work
/// may run on the I/O thread.
enum class Cost : std::uint8_t {
  linear,
  transform,  ///< some dozens of operations for each element
  quadratic,  ///< products, windows
  unbounded,  ///< may be much larger than the elements show
};

struct OperandSpec {
  std::string_view name;
  bool many = false;  ///< the last operand may be repeated any number of times
};

enum class AttrType : std::uint8_t {
  integer,
  integers,
  number,
  boolean,
  string,
  dtype,
  shape,
  binary
};

struct AttrSpec {
  std::string_view name;
  AttrType type = AttrType::integer;
  bool required = false;
  std::string_view default_text = "";
  std::string_view doc = "";
};

/// The attributes of one instruction, checked against its row.
class OUTRIGGER_EXPORT AttrView {
 public:
  explicit AttrView(const Attrs& attrs) : attrs_(attrs) {}

  bool has(std::string_view name) const { return find(name) != nullptr; }
  std::int64_t integer(std::string_view name, std::int64_t otherwise = 0) const;
  bool boolean(std::string_view name, bool otherwise = false) const;
  std::string_view string(std::string_view name, std::string_view otherwise = "") const;
  Number number(std::string_view name) const;
  std::span<const std::int64_t> integers(std::string_view name) const;
  DType dtype(std::string_view name, DType otherwise = DType::s32) const;
  const Bytes& binary(std::string_view name) const;

 private:
  const AttrValue* find(std::string_view name) const;
  const Attrs& attrs_;
};

/// An operand in inference: the type of a tensor, or a literal (whose own type is then `type`).
struct InferOperand {
  TensorType type;
  const Number* literal = nullptr;
};

struct InferCall {
  std::span<const InferOperand> in;
  AttrView attrs;
  std::size_t size() const { return in.size(); }
  const TensorType& type(std::size_t i) const { return in[i].type; }
};

struct Inferred {
  /// The type of each result.
  boost::container::small_vector<TensorType, 1> results;
  /// The dtype to which each operand is cast before the op runs.
  boost::container::small_vector<DType, 4> operands;
  /// The dtype of the kernel, if operands and results do not determine it. A row of any_dtype
  /// widens a small one itself.
  DType compute = DType::f32;
  /// The dtype that the kernel gives for each result; the result is then cast to its own dtype. A
  /// row of any_dtype may set it. If a row leaves it empty, ops::infer sets it.
  boost::container::small_vector<DType, 1> raw;
};

/// One execution of an op. The operands have the dtypes that inference requested.
struct RunCall {
  Context& context;
  std::span<const Tensor> in;
  std::span<const Tensor> out;
  AttrView attrs;
  /// Inferred::compute.
  DType compute = DType::f32;
};

/// An operand as the planner knows it.
struct ScratchOperand {
  const TensorType* type = nullptr;
  /// True if it is known to be in C order.
  bool plain = false;
  /// True if it may share the memory that the op writes.
  bool overlaps = false;
};

struct ScratchCall {
  std::span<const ScratchOperand> in;
  std::span<const TensorType> out;
  AttrView attrs;
  int threads = 1;
  /// Inferred::compute.
  DType compute = DType::f32;
};

struct ViewCall {
  std::span<const Tensor> in;
  AttrView attrs;
  const TensorType& result;
  bool mutable_view = false;
};

/// One row of the catalogue: the complete description of an op.
struct OpRow {
  std::string_view name;
  std::string_view family;
  Kind kind = Kind::compute;
  std::vector<OperandSpec> operands = {};
  std::vector<AttrSpec> attrs = {};
  std::vector<std::string_view> regions = {};
  /// The number of results; the regions of a control op decide it.
  int results = 1;
  /// The position of the operand that the in-place form writes; -1 if there is no such form.
  int in_place = -1;
  /// For elementwise ops: operands that are taken as true or false, whatever their dtype (one bit
  /// each).
  std::uint8_t boolean_operands = 0;
  /// For elementwise ops: operands of which only the shape is used (one bit each).
  std::uint8_t shape_operands = 0;
  /// True if the op moves elements, or handles small and complex dtypes itself: the operands keep
  /// their dtypes. Other rows never get a small dtype: ops::infer widens their operands to
  /// compute_dtype, and rounds or wraps their results to the inferred dtype.
  bool any_dtype = false;
  /// True if `run` has kernels for c64 and c128 (`complex_tile` for elementwise ops). Without it,
  /// and without any_dtype, complex operands are refused.
  bool complex = false;
  /// True if complex operands are refused although any_dtype is set: they have no order, or no bits
  /// to count.
  bool real_only = false;
  Cost cost = Cost::linear;
  /// The dtype that `run` gives for a result of a small float: f64 if it accumulates in f64, so
  /// that the result is rounded once.
  DType small_float_result = DType::f32;

  /// Checks the operands and attributes, and gives the types of the results. Null for control ops.
  Result<Inferred> (*infer)(const InferCall& call) = nullptr;
  /// For elementwise ops: the largest distance of a real float result from the exact result, in
  /// units in the last place of the dtype of the computation (0: the result is the nearest float).
  /// Each row whose results may be real floats states it. Results of complex operands have no such
  /// bound.
  std::optional<double> ulp = std::nullopt;
  /// For views: true if the elements keep their order, so that a view of memory in C order is in C
  /// order.
  bool keeps_order = false;

  /// For elementwise ops: the kernel for a compute dtype. Null if the cast of the operand is the
  /// whole op. If its function object is OnLanes, passes with the op can be compiled.
  Kernel (*tile)(DType compute) = nullptr;
  /// `tile` for c64 and c128. Null if the op has no meaning for complex numbers.
  Kernel (*complex_tile)(DType compute) = nullptr;
  /// For views: the window. It may fail only for operands whose values are read.
  Result<Tensor> (*view)(const ViewCall& call) = nullptr;
  /// For create, compute and update. With update, out[0] already holds the elements of operand 0.
  /// It must not be written before every check has passed.
  Result<void> (*run)(const RunCall& call) = nullptr;
  /// For compute, with one operand and one result: the reduction that `run` computes, if a pass can
  /// end in it; `result` is the dtype that the kernel gives. Null for other ops.
  Reduction (*reduction)(const TensorType& operand, DType result, const AttrView& attrs) = nullptr;
  /// For compute, with one result: the axis of the result along which the op can be computed by
  /// slices. Bit for bit, each slice of two positions or more along this axis equals the result of
  /// `run` for the same slice of operand 0 along `axis`. Null or nothing if there is no such axis.
  std::optional<std::size_t> (*sliced_axis)(const InferCall& call, std::size_t axis) = nullptr;
  /// The largest number of bytes of the temporaries that `run` takes beside its results. Null means
  /// none. The planner counts them against the budget before the program runs.
  std::uint64_t (*scratch)(const ScratchCall& call) = nullptr;

  /// In Markdown: shapes, dtypes, errors, source.
  std::string_view doc = "";
};

/// The row of an op, or null.
OUTRIGGER_EXPORT const OpRow* find_op(std::string_view name);
OUTRIGGER_EXPORT std::span<const OpRow> all_ops();

/// True if the op accepts complex operands.
OUTRIGGER_EXPORT bool takes_complex(const OpRow& row);

/// The kernel of an elementwise row for an inferred compute dtype; null if the cast of the operand
/// is the whole op.
OUTRIGGER_EXPORT Kernel kernel_of(const OpRow& row, DType compute);

/// The inference of the row, changed to the dtypes of the row's kernels (see OpRow::any_dtype). All
/// sizes in it are countable: those of the results, and those of the operands after their casts.
/// Errors: those of the row; bad_dtype for complex operands of an op without a meaning for them;
/// bad_shape.
OUTRIGGER_EXPORT Result<Inferred> infer(const OpRow& row, const InferCall& call);

/// Checks names, presence and types of the attributes. Errors: bad_attr.
OUTRIGGER_EXPORT Result<void> check_attrs(const OpRow& row, const Attrs& attrs);

/// The instruction set level of this build of the library, e.g. "x86-64-v3".
OUTRIGGER_EXPORT std::string_view isa_level();

}  // namespace outrigger::ops
