#include "ops/product/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_product(std::vector<OpRow>& rows) {
  add_dot_rows(rows);
  add_conv_rows(rows);
}

}  // namespace outrigger::ops
