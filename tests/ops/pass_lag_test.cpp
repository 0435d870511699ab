// A pass whose output is its inputs' window, shifted, compared with the pass on copies of the
// inputs.

#include <iostream>
#include <thread>

#include "ops/support.hpp"
#include "support/random.hpp"

namespace outrigger::ops::test {
namespace {

using enum DType;
using outrigger::test::any_of;
using outrigger::test::between;
using outrigger::test::Random;
using outrigger::test::seeds;

/// Windows of one shape over a grid, with each `steps`-th element along its axes.
struct Windows {
  Dims grid;
  Dims shape;
  Dims steps;
  /// The first element of the output, and of each input.
  Dims out;
  std::vector<Dims> in;
};

Tensor window(const Tensor& grid, const Windows& windows, const Dims& start) {
  Dims strides = grid.strides;
  std::int64_t offset = 0;
  for (std::size_t axis = 0; axis < start.size(); ++axis) {
    offset += start[axis] * strides[axis];
    strides[axis] *= windows.steps[axis];
  }
  return view_of(grid, TensorType{grid.dtype(), windows.shape}, strides, offset, true);
}

/// in[0] + in[1] - in[2] + …, in f32 or 64 bits.
Pass alternating_sum(const Dims& space, DType dtype, std::size_t inputs) {
  const DType compute = is_complex(dtype)               ? dtype
                        : is_integer(dtype)             ? s64
                        : size_of(dtype) < size_of(f32) ? f32
                                                        : dtype;
  PassMaker maker(space, std::vector<DType>(inputs, dtype));
  Pass::Register sum = maker.cast(0, compute);
  for (std::size_t i = 1; i < inputs; ++i) {
    const Pass::Register next = maker.cast(static_cast<Pass::Register>(i), compute);
    const std::string_view op = i % 2 == 0 ? "subtract" : "add";
    sum = maker.add(kernel_of(*find_op(op), compute), compute, {sum, next});
  }
  return maker.done({maker.cast(sum, dtype)});
}

class PassLagTest : public testing::TestWithParam<int> {
 protected:
  Tensor grid(DType dtype, const Dims& shape) {
    Tensor made = lab_.empty(dtype, shape);
    const auto width = size_of(dtype);
    for (std::int64_t i = 0; i < made.size(); ++i) {
      store_number(Number{between(random_, 0, 60)}, dtype,
                   made.data() + static_cast<std::size_t>(i) * width);
    }
    return made;
  }

  Context context(Compile::When when) {
    Context context = lab_.context(GetParam());
    context.compile.when = when;
    return context;
  }

  /// Runs the pass over the grid, interpreted and compiled, and over copies of the inputs. Returns
  /// the bytes that it took, or nothing after a failure.
  std::uint64_t check(const Windows& windows, DType dtype) {
    std::uint64_t taken = 0;
    for (const auto when : {Compile::When::never, Compile::When::always}) {
      Context context = this->context(when);
      const Pass pass = alternating_sum(windows.shape, dtype, windows.in.size());
      const Tensor got = grid(dtype, windows.grid);
      const Tensor expected = lab_.empty(dtype, windows.grid);
      std::copy_n(got.data(), byte_count(got.type), expected.data());
      std::vector<Tensor> in, copies;
      for (const Dims& start : windows.in) {
        in.push_back(window(got, windows, start));
        copies.push_back(lab_.empty(dtype, windows.shape));
        EXPECT_TRUE(copy_tensor(context, in.back(), copies.back()));
      }
      const Tensor result = lab_.empty(dtype, windows.shape);
      EXPECT_TRUE(run_pass(context, pass, copies, std::span(&result, 1)));
      EXPECT_TRUE(copy_tensor(context, result, window(expected, windows, windows.out)));

      lab_.memory.reset_watermark();
      const std::uint64_t before = lab_.memory.used();
      const Tensor out = window(got, windows, windows.out);
      EXPECT_TRUE(run_pass(context, pass, in, std::span(&out, 1)));
      taken = std::max(taken, lab_.memory.watermark() - before);
      EXPECT_LE(taken, Memory::capacity_of(static_cast<std::size_t>(byte_count(out.type))));
      if (bytes(got) != bytes(expected)) {
        ADD_FAILURE() << to_string(TensorType{dtype, windows.shape}) << " of "
                      << to_string(windows.grid) << ", compile " << static_cast<int>(when);
        return 0;
      }
    }
    return taken;
  }

  /// The bytes of the blocks that the threads hold.
  std::uint64_t blocks(std::int64_t positions, DType dtype) {
    return Memory::capacity_of(static_cast<std::size_t>(3 * GetParam() * positions) *
                               size_of(dtype));
  }

  Random random_{1};
  Lab lab_;
};

constexpr std::int64_t lag_size = 200'003;

TEST_P(PassLagTest, AVectorShiftedEitherWay) {
  for (const std::int64_t shift : {1, 2, 15, 63, 64, 1023, 1024, 1025, 8191, 8192}) {
    for (const std::int64_t sign : {1, -1}) {
      const Windows windows{
          {lag_size + 8192}, {lag_size}, {1}, {sign > 0 ? 0 : shift}, {{sign > 0 ? shift : 0}}};
      EXPECT_EQ(check(windows, s32), blocks(8192, s32)) << sign * shift;
    }
  }
}

TEST_P(PassLagTest, BlocksGrowWithTheShift) {
  const Windows windows{{lag_size + 9000}, {lag_size}, {1}, {9000}, {{0}, {8000}}};
  EXPECT_EQ(check(windows, s32), blocks(9216, s32));
}

TEST_P(PassLagTest, AFivePointStencil) {
  for (const auto& [rows, columns] : {std::pair{6500, 37}, {1500, 150}, {60, 5000}, {210, 1100}}) {
    const Windows windows{{rows, columns},
                          {rows - 2, columns - 2},
                          {1, 1},
                          {1, 1},
                          {{1, 1}, {0, 1}, {2, 1}, {1, 0}, {1, 2}}};
    for (const DType dtype : {u8, s16, bf16, f32, f64, c64, c128})
      EXPECT_EQ(check(windows, dtype), blocks(8192, dtype)) << columns << name_of(dtype);
  }
}

TEST_P(PassLagTest, EachSecondElementOfTheRows) {
  const Windows windows{{300, 2000}, {298, 990}, {1, 2}, {1, 5}, {{0, 5}, {2, 5}, {1, 3}, {1, 8}}};
  EXPECT_EQ(check(windows, f32), blocks(8192, f32));
}

TEST_P(PassLagTest, AnInputThatIsMoved) {
  const Windows windows{{lag_size + 100}, {lag_size}, {1}, {100}, {{0}}};
  EXPECT_EQ(check(windows, f64), blocks(8192, f64));
}

TEST_P(PassLagTest, RandomWindows) {
  for (const std::uint64_t seed : seeds()) {
    std::cout << "OUTRIGGER_SEED=" << seed << std::endl;
    SCOPED_TRACE(seed);
    random_.seed(seed);
    int lagging = 0;
    for (int turn = 0; turn < 12; ++turn) {
      const std::vector<Dims> shapes{{230'000},    {12'000, 19},  {1700, 130},  {5, 60'000},
                                     {30, 8, 900}, {3000, 4, 20}, {40, 5, 1100}};
      Windows windows;
      windows.shape = any_of(random_, shapes);
      const auto place = [&](std::int64_t most) {
        Dims start;
        for (std::size_t axis = 0; axis < windows.shape.size(); ++axis)
          start.push_back(between(random_, 0, most));
        return start;
      };
      for (const std::int64_t dim : windows.shape) {
        windows.steps.push_back(between(random_, 0, 3) == 0 ? 2 : 1);
        windows.grid.push_back((dim - 1) * windows.steps.back() + 4);
      }
      windows.out = place(3);
      for (std::int64_t inputs = between(random_, 1, 6); inputs > 0; --inputs)
        windows.in.push_back(place(3));
      const DType dtype = any_of(random_, std::array{u8, s16, bf16, s32, f32, f64, c128});
      const std::uint64_t taken = check(windows, dtype);
      const auto all = static_cast<std::uint64_t>(element_count(windows.shape)) * size_of(dtype);
      lagging += taken < all ? 1 : 0;
    }
    EXPECT_GT(lagging, 0);
  }
}

TEST_P(PassLagTest, OtherInputsAreWhereTheyAre) {
  // A row, a scalar and a tensor with their own memory.
  const Tensor base = grid(s32, {302, 900});
  const Windows windows{{302, 900}, {300, 898}, {1, 1}, {1, 1}, {}};
  const Tensor row = grid(s32, {898});
  const Tensor one = lab_.tensor<std::int32_t>({}, {7});
  const Tensor other = grid(s32, {300, 898});
  const auto before = values<std::int32_t>(base);
  Context context = this->context(Compile::When::always);
  const Pass pass = alternating_sum(windows.shape, s32, 5);
  const Tensor out = window(base, windows, windows.out);
  ASSERT_TRUE(run_pass(
      context, pass,
      std::vector{window(base, windows, {0, 1}), row, one, other, window(base, windows, {2, 2})},
      std::span(&out, 1)));
  const auto got = values<std::int32_t>(out);
  const auto rows = values<std::int32_t>(row);
  const auto others = values<std::int32_t>(other);
  for (std::int64_t i = 0; i < out.size(); ++i) {
    const std::int64_t r = i / 898, c = i % 898;
    const auto at = [&](std::int64_t y, std::int64_t x) {
      return before[static_cast<std::size_t>(y * 900 + x)];
    };
    ASSERT_EQ(got[static_cast<std::size_t>(i)], at(r, c + 1) + rows[static_cast<std::size_t>(c)] -
                                                    7 + others[static_cast<std::size_t>(i)] -
                                                    at(r + 2, c + 2))
        << i;
  }
}

TEST_P(PassLagTest, WhatIsTooFarIsCopied) {
  const Windows one{{2 * lag_size}, {lag_size}, {1}, {0}, {{lag_size / 2}}};
  EXPECT_EQ(check(one, s32), Memory::capacity_of(lag_size * 4));
  // With three inputs, the result is copied instead.
  const Windows three{{2 * lag_size}, {lag_size}, {1}, {0}, {{lag_size / 2}, {7}, {lag_size / 3}}};
  EXPECT_EQ(check(three, s32), Memory::capacity_of(lag_size * 4));
}

TEST_P(PassLagTest, NothingIsTakenForWindowsThatLieApart) {
  const Windows windows{{4, lag_size}, {1, lag_size}, {1, 1}, {1, 0}, {{0, 0}, {2, 0}}};
  EXPECT_EQ(check(windows, s32), 0U);
}

TEST_P(PassLagTest, AReversedInputAmongShiftedOnes) {
  const Tensor base = grid(s32, {lag_size + 1});
  const auto before = values<std::int32_t>(base);
  const Tensor out = view_of(base, TensorType{s32, {lag_size}}, {1}, 0, true);
  const Tensor next = view_of(base, TensorType{s32, {lag_size}}, {1}, 1, true);
  const Tensor reversed = view_of(base, TensorType{s32, {lag_size}}, {-1}, lag_size - 1, true);
  Context context = this->context(Compile::When::always);
  ASSERT_TRUE(run_pass(context, alternating_sum({lag_size}, s32, 2), std::vector{next, reversed},
                       std::span(&out, 1)));
  const auto got = values<std::int32_t>(out);
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(got[i], before[i + 1] + before[got.size() - 1 - i]) << i;
}

TEST_P(PassLagTest, ACancelEndsIt) {
  const Windows windows{{lag_size + 1}, {lag_size}, {1}, {1}, {{0}}};
  const Tensor base = grid(s32, windows.grid);
  const auto before = bytes(base);
  const Tensor in = window(base, windows, {0});
  const Tensor out = window(base, windows, {1});
  lab_.interrupt.cancel();
  Context context = this->context(Compile::When::never);
  const auto result =
      run_pass(context, alternating_sum({lag_size}, s32, 1), std::span(&in, 1), std::span(&out, 1));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  EXPECT_EQ(bytes(base), before);
}

INSTANTIATE_TEST_SUITE_P(Threads, PassLagTest, testing::Values(1, 2, 5));

}  // namespace
}  // namespace outrigger::ops::test
