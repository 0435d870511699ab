#include "ops/reduce/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_reduce(std::vector<OpRow>& rows) {
  add_reduce_rows(rows);
  add_argminmax_rows(rows);
  add_scan_rows(rows);
}

}  // namespace outrigger::ops
