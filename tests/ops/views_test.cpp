#include <algorithm>
#include <numeric>
#include <random>

#include "support.hpp"

// Ops that read a view's elements where they lie: the same result as from a copy of them in C
// order, and no memory but the result's.

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

  /// Three axes of the numbers, turned, cut, reversed, repeated, and as they are.
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

  void check(std::string_view op, const Tensor& view, const std::vector<Tensor>& others,
             const Attrs& attrs) {
    std::vector<Tensor> in{view};
    in.insert(in.end(), others.begin(), others.end());
    Lab beside;
    const auto from_view = beside.run(op, in, attrs, 3);
    ASSERT_TRUE(from_view);
    EXPECT_EQ(beside.memory.peak(),
              Memory::capacity_of(static_cast<std::size_t>(byte_count(from_view->type))))
        << op;
    Context context = lab_.context();
    in[0] = lab_.empty(view.dtype(), view.shape());
    ASSERT_TRUE(copy_tensor(context, view, in[0]));
    const auto from_copy = lab_.run(op, in, attrs);
    ASSERT_TRUE(from_copy);
    EXPECT_EQ(bytes(*from_view), bytes(*from_copy))
        << op << " of " << to_string(view.type) << " with strides " << to_string(view.strides);
  }

  Lab lab_;
  std::mt19937_64 random_{31};
};

TEST_F(Views, AreTakenFrom) {
  for (const Tensor& view : views()) {
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      const auto at = static_cast<std::size_t>(axis);
      const Attrs attrs{{"axis", axis}};
      check("take", view, {indices({2, 3}, view.shape()[at])}, attrs);
      Dims shape = view.shape();
      shape[at] = 7;
      check("take_along_axis", view, {indices(shape, view.shape()[at])}, attrs);
    }
  }
}

TEST_F(Views, AreScanned) {
  for (const Tensor& view : views()) {
    for (std::int64_t axis = 0; axis < 3; ++axis) {
      for (const bool reverse : {false, true}) {
        const Attrs attrs{{"axis", axis}, {"reverse", reverse}};
        for (const auto* op : {"cumulative_sum", "cumulative_max"}) check(op, view, {}, attrs);
      }
    }
  }
}

}  // namespace
}  // namespace outrigger::ops::test
