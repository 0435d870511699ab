#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ops/op.hpp"
#include "ops/support/export.hpp"

namespace outrigger::ops {

/// The catalogue as JSON, as PROTOCOL.md section 6 describes it.
OUTRIGGER_EXPORT std::string describe_ops_json();
/// The hash of the catalogue, in hexadecimal. A client compares it with the hash of the catalogue
/// from which it was built.
OUTRIGGER_EXPORT std::string_view catalogue_hash();

/// Each family adds its rows. The `rows.hpp` of a folder names the folder's files.
void register_layout(std::vector<OpRow>& rows);
void register_elementwise(std::vector<OpRow>& rows);
void register_cast(std::vector<OpRow>& rows);
void register_reduce(std::vector<OpRow>& rows);
void register_window(std::vector<OpRow>& rows);
void register_product(std::vector<OpRow>& rows);
void register_linalg(std::vector<OpRow>& rows);
void register_fourier(std::vector<OpRow>& rows);
void register_index(std::vector<OpRow>& rows);
void register_sort(std::vector<OpRow>& rows);
void register_fold(std::vector<OpRow>& rows);
void register_control(std::vector<OpRow>& rows);

}  // namespace outrigger::ops
