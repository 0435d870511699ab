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

/// What an op is to the planner.
enum class Kind : std::uint8_t {
  elementwise,  ///< a kernel over tiles: fuses with its neighbours
  view,         ///< another window onto the operand's memory: no work
  constant,     ///< one number (the attribute "value") in every position: no memory of its own
  create,       ///< makes its result from attributes only
  compute,      ///< reads operands, writes a result of its own
  update,       ///< changes a few places of a copy of operand 0 (or of operand 0 itself)
  fold,         ///< applies its region to elements; lifted, or carried out by the engine
  control,      ///< has regions; carried out by the engine
};

/// How an op's work grows with the elements of its operands and results: what is little may run on
/// the I/O thread.
enum class Cost : std::uint8_t {
  linear,
  transform,  ///< some dozens of operations for each element
  quadratic,  ///< products, windows
  unbounded,  ///< may be far more than the elements tell
};

struct OperandSpec {
  std::string_view name;
  bool many = false;  ///< the last operand may stand for any number
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

/// An operand as inference sees it: a tensor's type, or a literal (then type is the literal's own).
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
  /// The dtype that each operand is cast to before the op runs.
  boost::container::small_vector<DType, 4> operands;
  /// The dtype whose kernel runs, where operands and results do not tell; a small one is widened by
  /// rows of any_dtype themselves.
  DType compute = DType::f32;
  /// The dtype that the op's kernel gives for each result, which is then cast to the result's own.
  /// Rows of any_dtype may give it; where a row leaves it empty, ops::infer fills it in.
  boost::container::small_vector<DType, 1> raw;
};

/// One execution of an op. Operands have the dtypes that inference asked for.
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
  /// Known to be in C order.
  bool plain = false;
  /// May lie in the memory that the op writes.
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

/// One row of the catalogue: all there is to know of an op.
struct OpRow {
  std::string_view name;
  std::string_view family;
  Kind kind = Kind::compute;
  std::vector<OperandSpec> operands = {};
  std::vector<AttrSpec> attrs = {};
  std::vector<std::string_view> regions = {};
  /// Number of results; control ops give what their regions give.
  int results = 1;
  /// Position of the operand that the in-place form writes; -1: no such form.
  int in_place = -1;
  /// Elementwise: operands that are taken as true or false (a bit each), whatever their dtype.
  std::uint8_t boolean_operands = 0;
  /// Elementwise: operands of which only the shape matters (a bit each).
  std::uint8_t shape_operands = 0;
  /// The op moves elements, or looks after small and complex dtypes itself: it gets them as they
  /// are. Other rows never see a small dtype: ops::infer has their operands widened to
  /// compute_dtype, and their results rounded or wrapped to the dtype that they inferred.
  bool any_dtype = false;
  /// `run` has kernels for c64 and c128 (elementwise: `complex_tile`). Without it, and without
  /// any_dtype, complex operands are refused.
  bool complex = false;
  /// Complex operands are refused in spite of any_dtype: they have no order, or no bits to count.
  bool real_only = false;
  Cost cost = Cost::linear;
  /// What `run` gives for a result of a small float: f64 if it accumulates there, so that the
  /// result is rounded once.
  DType small_float_result = DType::f32;

  /// Checks operands and attributes, gives the result types. Null for control ops.
  Result<Inferred> (*infer)(const InferCall& call) = nullptr;
  /// Elementwise: how far a real float may be from the exact result, at most, in units in the last
  /// place of the dtype that is computed in (0: it is the nearest one). Complex numbers have no
  /// such bound.
  double ulp = 0;
  /// View: elements keep their order, so that a view of memory in C order is in C order.
  bool keeps_order = false;

  /// Elementwise: the kernel for a compute dtype. Null if casting the operand is all there is to
  /// do. If its function object is OnLanes, passes with the op can be compiled.
  Kernel (*tile)(DType compute) = nullptr;
  /// The same for c64 and c128. Null if the op has no meaning for complex numbers.
  Kernel (*complex_tile)(DType compute) = nullptr;
  /// View: the window. May fail only for operands whose values matter.
  Result<Tensor> (*view)(const ViewCall& call) = nullptr;
  /// Create, compute and update. For update, out[0] already holds operand 0's elements; it must
  /// not be written before every check has passed.
  Result<void> (*run)(const RunCall& call) = nullptr;
  /// Compute, with one operand and one result: what `run` does, if a pass can end in it; `result`
  /// is the dtype that the kernel gives. Null for other ops.
  Reduction (*reduction)(const TensorType& operand, DType result, const AttrView& attrs) = nullptr;
  /// Compute, with one result: the axis of the result of which slices are, bit for bit, what `run`
  /// gives for the same slices of operand 0 along `axis`, if they are of two positions or more.
  /// Null or none: there is no such axis.
  std::optional<std::size_t> (*sliced_axis)(const InferCall& call, std::size_t axis) = nullptr;
  /// Bytes of the temporaries that `run` takes beside its results, at most. Null: none. The planner
  /// counts them against the budget before anything runs.
  std::uint64_t (*scratch)(const ScratchCall& call) = nullptr;

  /// Markdown: shapes, dtypes, errors, source.
  std::string_view doc = "";
};

/// The row of an op, or null.
OUTRIGGER_EXPORT const OpRow* find_op(std::string_view name);
OUTRIGGER_EXPORT std::span<const OpRow> all_ops();

/// Whether the op takes complex operands.
OUTRIGGER_EXPORT bool takes_complex(const OpRow& row);

/// The kernel of an elementwise row for an inferred compute dtype; null if casting the operand is
/// all there is to do.
OUTRIGGER_EXPORT Kernel kernel_of(const OpRow& row, DType compute);

/// The row's inference, brought to dtypes that its kernels are written for (see OpRow::any_dtype).
/// Every size that it speaks of can be counted: results, and operands in the dtypes that they are
/// cast to. Errors: the row's, bad_dtype for complex operands of an op that has no meaning for
/// them, bad_shape.
OUTRIGGER_EXPORT Result<Inferred> infer(const OpRow& row, const InferCall& call);

/// Checks names, presence and types of the attributes. Errors: bad_attr.
OUTRIGGER_EXPORT Result<void> check_attrs(const OpRow& row, const Attrs& attrs);

/// The instruction set level that this library was built for, e.g. "x86-64-v3".
OUTRIGGER_EXPORT std::string_view isa_level();

}  // namespace outrigger::ops
