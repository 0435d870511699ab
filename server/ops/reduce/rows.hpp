#pragma once

#include <vector>

#include "ops/op.hpp"

namespace outrigger::ops {

// Each file of the family adds its rows.
void add_reduce_rows(std::vector<OpRow>& rows);
void add_argminmax_rows(std::vector<OpRow>& rows);
void add_scan_rows(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
