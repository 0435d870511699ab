#include "ops/index/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_index(std::vector<OpRow>& rows) {
  add_gather_rows(rows);
  add_indexed_rows(rows);
  add_take_rows(rows);
}

}  // namespace outrigger::ops
