#include <algorithm>
#include <numeric>
#include <random>

#include "support.hpp"

// Ops that read a view's elements in place: the result must be that of a copy in C order, with no
// more memory than that of the result and of the row's scratch.

namespace outrigger::ops::test {
namespace {

class Views : public ::testing::Test {
 protected:
  Tensor numbers(const Dims& shape) {
    std::vector<float> x(static_cast<std::size_t>(element_count(shape)));
    std::iota(x.begin(), x.end(), 1.0F);
    return lab_.tensor<float>(shape, x);
  }

  Tensor indices(const Dims& shape, std::int64_t below) {
    std::vector<std::int64_t> x(static_cast<std::size_t>(element_count(shape)));
    for (std::int64_t& i : x) i = static_cast<std::int64_t>(random_() % below);
    return lab_.tensor<std::int64_t>(shape, x);
  }

  /// Views with three axes of the numbers: permuted, cut, reversed, broadcast, and unchanged.
  std::vector<Tensor> views() {
    std::vector<Tensor> all;
    const Tensor plain = numbers({12, 70, 30});
    all.push_back(plain);
    std::array<std::size_t, 3> order{0, 1, 2};
    while (std::next_permutation(order.begin(), order.end())) {
      Tensor turned = plain;
      for (std::size_t i = 0; i < 3; ++i) {
        turned.type.shape[i] = plain.type.shape[order[i]];
        turned.strides[i] = plain.strides[order[i]];
      }
      all.push_back(turned);
    }
    Tensor cut = plain;
    cut.type.shape = {5, 33, 8};
    cut.strides = {4200, 60, 3};
    all.push_back(cut);
    Tensor reversed = plain;
    reversed.offset += plain.size() - 1;
    for (auto& stride : reversed.strides) stride = -stride;
    all.push_back(reversed);
    Tensor repeated = plain;
    repeated.type.shape = {70, 4, 30};
    repeated.strides = {30, 0, 1};
    all.push_back(repeated);
    return all;
  }

  /// The scratch that the row states if only the types of the operands are known.
  static std::uint64_t scratch(std::string_view op, const std::vector<TensorType>& in,
                               const std::vector<TensorType>& out, const Attrs& attrs) {
    const OpRow& row = *find_op(op);
    if (row.scratch == nullptr) return 0;
    std::vector<ScratchOperand> operands;
    std::vector<InferOperand> inferred;
    for (const TensorType& type : in) {
      operands.push_back({&type, false, false});
      inferred.push_back({type});
    }
    const DType compute = row.infer({inferred, AttrView(attrs)})->compute;
    return row.scratch({operands, out, AttrView(attrs), threads, compute});
  }

  /// Some of the operands are views.
  void check(std::string_view op, std::vector<Tensor> in, const Attrs& attrs = {}) {
    Lab beside;
    const auto from_views = beside.run_all(op, in, attrs, threads);
    ASSERT_TRUE(from_views);
    std::vector<TensorType> types, results;
    for (const Tensor& operand : in) types.push_back(operand.type);
    std::uint64_t peak = 0;
    for (const Tensor& result : *from_views) {
      results.push_back(result.type);
      peak += Memory::capacity_of(static_cast<std::size_t>(byte_count(result.type)));
    }
    EXPECT_LE(beside.memory.peak(), peak + scratch(op, types, results, attrs)) << op;
    Context context = lab_.context();
    std::string found;
    for (Tensor& operand : in) {
      found += " " + to_string(operand.type) + " with strides " + to_string(operand.strides);
      const Tensor copy = lab_.empty(operand.dtype(), operand.shape());
      ASSERT_TRUE(copy_tensor(context, operand, copy));
      operand = copy;
    }
    const auto from_copies = lab_.run_all(op, in, attrs);
    ASSERT_TRUE(from_copies);
    for (std::size_t i = 0; i < from_views->size(); ++i)
      EXPECT_EQ(bytes((*from_views)[i]), bytes((*from_copies)[i])) << op << found;
  }

  /// The same tensor, whose memory has the axes in reverse order.
  Tensor stored_turned(const Tensor& tensor) {
    Dims turned = tensor.shape();
    std::reverse(turned.begin(), turned.end());
    Tensor view = lab_.empty(tensor.dtype(), turned);
    std::reverse(view.strides.begin(), view.strides.end());
    view.type.shape = tensor.shape();
    Context context = lab_.context();
    EXPECT_TRUE(copy_tensor(context, tensor, view));
    return view;
  }

  static constexpr int threads = 3;

  Lab lab_;
  std::mt19937_64 random_{31};
};

TEST_F(Views, AreTakenFrom) {
  for (const Tensor& view : views()) {
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      const auto at = static_cast<std::size_t>(axis);
      const Attrs attrs{{"axis", axis}};
      const Tensor places = indices({2, 3}, view.shape()[at]);
      check("take", {view, places}, attrs);
      check("take", {view, stored_turned(places)}, attrs);
      Dims shape = view.shape();
      shape[at] = 7;
      const Tensor picks = indices(shape, view.shape()[at]);
      check("take_along_axis", {view, picks}, attrs);
      check("take_along_axis", {view, stored_turned(picks)}, attrs);
    }
  }
}

TEST_F(Views, AreScanned) {
  for (const Tensor& view : views()) {
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      for (const bool reverse : {false, true}) {
        const Attrs attrs{{"axis", axis}, {"reverse", reverse}};
        for (const auto* op : {"cumulative_sum", "cumulative_max"}) check(op, {view}, attrs);
      }
    }
  }
}

TEST_F(Views, AreSorted) {
  const Tensor long_lines = numbers({3, 70'000, 2});
  std::shuffle(long_lines.as<float>(), long_lines.as<float>() + long_lines.size(), random_);
  std::vector<Tensor> all = views();
  for (const Tensor& view : all) {
    // There are many equal elements.
    auto* const elements = reinterpret_cast<float*>(view.storage->buffer->data());
    for (std::size_t i = 0; i < view.storage->buffer->bytes() / sizeof(float); i += 3)
      elements[i] = static_cast<float>(i % 11);
  }
  all.push_back(long_lines);
  // The blocks have an odd number of bytes.
  std::vector<std::uint8_t> few(7 * 33 * 5);
  for (std::uint8_t& x : few) x = static_cast<std::uint8_t>(random_());
  all.push_back(lab_.tensor<std::uint8_t>({7, 33, 5}, few));
  for (const Tensor& view : all) {
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      for (const std::string direction : {"asc", "desc"}) {
        const Attrs attrs{{"axis", axis}, {"direction", direction}};
        check("sort", {view}, attrs);
        check("argsort", {view}, attrs);
        check("argsort", {view}, {{"axis", axis}, {"type", std::string("s64")}});
      }
    }
    check("top_k", {view}, {{"k", view.shape().back() / 2}});
  }
}

TEST_F(Views, AreSortedInPlace) {
  for (const Tensor& view : views()) {
    if (std::count(view.strides.begin(), view.strides.end(), 0) > 0) continue;
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      auto* const all = reinterpret_cast<float*>(view.storage->buffer->data());
      std::shuffle(all, all + view.storage->buffer->bytes() / sizeof(float), random_);
      const Attrs attrs{{"axis", axis}};
      const auto expected = lab_.run("sort", {view}, attrs);
      ASSERT_TRUE(expected);
      Context context = lab_.context(threads);
      ASSERT_TRUE(find_op("sort")->run(
          {context, std::span(&view, 1), std::span(&view, 1), AttrView(attrs)}));
      EXPECT_EQ(bytes(view), bytes(*expected))
          << "axis " << axis << " of " << to_string(view.type) << ", " << to_string(view.strides);
    }
  }
}

TEST_F(Views, OfIndicesAndUpdatesAreRead) {
  const Tensor target = numbers({9, 40, 31});
  const auto check_updates = [&](const Tensor& places, const Dims& updates, const Attrs& attrs) {
    const Tensor values = numbers(updates);
    for (const auto* op : {"indexed_put", "indexed_add"}) {
      check(op, {target, stored_turned(places), values}, attrs);
      check(op, {target, places, stored_turned(values)}, attrs);
      Tensor repeated = numbers({1});
      repeated.type.shape = updates;
      repeated.strides = Dims(updates.size(), 0);
      check(op, {target, stored_turned(places), repeated}, attrs);
    }
    check("gather", {target, stored_turned(places)}, attrs);
  };
  // Single elements; blocks whose elements are adjacent, whole and in part; blocks whose elements
  // are not; large blocks.
  check_updates(indices({50, 60, 3}, 9), {50, 60}, {});
  check_updates(indices({700, 2}, 9), {700, 31}, {});
  check_updates(indices({5, 6, 1}, 9), {5, 6, 40, 31}, {});
  const Attrs middle{{"axes", std::vector<std::int64_t>{1}}};
  check_updates(indices({30, 1}, 40), {30, 9, 31}, middle);
  for (const auto* op : {"indexed_put", "indexed_add"}) {
    const Tensor part = numbers({30, 7, 20});
    check(op, {target, indices({30, 1}, 40), stored_turned(part)}, middle);
  }
  const Tensor line = numbers({5000});
  check("gather", {line, stored_turned(indices({40, 50, 1}, 5000))});
  check("indexed_add", {line, stored_turned(indices({40, 50, 1}, 5000)), numbers({40, 50})});
}

TEST_F(Views, OfMatricesAreSolvedAndFactored) {
  const auto matrices = [&](const Dims& shape) {
    Tensor made = numbers(shape);
    std::uniform_real_distribution<float> distribution(-1, 1);
    const std::int64_t n = shape[shape.size() - 1];
    for (std::int64_t i = 0; i < made.size(); ++i) {
      const bool diagonal = i / n % n == i % n;
      made.as<float>()[i] = distribution(random_) + (diagonal ? static_cast<float>(2 * n) : 0.0F);
    }
    return made;
  };
  // Small orders are computed in f64 for the whole batch; there are two blocks and more.
  for (const Dims& shape : {Dims{300, 2, 40, 40}, Dims{7, 900, 4, 4}, Dims{2, 1, 300, 300}}) {
    const Tensor plain = matrices(shape);
    const std::int64_t n = shape[3];
    for (const Tensor& view : {plain, stored_turned(plain)}) {
      for (const auto* op : {"cholesky", "determinant", "eigh", "invert", "lu", "qr", "svd"})
        check(op, {view});
      const Tensor b = numbers({shape[0], shape[1], n, 3});
      for (const auto* op : {"solve", "triangular_solve"}) {
        check(op, {view, b});
        check(op, {view, stored_turned(b)});
      }
    }
  }
}

TEST_F(Views, WithABadIndexAreRefused) {
  const Tensor places = indices({30, 40, 1}, 9);
  places.as<std::int64_t>()[1117] = 9;
  for (const Tensor& view : {places, stored_turned(places)}) {
    const auto found = lab_.run("gather", {numbers({9, 2}), view});
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().text,
              "index 9 in row 1117 of the indices is out of bounds for axis 0 of size 9");
  }
}

TEST_F(Views, NameAnUnsignedIndexAsItWasWritten) {
  const Tensor x = numbers({3});
  const auto places = [&](const Dims& shape) {
    return lab_.tensor<std::uint64_t>(shape, {2, ~std::uint64_t{0}});
  };
  const std::vector<std::pair<std::string, std::vector<Tensor>>> calls{
      {"take", {x, places({2})}},
      {"take_along_axis", {x, places({2})}},
      {"gather", {x, places({2, 1})}},
      {"indexed_put", {x, places({2, 1}), numbers({2})}},
      {"indexed_add", {x, places({2, 1}), numbers({2})}}};
  for (const auto& [op, in] : calls) {
    const auto found = lab_.run(op, in);
    ASSERT_FALSE(found) << op;
    EXPECT_EQ(found.error().text,
              "index 18446744073709551615 in row 1 of the indices is out of bounds for axis 0 of "
              "size 3")
        << op;
  }
}

TEST_F(Views, NeedRoomForSomeTilesOnly) {
  const TensorType square{DType::f32, {8000, 8000}};
  const TensorType indices{DType::s64, {8000, 8000, 1}};
  const TensorType integers{DType::s64, {8000, 8000}};
  const std::uint64_t room = threads * (std::uint64_t{2} << 20);
  for (const std::int64_t axis : {0, 1}) {
    const Attrs attrs{{"axis", axis}};
    EXPECT_LE(scratch("sort", {square}, {square}, attrs), room);
    EXPECT_LE(scratch("argsort", {square}, {integers}, attrs), room);
    EXPECT_LE(scratch("take", {square, integers}, {square}, attrs), room);
    EXPECT_LE(scratch("cumulative_sum", {square}, {square}, attrs), room);
  }
  EXPECT_LE(scratch("top_k", {square}, {square, square}, {{"k", std::int64_t{8}}}), room);
  EXPECT_LE(scratch("gather", {square, indices}, {square}, {}), room);
  EXPECT_LE(scratch("indexed_add", {square, indices, square}, {square}, {}), room);
  const TensorType bytes{DType::u8, {8000, 8000}};
  const TensorType complex{DType::c64, {8000, 8000}};
  for (const std::int64_t axis : {0, 1})
    EXPECT_LE(scratch("fft", {bytes}, {complex}, {{"axis", axis}}), room);
  EXPECT_LE(scratch("fft2", {bytes}, {complex}, {}), room);
  EXPECT_LE(scratch("dot", {complex, square}, {complex}, {}), room);
  const TensorType matrices{DType::f32, {1'000'000, 8, 8}};
  EXPECT_LE(scratch("invert", {matrices}, {matrices}, {}), room);
  EXPECT_LE(scratch("qr", {matrices}, {matrices, matrices}, {}), room);
  EXPECT_LE(scratch("solve", {matrices, matrices}, {matrices}, {}), room);
  const TensorType small{DType::bf16, {8000, 8000}};
  const TensorType windows{DType::bf16, {7999, 7998}};
  const Attrs window{{"window", std::vector<std::int64_t>{2, 3}}};
  EXPECT_LE(
      scratch("window_scatter_max", {small, windows, TensorType{DType::bf16, {}}}, {small}, window),
      room);
}

}  // namespace
}  // namespace outrigger::ops::test
