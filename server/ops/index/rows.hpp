#pragma once

#include <vector>

#include "ops/op.hpp"

namespace outrigger::ops {

// Each file of the family adds its rows.
void add_gather_rows(std::vector<OpRow>& rows);
void add_indexed_rows(std::vector<OpRow>& rows);
void add_take_rows(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
