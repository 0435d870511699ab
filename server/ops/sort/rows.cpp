#include "ops/sort/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_sort(std::vector<OpRow>& rows) {
  add_sort_rows(rows);
  add_top_k_rows(rows);
}

}  // namespace outrigger::ops
