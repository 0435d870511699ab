#include "ops/elementwise/complex_math.hpp"
#include "ops/elementwise/kernels.hpp"
#include "ops/elementwise/rows.hpp"

namespace outrigger::ops {
namespace {

struct Equal : OnLanes {
  template <typename T>
  static auto apply(T a, T b) {
    return a == b;
  }
};
struct NotEqual : OnLanes {
  template <typename T>
  static auto apply(T a, T b) {
    return a != b;
  }
};
struct Greater : OnLanes {
  template <typename T>
  static auto apply(T a, T b) {
    return a > b;
  }
};
struct Less : OnLanes {
  template <typename T>
  static auto apply(T a, T b) {
    return a < b;
  }
};
struct GreaterEqual : OnLanes {
  template <typename T>
  static auto apply(T a, T b) {
    return a >= b;
  }
};
struct LessEqual : OnLanes {
  template <typename T>
  static auto apply(T a, T b) {
    return a <= b;
  }
};

// The operands of the logical ops are 0 or 1 already.
struct LogicalAnd : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct LogicalOr : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct LogicalXor : OnLanes {
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
struct LogicalNot : OnLanes {
  template <typename T>
  static T apply(T a) {
    return static_cast<T>(a ^ T{1});
  }
};

template <typename F>
Kernel logical_tile(DType) {
  return binary_kernel_of<F, std::uint8_t, std::uint8_t>();
}
Kernel logical_not_tile(DType) { return unary_kernel_of<LogicalNot, std::uint8_t, std::uint8_t>(); }

OpRow compare(std::string_view name, Kernel (*tile)(DType), std::string_view doc,
              Kernel (*complex_tile)(DType) = nullptr) {
  return OpRow{.name = name,
               .family = "compare",
               .kind = Kind::elementwise,
               .operands = {{"left"}, {"right"}},
               .in_place = 0,
               .infer = infer_predicate,
               .tile = tile,
               .complex_tile = complex_tile,
               .doc = doc};
}

OpRow logical(std::string_view name, Kernel (*tile)(DType), std::string_view doc) {
  OpRow row = compare(name, tile, doc);
  row.family = "logical";
  row.infer = infer_logical;
  row.boolean_operands = 0b11;
  return row;
}

}  // namespace

void add_compare_rows(std::vector<OpRow>& rows) {
  rows.push_back(compare("equal", binary_tile<Equal, std::uint8_t>,
                         "Element-wise equality, as u8 0 or 1. The operands are compared in their "
                         "common dtype, or in f32 if that is a smaller float: 2049 as s32 is not "
                         "equal to 2048 as f16. NaN is not equal to any number.",
                         complex_binary_tile<Equal, std::uint8_t>));
  rows.push_back(compare("not_equal", binary_tile<NotEqual, std::uint8_t>,
                         "Element-wise inequality, as u8 0 or 1. NaN is not equal to any number.",
                         complex_binary_tile<NotEqual, std::uint8_t>));
  rows.push_back(compare("greater", binary_tile<Greater, std::uint8_t>,
                         "Element-wise left > right as u8 0 or 1; 0 with NaN."));
  rows.push_back(compare("less", binary_tile<Less, std::uint8_t>,
                         "Element-wise left < right as u8 0 or 1; 0 with NaN."));
  rows.push_back(compare("greater_equal", binary_tile<GreaterEqual, std::uint8_t>,
                         "Element-wise left >= right as u8 0 or 1; 0 with NaN."));
  rows.push_back(compare("less_equal", binary_tile<LessEqual, std::uint8_t>,
                         "Element-wise left <= right as u8 0 or 1; 0 with NaN."));
  rows.push_back(logical("logical_and", logical_tile<LogicalAnd>,
                         "Element-wise: 1 where both operands are not zero, as u8."));
  rows.push_back(logical("logical_or", logical_tile<LogicalOr>,
                         "Element-wise: 1 where an operand is not zero, as u8."));
  rows.push_back(logical("logical_xor", logical_tile<LogicalXor>,
                         "Element-wise: 1 where exactly one operand is not zero, as u8."));
  OpRow negation =
      logical("logical_not", logical_not_tile, "Element-wise: 1 where the operand is zero, as u8.");
  negation.operands = {{"tensor"}};
  rows.push_back(std::move(negation));
}

}  // namespace outrigger::ops
