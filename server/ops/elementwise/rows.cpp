#include "ops/elementwise/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_elementwise(std::vector<OpRow>& rows) {
  add_unary_rows(rows);
  add_math_rows(rows);
  add_bits_rows(rows);
  add_binary_rows(rows);
  add_compare_rows(rows);
  add_select_rows(rows);
  add_complex_rows(rows);
}

}  // namespace outrigger::ops
