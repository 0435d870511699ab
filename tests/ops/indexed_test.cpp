// indexed_add of small floats: the updates of an element are summed in f32 and rounded once, for
// all portions of the target, and all layouts of indices and updates.

#include <cstdio>
#include <random>

#include "ops/support.hpp"
#include "support/random.hpp"
#include "tensor/small_float.hpp"

namespace outrigger::ops::test {
namespace {

class IndexedTest : public testing::Test {
 protected:
  IndexedTest() { std::printf("  OUTRIGGER_SEED=%u\n", seed_); }

  /// Elements of a dtype that are small numbers.
  Tensor numbers(DType dtype, const Dims& shape) {
    Tensor made = lab_.empty(dtype, shape);
    for (std::int64_t i = 0; i < made.size(); ++i) {
      const auto n = static_cast<std::int64_t>(random_() % 5000) - 1000;
      const Number number = is_integer(dtype) ? Number{n} : Number{static_cast<double>(n) / 32};
      store_number(number, dtype, made.data() + static_cast<std::size_t>(i) * size_of(dtype));
    }
    return made;
  }
  Tensor places(std::int64_t below, const Dims& shape) {
    Tensor made = lab_.empty(DType::s64, shape);
    // The indices are few different ones, so that some are equal.
    for (std::int64_t i = 0; i < made.size(); ++i)
      made.as<std::int64_t>()[i] = static_cast<std::int64_t>(random_() % 64) * (below - 1) / 63;
    return made;
  }
  static Tensor turned(Tensor tensor) {
    std::swap(tensor.type.shape[0], tensor.type.shape[1]);
    std::swap(tensor.strides[0], tensor.strides[1]);
    return tensor;
  }
  /// f32 represents each of these numbers.
  static float in_f32(const Tensor& tensor, std::int64_t element) {
    float value = 0;
    const void* const in =
        tensor.data() + static_cast<std::size_t>(element) * size_of(tensor.dtype());
    const CastSteps steps = cast_steps(tensor.dtype(), DType::f32);
    EXPECT_EQ(steps.size(), 1U);
    steps[0].run(&value, &in, 1);
    return value;
  }

  /// [rows][columns], with whole rows added at the places in `at`.
  void check(DType dtype, DType other, std::int64_t rows, std::int64_t columns, std::int64_t n,
             bool apart) {
    SCOPED_TRACE(to_string(TensorType{dtype, {rows, columns}}) + " and " +
                 std::string(name_of(other)));
    const Tensor target = numbers(dtype, {rows, columns});
    const Tensor at = places(rows, {n, 1});
    const Tensor updates =
        apart ? turned(numbers(other, {columns, n})) : numbers(other, {n, columns});
    const Tensor in_order = [&] {
      Tensor copy = lab_.empty(other, {n, columns});
      Context context = lab_.context();
      EXPECT_TRUE(copy_tensor(context, updates, copy));
      return copy;
    }();
    const auto got = lab_.run("indexed_add", {target, at, updates}, {}, 2);
    ASSERT_TRUE(got);
    std::vector<float> sums(static_cast<std::size_t>(rows * columns));
    for (std::int64_t i = 0; i < rows * columns; ++i)
      sums[static_cast<std::size_t>(i)] = in_f32(target, i);
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t to = at.as<std::int64_t>()[i] * columns + c;
        sums[static_cast<std::size_t>(to)] += in_f32(in_order, i * columns + c);
      }
    }
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      const float sum = sums[static_cast<std::size_t>(i)];
      if (dtype == DType::f8)
        ASSERT_EQ(got->as<std::uint8_t>()[i], narrow<F8>(sum)) << i;
      else
        ASSERT_EQ(got->as<std::uint16_t>()[i],
                  dtype == DType::f16 ? narrow<F16>(sum) : narrow<BF16>(sum))
            << i;
    }
  }

  unsigned seed_ = outrigger::test::new_seed();
  std::mt19937_64 random_{seed_};
  Lab lab_;
};

TEST_F(IndexedTest, SmallFloatsAreRoundedOnce) {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f8}) {
    for (const DType other : {dtype, DType::s32, DType::u16}) {
      for (const bool apart : {false, true}) {
        check(dtype, other, 100, 1, 3000, apart);
        check(dtype, other, 70, 33, 900, apart);
        check(dtype, other, 5, 3000, 40, apart);
      }
    }
  }
}

TEST_F(IndexedTest, LargeTargetsAreAddedUpInPortions) {
  // Some places at a time, and parts of blocks.
  check(DType::f16, DType::f16, 5'000'000, 1, 200'000, false);
  check(DType::bf16, DType::s32, 40'000, 100, 2000, false);
  check(DType::f16, DType::s32, 2, 3'000'000, 3, false);
}

TEST_F(IndexedTest, SumsTakeAPartOfTheTargetsSize) {
  const TensorType target{DType::f16, {64'000'000}};
  const TensorType rows{DType::s64, {1000, 1}};
  const TensorType updates{DType::f16, {1000}};
  const std::array<ScratchOperand, 3> in{{{&target, true}, {&rows, true}, {&updates, true}}};
  const Attrs none;
  const ScratchCall call{in, std::span(&target, 1), AttrView(none), 2, DType::f16};
  EXPECT_LE(find_op("indexed_add")->scratch(call), byte_count(target) * 6 / 10);
  EXPECT_EQ(find_op("indexed_put")->scratch(call), 0U);
}

}  // namespace
}  // namespace outrigger::ops::test
