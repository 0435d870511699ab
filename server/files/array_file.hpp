#pragma once

#include <optional>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// Reads an array of a .npy or .npz file. The contents decide which of the two it is, not the name.
/// `member` is for .npz only. The function blocks as long as the file system does; any thread may
/// call it. The contracts of load_npy() and load_npz() hold. Errors: bad_file (also if the file has
/// neither format), io_error, out_of_memory; those of `check`.
Result<Tensor> load_array(Memory& memory, const std::string& path,
                          const std::optional<std::string>& member, const Check& check = {});

}  // namespace outrigger::files
