#pragma once

#include <vector>

#include "ops/op.hpp"

namespace outrigger::ops {

// Each file of the family adds its rows.
void add_creation_rows(std::vector<OpRow>& rows);
void add_reshape_rows(std::vector<OpRow>& rows);
void add_slice_rows(std::vector<OpRow>& rows);
void add_pad_rows(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
