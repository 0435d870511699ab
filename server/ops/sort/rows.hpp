#pragma once

#include <vector>

#include "ops/op.hpp"

namespace outrigger::ops {

// Each file of the family adds its rows.
void add_sort_rows(std::vector<OpRow>& rows);
void add_top_k_rows(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
