#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "files/check.hpp"
#include "files/file.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// What a .npy file begins with.
inline constexpr std::string_view npy_magic{"\x93NUMPY", 6};

/// Reads a .npy file: format versions 1.0, 2.0 and 3.0, C or Fortran order, either byte order; the
/// dtypes u1 … u8, i1 … i8, f4, f8, and bool, which becomes u8. The tensor is in C order. The file
/// must be as long as its header says, which is checked before memory is taken.
/// Errors: bad_file (not such a file, or not an absolute path to a regular file), io_error,
/// out_of_memory.
Result<Tensor> load_npy(Memory& memory, const std::string& path);

/// The same from an open source, which must end where the array does. Errors: those of `check` too.
Result<Tensor> read_npy(Memory& memory, Source& source, const Check& check = {});

/// Writes a .npy file, version 1.0, beside its target and renames it: the path has either its old
/// contents or all of the new ones. A symbolic link is followed, and an existing file's permissions
/// are kept. `tensor` must be contiguous (C order).
/// Errors: bad_file (not an absolute path, or something other than a regular file is there),
/// io_error; those of `check`, after which the path has its old contents.
Result<void> save_npy(const Tensor& tensor, const std::string& path, const Check& check = {});

}  // namespace outrigger::files
