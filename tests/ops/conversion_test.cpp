#include <functional>
#include <optional>
#include <random>

#include "support.hpp"

// dot and conv convert elements while they are packed, and cumulative ops while they scan. The bits
// must be those of casts of whole operands before and of the whole result after, without the memory
// for them.

namespace outrigger::ops::test {
namespace {

class Conversions : public ::testing::Test {
 protected:
  Tensor as_type(const Tensor& from, DType to) {
    PassMaker maker(from.shape(), {from.dtype()});
    const Pass pass = maker.done({maker.cast(0, to)});
    Tensor out = lab_.empty(to, from.shape());
    Context context = lab_.context();
    EXPECT_TRUE(run_pass(context, pass, std::span(&from, 1), std::span(&out, 1)));
    return out;
  }

  /// The numbers are small, so that sums in narrow dtypes are finite.
  Tensor random(DType dtype, const Dims& shape) {
    std::vector<float> x(static_cast<std::size_t>(element_count(shape)));
    for (float& value : x) value = std::uniform_real_distribution<float>(-3, 3)(generator_);
    return as_type(lab_.tensor<float>(shape, x), dtype);
  }

  static Tensor turned(Tensor tensor, std::size_t a, std::size_t b) {
    std::swap(tensor.type.shape[a], tensor.type.shape[b]);
    std::swap(tensor.strides[a], tensor.strides[b]);
    return tensor;
  }

  static Tensor matrix_turned(const Tensor& tensor) { return turned(tensor, 0, 1); }

  using View = std::function<Tensor(const Tensor&)>;
  static Tensor as_it_is(const Tensor& tensor) { return tensor; }

  /// Runs the op on views of the operands, and on views of copies in the dtype of the computation,
  /// because the order of a sum may depend on the layout.
  void check(std::string_view op, const Tensor& left, const Tensor& right, const Attrs& attrs,
             const View& left_view = as_it_is, const View& right_view = as_it_is) {
    const auto direct = lab_.run(op, {left_view(left), right_view(right)}, attrs, 3);
    ASSERT_TRUE(direct);
    const DType dtype = direct->dtype();
    const DType compute = compute_dtype(dtype);
    const auto plain = lab_.run(
        op, {left_view(as_type(left, compute)), right_view(as_type(right, compute))}, attrs);
    ASSERT_TRUE(plain);
    EXPECT_EQ(bytes(*direct), bytes(as_type(*plain, dtype)))
        << op << " of " << to_string(left.type) << " and " << to_string(right.type);
  }

  Lab lab_;
  std::mt19937_64 generator_{29};
};

constexpr std::array<std::pair<DType, DType>, 14> pairs{{{DType::bf16, DType::bf16},
                                                         {DType::f16, DType::bf16},
                                                         {DType::s32, DType::f8},
                                                         {DType::f16, DType::f16},
                                                         {DType::f8, DType::f8},
                                                         {DType::f8_e4m3fn, DType::f8},
                                                         {DType::u4, DType::u4},
                                                         {DType::s2, DType::s4},
                                                         {DType::u8, DType::f32},
                                                         {DType::bf16, DType::f32},
                                                         {DType::s64, DType::bf16},
                                                         {DType::f64, DType::f16},
                                                         {DType::s16, DType::u8},
                                                         {DType::u32, DType::s64}}};

TEST_F(Conversions, OfDotAreCastsOfItsOperands) {
  struct Size {
    std::int64_t m, k, n;
  };
  // Vectors of both kinds, the edges of tiles, and more than one block along each axis.
  for (const Size& s : {Size{1, 1, 1}, Size{1, 70'000, 1}, Size{5, 1100, 1}, Size{1, 9, 2100},
                        Size{15, 385, 33}, Size{460, 400, 40}, Size{20, 30, 1100}}) {
    for (const auto& [a, b] : pairs) {
      for (int layout = 0; layout < 4; ++layout) {
        const bool turn_left = (layout & 1) != 0;
        const bool turn_right = (layout & 2) != 0;
        check("dot", random(a, turn_left ? Dims{s.k, s.m} : Dims{s.m, s.k}),
              random(b, turn_right ? Dims{s.n, s.k} : Dims{s.k, s.n}), {},
              turn_left ? View(matrix_turned) : as_it_is,
              turn_right ? View(matrix_turned) : as_it_is);
      }
    }
  }
}

TEST_F(Conversions, OfComplexDotAreCastsOfItsOperands) {
  const Attrs attrs{{"left_axes", std::vector<std::int64_t>{1, 3}},
                    {"left_batch_axes", std::vector<std::int64_t>{0}},
                    {"right_axes", std::vector<std::int64_t>{3, 1}},
                    {"right_batch_axes", std::vector<std::int64_t>{0}}};
  for (const auto& [a, b] : {std::pair{DType::c64, DType::c64},
                             {DType::c64, DType::f32},
                             {DType::bf16, DType::c64},
                             {DType::c64, DType::c128},
                             {DType::s64, DType::c64},
                             {DType::c64, DType::f64}}) {
    check("dot", random(a, {290, 300}), random(b, {300, 20}), {});
    check("dot", random(a, {300, 29}), random(b, {20, 300}), {}, matrix_turned, matrix_turned);
    check("dot", random(a, {3, 4, 5, 6}), random(b, {3, 6, 7, 4}), attrs);
  }
}

TEST_F(Conversions, OfDotFollowBatchesAndTables) {
  const Attrs attrs{{"left_axes", std::vector<std::int64_t>{1, 3}},
                    {"left_batch_axes", std::vector<std::int64_t>{0}},
                    {"right_axes", std::vector<std::int64_t>{3, 1}},
                    {"right_batch_axes", std::vector<std::int64_t>{0}}};
  for (const auto& [a, b] : pairs)
    check("dot", random(a, {3, 4, 5, 6}), random(b, {3, 6, 7, 4}), attrs);
}

TEST_F(Conversions, OfConvAreCastsOfItsOperands) {
  const Attrs attrs{{"padding_low", std::vector<std::int64_t>{1, 2}},
                    {"padding_high", std::vector<std::int64_t>{2, 0}},
                    {"strides", std::vector<std::int64_t>{1, 2}},
                    {"input_dilation", std::vector<std::int64_t>{2, 1}}};
  for (const auto& [a, b] : pairs) {
    for (const std::int64_t filters : {1, 7, 13}) {
      const Tensor image = random(a, {2, 3, 9, 47});
      const Tensor kernel = random(b, {filters, 3, 3, 2});
      check("conv", image, kernel, {});
      check("conv", image, kernel, attrs);
      check("conv", turned(random(a, {2, 3, 47, 9}), 2, 3),
            turned(random(b, {3, filters, 3, 2}), 0, 1), attrs);
    }
  }
}

TEST_F(Conversions, TakeNoCopies) {
  // Each operand has 4 MiB of bf16. In f32, the operands and the result would have 24 MiB.
  const Dims shape{1448, 1448};
  Lab tight(std::uint64_t{14} << 20);
  const Tensor matrix = tight.empty(DType::bf16, shape);
  EXPECT_TRUE(tight.run("dot", {matrix, matrix}));
}

TEST_F(Conversions, OfCumulativeOpsAreCastsOfTheirOperand) {
  struct Case {
    Dims shape;
    std::int64_t axis;
  };
  // Lines of one block and of many, and more lines than are scanned side by side. Columns of one
  // tile and of several, of one block and of many.
  for (const Case& c :
       {Case{{1}, 0}, Case{{20'011}, 0}, Case{{150'000}, 0}, Case{{37, 41}, 1}, Case{{3, 8001}, 1},
        Case{{41, 37}, 0}, Case{{2, 50, 2500}, 1}, Case{{9000, 19}, 0}}) {
    for (const DType dtype :
         {DType::bf16, DType::f16, DType::f8, DType::f8_e4m3fn, DType::u4, DType::s2}) {
      const Tensor x = random(dtype, c.shape);
      for (const auto* op :
           {"cumulative_sum", "cumulative_product", "cumulative_min", "cumulative_max"}) {
        for (const bool reverse : {false, true}) {
          const Attrs attrs{{"axis", c.axis}, {"reverse", reverse}};
          const auto direct = lab_.run(op, {x}, attrs, 3);
          ASSERT_TRUE(direct);
          const DType compute = compute_dtype(dtype);
          const auto plain = lab_.run(op, {as_type(x, compute)}, attrs);
          ASSERT_TRUE(plain);
          EXPECT_EQ(bytes(*direct), bytes(as_type(*plain, dtype)))
              << op << " of " << to_string(x.type) << (reverse ? " reversed" : "");
        }
      }
    }
  }
}

TEST_F(Conversions, OfWindowScattersAreCastsOfTheirOperands) {
  struct Case {
    Dims shape, windows;
    std::vector<std::int64_t> window, strides, low;
  };
  // Boxes of several windows and of all windows; windows with gaps, with overlaps, and in the
  // padding.
  for (const Case& c : {Case{{3, 70, 900}, {3, 68, 899}, {1, 3, 2}, {1, 1, 1}, {0, 0, 0}},
                        Case{{40, 50, 60}, {20, 17, 22}, {3, 4, 2}, {2, 3, 3}, {1, 4, 5}},
                        Case{{50'000}, {12'500}, {8}, {4}, {7}}}) {
    for (const auto& [a, b] : {std::pair{DType::bf16, DType::bf16},
                               {DType::f8, DType::f8},
                               {DType::f16, DType::bf16},
                               {DType::bf16, DType::f32},
                               {DType::u8, DType::f32},
                               {DType::u4, DType::u4},
                               {DType::s2, DType::s4},
                               {DType::u8, DType::bf16}}) {
      const Attrs attrs{{"window", c.window}, {"strides", c.strides}, {"padding_low", c.low}};
      const Tensor x = random(a, c.shape);
      const Tensor source = random(b, c.windows);
      const Tensor init = random(b, {});
      for (const auto* op : {"window_scatter_max", "window_scatter_min"}) {
        const auto direct = lab_.run(op, {x, source, init}, attrs, 3);
        ASSERT_TRUE(direct);
        const DType compute = compute_dtype(b);
        const auto plain = lab_.run(op,
                                    {as_type(x, compute_dtype(merge(a, b))),
                                     as_type(source, compute), as_type(init, compute)},
                                    attrs);
        ASSERT_TRUE(plain);
        EXPECT_EQ(bytes(*direct), bytes(as_type(*plain, b)))
            << op << " of " << to_string(x.type) << " and " << to_string(source.type);
      }
    }
  }
}

TEST_F(Conversions, OfLinearAlgebraAreCastsOfItsOperands) {
  for (const std::int64_t n : {3, 40}) {
    const Dims shape{n == 3 ? 30 : 3, 40, n, n};
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f8, DType::u8, DType::s2,
                              DType::s64, DType::c64}) {
      const Tensor a = random(dtype, shape);
      for (const auto* op : {"determinant", "eigh", "invert", "lu", "qr", "svd"}) {
        if (is_complex(dtype) && std::string_view(op) == "svd") continue;
        const InferOperand operand{a.type};
        const DType compute = find_op(op)->infer({std::span(&operand, 1), AttrView({})})->compute;
        const auto direct = lab_.run_all(op, {a}, {}, 3);
        const auto plain = lab_.run_all(op, {as_type(a, compute)});
        ASSERT_TRUE(direct && plain);
        for (std::size_t i = 0; i < direct->size(); ++i) {
          const Tensor& result = (*direct)[i];
          EXPECT_EQ(bytes(result), bytes(as_type((*plain)[i], result.dtype())))
              << op << " of " << to_string(a.type) << ", result " << i;
        }
      }
    }
  }
}

TEST_F(Conversions, OfFourierTransformsAreCastsOfTheirOperand) {
  struct Case {
    Dims shape;
    Attrs attrs;
  };
  const std::int64_t first = 0, last = 1;
  // Sequences side by side, as matrices, by convolution, and by all threads; cut, padded, and
  // transposed.
  for (const Case& c : {Case{{9, 40}, {{"axis", first}}}, Case{{9, 40}, {{"axis", last}}},
                        Case{{40, 300}, {{"axis", first}, {"length", std::int64_t{37}}}},
                        Case{{2, 1009}, {{"axis", last}}},
                        Case{{3, 5000}, {{"axis", last}, {"length", std::int64_t{6000}}}},
                        Case{{1, 40'000}, {{"axis", last}}}}) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::u8, DType::s64}) {
      const Tensor x = random(dtype, c.shape);
      for (const auto* op : {"fft", "ifft", "rfft", "irfft", "fft2", "ifft2"}) {
        const bool both = std::string_view(op).ends_with('2');
        const Attrs attrs = both ? Attrs{} : c.attrs;
        const DType to =
            std::string_view(op) == "rfft" ? to_real(to_complex(dtype)) : to_complex(dtype);
        const bool small = x.size() <= 12'000;
        if (both && !small) continue;
        for (const bool turn : {false, true}) {
          if (turn && !small) continue;
          const Tensor view = turn ? matrix_turned(x) : x;
          const auto direct = lab_.run(op, {view}, attrs, 3);
          const auto plain = lab_.run(op, {as_type(view, to)}, attrs);
          ASSERT_TRUE(direct && plain);
          EXPECT_EQ(bytes(*direct), bytes(*plain)) << op << " of " << to_string(view.type);
        }
      }
    }
  }
}

TEST_F(Conversions, OfCountersAreCasts) {
  const Dims shape{3, 2500, 5};
  const std::vector<std::int64_t> sizes(shape.begin(), shape.end());
  const auto created = [&](const char* op, DType dtype, std::optional<std::int64_t> axis) {
    Attrs attrs{{"type", std::string(name_of(dtype))}, {"shape", sizes}};
    if (axis) attrs.push_back({"axis", *axis});
    auto made = lab_.run(op, {}, attrs, 2);
    EXPECT_TRUE(made);
    return *made;
  };
  const auto check_created = [&](const char* op, std::optional<std::int64_t> axis) {
    for (const DType dtype : {DType::u2, DType::s4, DType::u8, DType::f8, DType::bf16, DType::f16,
                              DType::c64, DType::c128}) {
      const DType counted = compute_dtype(is_complex(dtype) ? to_real(dtype) : dtype);
      EXPECT_EQ(bytes(created(op, dtype, axis)), bytes(as_type(created(op, counted, axis), dtype)))
          << op << " of " << name_of(dtype);
    }
    // Seven digits are sufficient for these numbers.
    const Tensor numbers = created(op, DType::f32, axis);
    for (std::int64_t i = 0; i < numbers.size(); ++i) {
      const std::int64_t place[] = {i / 12'500, i / 5 % 2500, i % 5};
      const std::int64_t expected = std::string_view(op) == "eye" ? place[1] == place[2]
                                    : axis                        ? place[*axis]
                                                                  : i;
      ASSERT_EQ(numbers.as<float>()[i], static_cast<float>(expected)) << op << " at " << i;
    }
  };
  check_created("eye", std::nullopt);
  check_created("iota", std::nullopt);
  for (const std::int64_t axis : {0, 1, 2}) check_created("iota", axis);
}

}  // namespace
}  // namespace outrigger::ops::test
