#pragma once

#include <vector>

#include "ops/op.hpp"

namespace outrigger::ops {

// Each file of the family adds its rows.
void add_triangular_rows(std::vector<OpRow>& rows);
void add_solve_rows(std::vector<OpRow>& rows);
void add_lu_rows(std::vector<OpRow>& rows);
void add_qr_rows(std::vector<OpRow>& rows);
void add_eigh_rows(std::vector<OpRow>& rows);
void add_svd_rows(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
