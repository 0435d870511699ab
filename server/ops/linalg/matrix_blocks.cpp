#include "ops/linalg/matrix_blocks.hpp"

#include <algorithm>
#include <vector>

#include "ops/cast/conversion.hpp"
#include "ops/support/strided.hpp"

namespace outrigger::ops {
namespace {

/// The approximate number of elements of a block's largest tensor, if the matrices are smaller than
/// that.
constexpr std::int64_t block_elements = std::int64_t{1} << 16;

/// The elements of one conversion of a thread.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 13;

/// The axes of the batch, and the part of each operand and result that belongs to one matrix.
struct Batch {
  explicit Batch(const TensorType& matrices)
      : axes(matrices.shape.size() - 2), count(element_count(leading(matrices.shape))) {}

  std::span<const std::int64_t> leading(const Dims& shape) const {
    return std::span(shape).first(axes);
  }
  std::span<const std::int64_t> trailing(const Dims& shape) const {
    return std::span(shape).subspan(axes);
  }
  std::int64_t elements(const TensorType& type) const {
    return element_count(trailing(type.shape));
  }

  TensorType block(const TensorType& type, DType dtype, std::int64_t matrices) const {
    TensorType part{dtype, {matrices}};
    const auto rest = trailing(type.shape);
    part.shape.append(rest.begin(), rest.end());
    return part;
  }

  std::size_t axes;  ///< the number of axes before those of a matrix
  std::int64_t count;
};

/// The dtype that a result has in a block. An integer result has its own dtype.
DType result_dtype(DType result, DType compute) {
  return is_integer(result) ? compute_dtype(result) : compute;
}

std::int64_t matrices_per_block(const Batch& batch, std::int64_t largest, int threads) {
  const std::int64_t wanted =
      std::max<std::int64_t>(threads, block_elements / std::max<std::int64_t>(1, largest));
  return std::min(wanted, batch.count);
}

/// An operand with any strides. Whole matrices are copied and converted.
class Operand {
 public:
  Operand(const Batch& batch, const Tensor& tensor, DType compute)
      : tensor_(tensor),
        batch_(batch),
        conversion_(tensor.dtype(), compute),
        compute_(compute),
        others_(Dims(tensor.shape().begin(), tensor.shape().begin() + axes()),
                Dims(tensor.strides.begin(), tensor.strides.begin() + axes())),
        rest_(Dims(tensor.shape().begin() + axes(), tensor.shape().end()),
              Dims(tensor.strides.begin() + axes(), tensor.strides.end())),
        direct_(conversion_.none() && tensor.contiguous()) {}

  bool direct() const { return direct_; }

  Result<Tensor> room(Memory& memory, std::int64_t matrices) const {
    return allocate_tensor(memory, batch_.block(tensor_.type, compute_, matrices));
  }

  /// Matrices [first, first + n), in the operand's own memory or in `room`.
  Result<Tensor> block(Context& context, const Tensor& room, std::int64_t first,
                       std::int64_t n) const {
    Tensor part = direct_ ? tensor_ : room;
    part.type = batch_.block(tensor_.type, compute_, n);
    part.strides = contiguous_strides(part.type.shape);
    if (direct_) {
      part.offset += first * rest_.count;
      return part;
    }
    const bool large = rest_.count >= chunk_elements;
    if (large && conversion_.none()) {
      for (std::int64_t i = 0; i < n; ++i)
        OUTRIGGER_CHECK(copy_tensor(context, matrix(first + i), matrix_of(part, i)));
      return part;
    }
    const auto from_width = static_cast<std::int64_t>(conversion_.from_width());
    const auto to_width = static_cast<std::int64_t>(conversion_.to_width());
    OUTRIGGER_CHECK(parallel_ranges(
        context, n * rest_.count, chunk_elements, n * rest_.count,
        [&](int, std::int64_t begin, std::int64_t end) {
          std::byte* const to = part.data() + begin * to_width;
          if (tensor_.contiguous()) {
            conversion_.run(tensor_.data() + (first * rest_.count + begin) * from_width, to,
                            end - begin);
            return;
          }
          for (std::int64_t at = begin; at < end;) {
            const std::int64_t inside = at % rest_.count;
            const std::int64_t count = std::min(rest_.count - inside, end - at);
            const std::int64_t start = others_.offset(first + at / rest_.count);
            for_each_run(rest_.dims, rest_.strides, inside, count,
                         [&](std::int64_t position, std::int64_t offset, std::int64_t stride,
                             std::int64_t length) {
                           conversion_.gather(tensor_.data() + (start + offset) * from_width,
                                              stride, to + (at - begin + position) * to_width,
                                              length);
                         });
            at += count;
          }
        }));
    return part;
  }

 private:
  /// A matrix of the operand, and a matrix of a block.
  Tensor matrix(std::int64_t index) const {
    Tensor one = tensor_;
    one.type.shape = Dims(tensor_.shape().begin() + axes(), tensor_.shape().end());
    one.strides = Dims(tensor_.strides.begin() + axes(), tensor_.strides.end());
    one.offset += others_.offset(index);
    return one;
  }
  Tensor matrix_of(const Tensor& block, std::int64_t index) const {
    Tensor one = block;
    one.type.shape = Dims(block.shape().begin() + 1, block.shape().end());
    one.strides = contiguous_strides(one.type.shape);
    one.offset += index * rest_.count;
    return one;
  }

  std::ptrdiff_t axes() const { return static_cast<std::ptrdiff_t>(batch_.axes); }

  const Tensor& tensor_;
  const Batch& batch_;
  Conversion conversion_;
  DType compute_;
  WalkedAxes others_, rest_;
  bool direct_;
};

/// A result, in C order.
class Output {
 public:
  Output(const Batch& batch, const Tensor& tensor, DType compute)
      : tensor_(tensor),
        batch_(batch),
        dtype_(result_dtype(tensor.dtype(), compute)),
        conversion_(dtype_, tensor.dtype()),
        each_(batch.elements(tensor.type)) {}

  bool direct() const { return conversion_.none(); }

  Result<Tensor> room(Memory& memory, std::int64_t matrices) const {
    return allocate_tensor(memory, batch_.block(tensor_.type, dtype_, matrices));
  }

  /// The memory to which matrices [first, first + n) are written.
  Tensor block(const Tensor& room, std::int64_t first, std::int64_t n) const {
    Tensor part = direct() ? tensor_ : room;
    part.type = batch_.block(tensor_.type, dtype_, n);
    part.strides = contiguous_strides(part.type.shape);
    if (direct()) part.offset += first * each_;
    return part;
  }

  Result<void> store(const Context& context, const Tensor& block, std::int64_t first) const {
    if (direct()) return {};
    const auto from_width = static_cast<std::int64_t>(conversion_.from_width());
    const auto to_width = static_cast<std::int64_t>(conversion_.to_width());
    std::byte* to = tensor_.data() + first * each_ * to_width;
    return parallel_ranges(context, block.size(), chunk_elements, block.size(),
                           [&](int, std::int64_t begin, std::int64_t end) {
                             conversion_.run(block.data() + begin * from_width,
                                             to + begin * to_width, end - begin);
                           });
  }

 private:
  const Tensor& tensor_;
  const Batch& batch_;
  DType dtype_;
  Conversion conversion_;
  std::int64_t each_;
};

}  // namespace

std::string matrix_text(const MatrixBlock& block, std::int64_t index) {
  const Dims& shape = block.whole.shape();
  if (shape.size() == 2) return "the matrix";
  index += block.first;
  Dims position(shape.size() - 2);
  for (std::size_t axis = position.size(); axis-- > 0;) {
    position[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return "the matrix at " + to_string(position);
}

Result<void> run_by_blocks(const RunCall& call, MatrixRun run) {
  const Batch batch(call.in[0].type);
  std::vector<Operand> operands;
  std::vector<Output> outputs;
  std::int64_t largest = 0;
  bool direct = true;
  for (const Tensor& in : call.in) {
    operands.emplace_back(batch, in, call.compute);
    direct = direct && operands.back().direct();
    largest = std::max(largest, batch.elements(in.type));
  }
  for (const Tensor& out : call.out) {
    outputs.emplace_back(batch, out, call.compute);
    direct = direct && outputs.back().direct();
    largest = std::max(largest, batch.elements(out.type));
  }
  const std::int64_t per_block =
      direct ? batch.count : matrices_per_block(batch, largest, call.context.threads);
  std::vector<Tensor> rooms(operands.size() + outputs.size());
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].direct()) continue;
    OUTRIGGER_TRY(rooms[i], operands[i].room(call.context.memory, per_block));
  }
  Tensor* const output_rooms = rooms.data() + operands.size();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].direct()) continue;
    OUTRIGGER_TRY(output_rooms[i], outputs[i].room(call.context.memory, per_block));
  }
  std::vector<Tensor> in(operands.size()), out(outputs.size());
  for (std::int64_t first = 0; first < batch.count; first += per_block) {
    const std::int64_t n = std::min(per_block, batch.count - first);
    for (std::size_t i = 0; i < in.size(); ++i) {
      OUTRIGGER_TRY(in[i], operands[i].block(call.context, rooms[i], first, n));
    }
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = outputs[i].block(output_rooms[i], first, n);
    OUTRIGGER_CHECK(run({{call.context, in, out, call.attrs, call.compute}, call.in[0], first}));
    for (std::size_t i = 0; i < out.size(); ++i)
      OUTRIGGER_CHECK(outputs[i].store(call.context, out[i], first));
  }
  return {};
}

std::uint64_t scratch_by_blocks(const ScratchCall& call, MatrixScratch scratch) {
  const Batch batch(*call.in[0].type);
  std::int64_t largest = 0;
  for (const ScratchOperand& in : call.in) largest = std::max(largest, batch.elements(*in.type));
  for (const TensorType& out : call.out) largest = std::max(largest, batch.elements(out));
  const std::int64_t per_block = matrices_per_block(batch, largest, call.threads);
  std::uint64_t bytes = 0;
  std::vector<TensorType> in, out;
  for (const ScratchOperand& operand : call.in) {
    in.push_back(batch.block(*operand.type, call.compute, per_block));
    if (!operand.plain || operand.type->dtype != call.compute) bytes += copy_bytes(in.back());
  }
  for (const TensorType& result : call.out) {
    const DType dtype = result_dtype(result.dtype, call.compute);
    out.push_back(batch.block(result, dtype, per_block));
    if (dtype != result.dtype) bytes += copy_bytes(out.back());
  }
  std::vector<ScratchOperand> operands;
  for (const TensorType& type : in) operands.push_back({&type, true, false});
  return bytes + scratch({operands, out, call.attrs, call.threads, call.compute});
}

}  // namespace outrigger::ops
