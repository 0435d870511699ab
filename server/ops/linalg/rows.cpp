#include "ops/linalg/rows.hpp"

#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_linalg(std::vector<OpRow>& rows) {
  add_triangular_rows(rows);
  add_solve_rows(rows);
  add_lu_rows(rows);
  add_qr_rows(rows);
  add_eigh_rows(rows);
  add_svd_rows(rows);
}

}  // namespace outrigger::ops
