#include "files/c_order.hpp"

#include "files/support.hpp"

namespace outrigger::files {
namespace {

/// Fills the tensor in Fortran order with each element's position in C order.
template <typename T>
Tensor fortran_positions(Memory& memory, const TensorType& type) {
  Tensor tensor = *allocate_tensor(memory, type);
  const Dims strides = contiguous_strides(type.shape);
  Dims index(type.shape.size());
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    std::int64_t position = 0;
    for (std::size_t axis = 0; axis < index.size(); ++axis) position += index[axis] * strides[axis];
    tensor.as<T>()[i] = static_cast<T>(position);
    for (std::size_t axis = 0; axis < index.size() && ++index[axis] == type.shape[axis]; ++axis) {
      index[axis] = 0;
    }
  }
  return tensor;
}

template <typename T>
void expect_transposed(const TensorType& type) {
  Memory memory;
  const Result<Tensor> tensor = c_order_from_fortran(memory, fortran_positions<T>(memory, type));
  ASSERT_TRUE(tensor);
  ASSERT_EQ(tensor->type, type);
  const std::vector<T> found = testing::values<T>(*tensor);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i], static_cast<T>(i)) << to_string(type) << " at " << i;
  }
}

TEST(COrder, TransposesAnyShapeAndWidth) {
  const Dims shapes[] = {
      {},          {5},       {1, 5, 1},    {2, 3},         {33, 65},          {3, 0, 2},
      {100, 1, 3}, {4, 5, 6}, {2, 3, 4, 5}, {40, 2, 1, 37}, {2, 2, 2, 2, 2, 2}};
  for (const DType dtype : kernel_dtypes) {
    for (const Dims& shape : shapes) {
      with_type(dtype, [&](auto tag) {
        expect_transposed<typename decltype(tag)::type>({dtype, shape});
      });
    }
  }
}

TEST(COrder, TakesNoCopyWhereBothOrdersAreTheSame) {
  Memory memory;
  Tensor tensor = *allocate_tensor(memory, {DType::f32, {1, 7, 1}});
  const std::byte* data = tensor.data();
  EXPECT_EQ(c_order_from_fortran(memory, std::move(tensor))->data(), data);
}

}  // namespace
}  // namespace outrigger::files
