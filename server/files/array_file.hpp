#pragma once

#include <optional>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// Reads an array of a .npy or .npz file; the contents tell which it is, not the name. `member` is
/// for .npz only. Blocks for as long as the file system does; any thread. What load_npy() and
/// load_npz() say holds. Errors: bad_file (also if it is neither), io_error, out_of_memory; those
/// of `check`.
Result<Tensor> load_array(Memory& memory, const std::string& path,
                          const std::optional<std::string>& member, const Check& check = {});

}  // namespace outrigger::files
