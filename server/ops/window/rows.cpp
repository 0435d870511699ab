#include "ops/window/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_window(std::vector<OpRow>& rows) {
  add_aggregate_rows(rows);
  add_scatter_rows(rows);
}

}  // namespace outrigger::ops
