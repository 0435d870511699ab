#include "ops/layout/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_layout(std::vector<OpRow>& rows) {
  add_creation_rows(rows);
  add_reshape_rows(rows);
  add_slice_rows(rows);
  add_pad_rows(rows);
}

}  // namespace outrigger::ops
