#include <algorithm>
#include <array>
#include <cstring>

#include "ops/cast/conversion.hpp"
#include "ops/layout/rows.hpp"
#include "ops/op.hpp"
#include "ops/support/axes.hpp"
#include "tensor/packing.hpp"

namespace outrigger::ops {
namespace {

Result<TensorType> type_from_attrs(const InferCall& call) {
  TensorType type{call.attrs.dtype("type"), {}};
  const auto shape = call.attrs.integers("shape");
  OUTRIGGER_CHECK(check_shape(shape, size_of(type.dtype)));
  type.shape.assign(shape.begin(), shape.end());
  return type;
}

Inferred only(TensorType type) {
  Inferred inferred;
  inferred.results.push_back(std::move(type));
  return inferred;
}

Result<Inferred> infer_from_binary(const InferCall& call) {
  OUTRIGGER_TRY(TensorType type, type_from_attrs(call));
  const std::size_t given = call.attrs.binary("data").size();
  if (given != static_cast<std::size_t>(packed_byte_count(type))) {
    return fail(ErrorCode::bad_attr, to_string(type) + " needs " +
                                         std::to_string(packed_byte_count(type)) +
                                         " bytes of data, got " + std::to_string(given));
  }
  return only(std::move(type));
}

Result<void> run_from_binary(const RunCall& call) {
  const Bytes& data = call.attrs.binary("data");
  const Tensor& out = call.out[0];
  if (bits_of(out.dtype()) < 8) {
    unpack(out.dtype(), data.data(), out.size(), out.as<std::uint8_t>());
  } else if (!data.empty()) {
    std::memcpy(out.data(), data.data(), data.size());
  }
  return {};
}

Result<Inferred> infer_constant(const InferCall& call) {
  OUTRIGGER_TRY(TensorType type, type_from_attrs(call));
  if (std::holds_alternative<std::complex<double>>(call.attrs.number("value")) &&
      !is_complex(type.dtype)) {
    return fail(ErrorCode::bad_dtype, "a complex value needs the dtype c64 or c128, got " +
                                          std::string(name_of(type.dtype)));
  }
  return only(std::move(type));
}

Result<Inferred> infer_iota(const InferCall& call) {
  OUTRIGGER_TRY(TensorType type, type_from_attrs(call));
  if (call.attrs.has("axis")) {
    OUTRIGGER_CHECK(normalize_axis(call.attrs.integer("axis"), type.shape.size()));
  }
  return only(std::move(type));
}

/// The dtype of the counter, whose values are then cast.
DType counted_dtype(DType dtype) {
  return compute_dtype(is_complex(dtype) ? to_real(dtype) : dtype);
}

/// Positions along an axis of a tensor in C order.
struct Counting {
  std::int64_t length;  ///< length of the axis
  std::int64_t repeat;  ///< number of adjacent elements with the same position

  /// Writes the positions of elements [begin, end).
  template <typename T>
  void write(T* out, std::int64_t begin, std::int64_t end) const {
    std::int64_t position = begin / repeat % length;
    if (repeat == 1) {
      for (std::int64_t i = begin; i < end; position = 0) {
        const std::int64_t n = std::min(length - position, end - i);
        for (std::int64_t k = 0; k < n; ++k) out[k] = static_cast<T>(position + k);
        out += n;
        i += n;
      }
      return;
    }
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t n = std::min(repeat - i % repeat, end - i);
      out = std::fill_n(out, n, static_cast<T>(position));
      i += n;
      position = position + 1 == length ? 0 : position + 1;
    }
  }
};

Result<void> run_iota(const RunCall& call) {
  const Tensor& out = call.out[0];
  if (out.size() == 0) return {};
  Counting counting{out.size(), 1};
  if (call.attrs.has("axis")) {
    const auto axis =
        static_cast<std::size_t>(*normalize_axis(call.attrs.integer("axis"), out.shape().size()));
    counting = {out.shape()[axis], element_count(std::span(out.shape()).subspan(axis + 1))};
  }
  const DType dtype = out.dtype();
  const DType compute = counted_dtype(dtype);
  const Conversion conversion(compute, dtype);
  return with_type(compute, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return parallel_ranges(call.context, out.size(), std::int64_t{1} << 16, out.size(),
                           [&](int, std::int64_t begin, std::int64_t end) {
                             if (conversion.none())
                               return counting.write(out.as<T>() + begin, begin, end);
                             std::array<T, Conversion::run_max> counted;
                             for (std::int64_t i = begin; i < end; i += Conversion::run_max) {
                               const std::int64_t n = std::min(Conversion::run_max, end - i);
                               counting.write(counted.data(), i, i + n);
                               conversion.run(
                                   counted.data(),
                                   out.data() + i * static_cast<std::int64_t>(size_of(dtype)), n);
                             }
                           });
  });
}

Result<Inferred> infer_eye(const InferCall& call) {
  OUTRIGGER_TRY(TensorType type, type_from_attrs(call));
  if (type.shape.size() < 2) {
    return fail(ErrorCode::bad_shape,
                "eye needs at least 2 axes, got shape " + to_string(type.shape));
  }
  return only(std::move(type));
}

Result<void> run_eye(const RunCall& call) {
  const Tensor& out = call.out[0];
  const std::int64_t columns = out.shape().back();
  const std::int64_t rows = out.shape()[out.shape().size() - 2];
  if (out.size() == 0) return {};
  const DType compute = counted_dtype(out.dtype());
  alignas(16) std::array<std::byte, 16> one;
  with_type(compute, [&](auto tag) {
    const typename decltype(tag)::type value{1};
    Conversion(compute, out.dtype()).run(&value, one.data(), 1);
  });
  const std::size_t width = size_of(out.dtype());
  const auto at = [&](std::int64_t element) {
    return out.data() + element * static_cast<std::int64_t>(width);
  };
  return parallel_ranges(call.context, out.size(), std::int64_t{1} << 16, out.size(),
                         [&](int, std::int64_t begin, std::int64_t end) {
                           // All bits of zero are 0 in each dtype.
                           std::fill(at(begin), at(end), std::byte{0});
                           for (std::int64_t row = begin / columns; row * columns < end; ++row) {
                             const std::int64_t element = row * columns + row % rows;
                             const bool inside = element >= begin && element < end;
                             if (row % rows < columns && inside)
                               std::memcpy(at(element), one.data(), width);
                           }
                         });
}

Result<Inferred> infer_fill(const InferCall& call) {
  if (!call.type(1).shape.empty()) {
    return fail(ErrorCode::bad_shape, "the value must be a scalar, got " + to_string(call.type(1)));
  }
  Inferred inferred = only(call.type(0));
  inferred.compute = call.type(0).dtype;
  inferred.operands = {call.type(0).dtype, call.type(0).dtype};
  return inferred;
}

template <typename T>
void fill_kernel(void* out, const void* const* in, std::int64_t n) {
  std::copy_n(static_cast<const T*>(in[1]), n, static_cast<T*>(out));
}

Kernel fill_tile(DType compute) {
  return with_width(size_of(compute),
                    [](auto tag) -> Kernel { return &fill_kernel<typename decltype(tag)::type>; });
}

const AttrSpec type_attr{"type", AttrType::dtype, true, "", "dtype of the result"};
const AttrSpec shape_attr{"shape", AttrType::shape, true, "", "shape of the result"};

}  // namespace

void add_creation_rows(std::vector<OpRow>& rows) {
  rows.push_back(
      OpRow{.name = "from_binary",
            .family = "creation",
            .kind = Kind::create,
            .attrs = {type_attr,
                      shape_attr,
                      {"data", AttrType::binary, true, "",
                       "elements in C order, little-endian; integers below 8 bits packed"}},
            .any_dtype = true,
            .infer = infer_from_binary,
            .run = run_from_binary,
            .doc = "A tensor from bytes. If the number of bytes does not agree with dtype and "
                   "shape, the error is `bad_attr`."});
  rows.push_back(OpRow{.name = "constant",
                       .family = "creation",
                       .kind = Kind::constant,
                       .attrs = {{"value", AttrType::number, true, "", "the value of each element"},
                                 type_attr,
                                 shape_attr},
                       .any_dtype = true,
                       .infer = infer_constant,
                       .doc = "A tensor whose elements are all the same number, cast to the dtype. "
                              "It takes the memory of one element until it is written in place."});
  rows.push_back(
      OpRow{.name = "iota",
            .family = "creation",
            .kind = Kind::create,
            .attrs = {type_attr,
                      shape_attr,
                      {"axis", AttrType::integer, false, "",
                       "count along this axis; by default over all elements in C order"}},
            .any_dtype = true,
            .infer = infer_iota,
            .run = run_iota,
            .doc = "A tensor that counts up from 0. Narrow integers wrap around."});
  rows.push_back(OpRow{.name = "eye",
                       .family = "creation",
                       .kind = Kind::create,
                       .attrs = {type_attr, shape_attr},
                       .any_dtype = true,
                       .infer = infer_eye,
                       .run = run_eye,
                       .doc = "Ones where the last two axes have the same index, zeros elsewhere. "
                              "Needs at least 2 axes (`bad_shape`)."});
  rows.push_back(
      OpRow{.name = "fill",
            .family = "creation",
            .kind = Kind::elementwise,
            .operands = {{"tensor"}, {"value"}},
            .in_place = 0,
            .shape_operands = 0b01,
            .any_dtype = true,
            .infer = infer_fill,
            .ulp = 0,
            .tile = fill_tile,
            .doc = "A tensor of the same dtype and shape, in which each element is the scalar "
                   "`value`, cast to the dtype. Its in-place form fills the tensor."});
}

}  // namespace outrigger::ops
