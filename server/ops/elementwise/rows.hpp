#pragma once

#include <vector>

#include "ops/op.hpp"

namespace outrigger::ops {

// Each file of the family adds its rows.
void add_unary_rows(std::vector<OpRow>& rows);
void add_math_rows(std::vector<OpRow>& rows);
void add_bits_rows(std::vector<OpRow>& rows);
void add_binary_rows(std::vector<OpRow>& rows);
void add_compare_rows(std::vector<OpRow>& rows);
void add_select_rows(std::vector<OpRow>& rows);
void add_complex_rows(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
