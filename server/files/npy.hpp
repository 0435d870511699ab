#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "files/check.hpp"
#include "files/file.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// The first bytes of a .npy file.
inline constexpr std::string_view npy_magic{"\x93NUMPY", 6};

/// Reads a .npy file: format versions 1.0, 2.0 and 3.0; C or Fortran order; both byte orders; the
/// dtypes u1 … u8, i1 … i8, f4, f8, and bool, which becomes u8. The tensor is in C order. The
/// length of the file must agree with its header; this is checked before memory is allocated.
/// Errors: bad_file (not such a file, or not an absolute path of a regular file), io_error,
/// out_of_memory.
Result<Tensor> load_npy(Memory& memory, const std::string& path);

/// load_npy() from an open source, which must end where the array ends. Errors: also those of
/// `check`.
Result<Tensor> read_npy(Memory& memory, Source& source, const Check& check = {});

/// Writes a .npy file, version 1.0, in the target's folder, and renames it: the path has either its
/// old contents or all of the new ones. Follows a symbolic link, and keeps the permissions of an
/// existing file. `tensor` must be contiguous (C order). Errors: bad_file (the path is not
/// absolute, or names something that is not a regular file), io_error; those of `check`, after
/// which the path has its old contents.
Result<void> save_npy(const Tensor& tensor, const std::string& path, const Check& check = {});

}  // namespace outrigger::files
