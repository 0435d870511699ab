#include "tensor/tensor.hpp"

#include <limits>
#include <numeric>

#include <gtest/gtest.h>

namespace outrigger {
namespace {

TEST(DimsTest, GrowsShrinksAndCompares) {
  Dims dims;
  EXPECT_TRUE(dims.empty());
  for (std::int64_t i = 0; i < 16; ++i) dims.push_back(i);
  EXPECT_EQ(dims.size(), 16U);
  EXPECT_EQ(dims.back(), 15);
  Dims copy = dims;
  EXPECT_EQ(copy, dims);
  copy.resize(3);
  EXPECT_EQ(copy, (Dims{0, 1, 2}));
  copy.resize(5);
  EXPECT_EQ(copy, (Dims{0, 1, 2, 0, 0})) << "new values are zero";
  EXPECT_NE(copy, dims);
  copy.append(dims);
  EXPECT_EQ(copy.size(), 21U) << "there is room for the axes of two tensors";
}

TEST(DimsTest, CountAndListAreDifferent) {
  EXPECT_EQ(Dims(2, 7), (Dims{7, 7}));
  EXPECT_EQ((Dims{2, 7}).size(), 2U);
  EXPECT_EQ((Dims{2, 7})[0], 2);
  const Dims& self = Dims{1, 2};
  EXPECT_EQ(self.size(), 2U);
}

TEST(DimsTest, AssignsFromItselfAndOthers) {
  Dims dims{1, 2, 3};
  const Dims& alias = dims;
  dims = alias;
  EXPECT_EQ(dims, (Dims{1, 2, 3}));
  dims.assign(2, 9);
  EXPECT_EQ(dims, (Dims{9, 9}));
  dims = Dims{};
  EXPECT_TRUE(dims.empty());
}

TEST(ShapeTest, StridesAreThoseOfCOrder) {
  EXPECT_EQ(contiguous_strides(Dims{2, 3, 4}), (Dims{12, 4, 1}));
  EXPECT_EQ(contiguous_strides(Dims{}), Dims{});
  EXPECT_EQ(contiguous_strides(Dims{5}), Dims{1});
  EXPECT_EQ(element_count(Dims{}), 1);
  EXPECT_EQ(element_count(Dims{2, 0, 4}), 0);
}

TEST(ShapeTest, TextsReadAsUsersWriteThem) {
  EXPECT_EQ(to_string(TensorType{DType::f32, {344, 403}}), "f32[344][403]");
  EXPECT_EQ(to_string(TensorType{DType::u8, {}}), "u8");
  EXPECT_EQ(to_string(Dims{}), "[]");
}

TEST(ShapeTest, AcceptsWhatFits) {
  EXPECT_TRUE(check_shape(Dims{}, 8));
  EXPECT_TRUE(check_shape(Dims{0}, 8));
  EXPECT_TRUE(check_shape(Dims(16, 2), 8));
  EXPECT_TRUE(check_shape(Dims{std::int64_t{1} << 40}, 8));
}

TEST(ShapeTest, RefusesNegativeTooManyTooLarge) {
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  for (const Dims& shape : {Dims{-1}, Dims{3, -2}, Dims(17, 1), Dims{huge}, Dims{huge, huge},
                            Dims{std::int64_t{1} << 32, std::int64_t{1} << 31}, Dims{huge, 0},
                            Dims{0, huge, huge}, Dims{std::numeric_limits<std::int64_t>::min()}}) {
    const auto checked = check_shape(shape, 8);
    ASSERT_FALSE(checked) << to_string(shape);
    EXPECT_EQ(checked.error().code, ErrorCode::bad_shape);
    EXPECT_FALSE(checked.error().text.empty());
  }
}

class TensorTest : public testing::Test {
 protected:
  Tensor iota(const Dims& shape) {
    Tensor tensor = *allocate_tensor(memory_, TensorType{DType::s32, shape});
    std::iota(tensor.as<std::int32_t>(), tensor.as<std::int32_t>() + tensor.size(), 0);
    return tensor;
  }
  Memory memory_;
};

TEST_F(TensorTest, ANewOneIsContiguousAndUnique) {
  const Tensor tensor = iota({2, 3});
  EXPECT_TRUE(tensor.contiguous());
  EXPECT_TRUE(tensor.unique());
  EXPECT_EQ(tensor.size(), 6);
  EXPECT_EQ(byte_count(tensor.type), 24);
  EXPECT_EQ(tensor.as<std::int32_t>()[5], 5);
}

TEST_F(TensorTest, AValueViewHasAStorageOfItsOwn) {
  const Tensor base = iota({2, 3});
  const Tensor row = view_of(base, TensorType{DType::s32, {3}}, {1}, 3, false);
  EXPECT_EQ(row.as<std::int32_t>()[0], 3);
  EXPECT_NE(row.storage, base.storage);
  EXPECT_EQ(row.storage->buffer, base.storage->buffer);
  EXPECT_FALSE(base.unique());
  EXPECT_FALSE(row.unique());
}

TEST_F(TensorTest, AMutableViewSharesTheStorage) {
  const Tensor base = iota({2, 3});
  {
    const Tensor row = view_of(base, TensorType{DType::s32, {3}}, {1}, 3, true);
    EXPECT_EQ(row.storage, base.storage);
    row.as<std::int32_t>()[0] = 77;
    EXPECT_FALSE(base.unique());
  }
  EXPECT_EQ(base.as<std::int32_t>()[3], 77);
  EXPECT_TRUE(base.unique());
}

TEST_F(TensorTest, TheLastViewFreesTheMemory) {
  Tensor view;
  {
    const Tensor base = iota({4});
    view = view_of(base, base.type, base.strides, 0, false);
  }
  EXPECT_GT(memory_.used(), 0U);
  EXPECT_TRUE(view.unique());
  view = Tensor{};
  EXPECT_EQ(memory_.used(), 0U);
}

TEST_F(TensorTest, ContiguousMeansCOrderWithoutGaps) {
  const Tensor base = iota({2, 3, 4});
  const auto with = [&](Dims shape, Dims strides) {
    return view_of(base, TensorType{DType::s32, std::move(shape)}, std::move(strides), 0, false)
        .contiguous();
  };
  EXPECT_TRUE(with({2, 12}, {12, 1}));
  EXPECT_TRUE(with({1, 3}, {99, 1})) << "an axis of one element may have any stride";
  EXPECT_TRUE(with({2, 0}, {5, 7})) << "nothing is in order";
  EXPECT_TRUE(with({}, {}));
  EXPECT_FALSE(with({4, 3}, {1, 4}));
  EXPECT_FALSE(with({3}, {-1}));
  EXPECT_FALSE(with({3}, {0}));
  EXPECT_FALSE(with({2, 3}, {12, 4}));
}

TEST_F(TensorTest, OverlapMeansOneBufferAndAnotherWindow) {
  const Tensor base = iota({4});
  const Tensor other = iota({4});
  const Tensor same = view_of(base, base.type, base.strides, 0, false);
  const Tensor shifted = view_of(base, TensorType{DType::s32, {3}}, {1}, 1, false);
  EXPECT_FALSE(overlap_differently(base, same));
  EXPECT_TRUE(overlap_differently(base, shifted));
  EXPECT_FALSE(overlap_differently(base, other));
}

TEST_F(TensorTest, WindowsThatLieApartDoNotOverlap) {
  const Tensor base = iota({4, 4});
  const auto window = [&](const Dims& shape, const Dims& strides, std::int64_t offset,
                          DType dtype = DType::s32) {
    return view_of(base, TensorType{dtype, shape}, strides, offset, false);
  };
  const Tensor row = window({4}, {1}, 4);
  EXPECT_FALSE(overlap_differently(row, window({4}, {1}, 0)));
  EXPECT_FALSE(overlap_differently(row, window({4}, {1}, 8)));
  EXPECT_FALSE(overlap_differently(row, window({4}, {-1}, 3)));
  EXPECT_FALSE(overlap_differently(row, window({2, 2}, {-4, 1}, 14)));
  EXPECT_FALSE(overlap_differently(row, window({0}, {1}, 5)));
  EXPECT_FALSE(overlap_differently(row, window({16}, {1}, 32, DType::u8)));
  EXPECT_TRUE(overlap_differently(row, window({16}, {1}, 31, DType::u8)));
  EXPECT_TRUE(overlap_differently(row, window({4}, {1}, 1)));
  EXPECT_TRUE(overlap_differently(row, window({4}, {-1}, 4)));
  EXPECT_TRUE(overlap_differently(row, window({4}, {0}, 7)));
}

TEST_F(TensorTest, RefusalOfMemoryIsAnError) {
  Memory small(1024);
  const auto refused = allocate_tensor(small, TensorType{DType::f64, {1000}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(small.used(), 0U);
}

}  // namespace
}  // namespace outrigger
