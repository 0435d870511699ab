#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ops/export.hpp"
#include "ops/op.hpp"

namespace outrigger::ops {

/// The catalogue as JSON, as PROTOCOL.md section 6 describes it.
OUTRIGGER_EXPORT std::string describe_ops_json();
/// Hash of the catalogue, hexadecimal: clients compare it with the one that they were built from.
OUTRIGGER_EXPORT std::string_view catalogue_hash();

/// Each family adds its rows.
void register_cast(std::vector<OpRow>& rows);
void register_binary(std::vector<OpRow>& rows);
void register_bits(std::vector<OpRow>& rows);
void register_compare(std::vector<OpRow>& rows);
void register_complex(std::vector<OpRow>& rows);
void register_conv(std::vector<OpRow>& rows);
void register_control(std::vector<OpRow>& rows);
void register_creation(std::vector<OpRow>& rows);
void register_dot(std::vector<OpRow>& rows);
void register_linalg(std::vector<OpRow>& rows);
void register_solve(std::vector<OpRow>& rows);
void register_lu(std::vector<OpRow>& rows);
void register_qr(std::vector<OpRow>& rows);
void register_eigh(std::vector<OpRow>& rows);
void register_svd(std::vector<OpRow>& rows);
void register_fft(std::vector<OpRow>& rows);
void register_fold(std::vector<OpRow>& rows);
void register_index(std::vector<OpRow>& rows);
void register_math(std::vector<OpRow>& rows);
void register_reduce(std::vector<OpRow>& rows);
void register_argminmax(std::vector<OpRow>& rows);
void register_scan(std::vector<OpRow>& rows);
void register_select(std::vector<OpRow>& rows);
void register_shape(std::vector<OpRow>& rows);
void register_slice(std::vector<OpRow>& rows);
void register_sort(std::vector<OpRow>& rows);
void register_pad(std::vector<OpRow>& rows);
void register_window(std::vector<OpRow>& rows);
void register_window_scatter(std::vector<OpRow>& rows);
void register_take(std::vector<OpRow>& rows);
void register_top_k(std::vector<OpRow>& rows);
void register_unary(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
