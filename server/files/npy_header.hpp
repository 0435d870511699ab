#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// The longest header that is read. NumPy refuses more than 10,000 bytes by default.
inline constexpr std::size_t npy_header_bytes_max = std::size_t{64} << 10;

/// The contents of the header of a .npy file.
struct NpyHeader {
  TensorType type;  ///< has passed check_shape
  bool fortran_order = false;
  bool swapped = false;  ///< the elements are in the other byte order
};

/// Reads the Python dict of a .npy header, e.g. `{'descr': '<f8', 'fortran_order': False, 'shape':
/// (3, 4), }`: exactly these keys, in any order; blanks may follow. Allocates memory for error
/// texts only, which continue after a file's name. Errors: bad_file.
Result<NpyHeader> parse_npy_header(std::string_view text);

/// The bytes before the data in a .npy file, version 1.0, of a C-order tensor of this type.
Result<std::string> npy_preamble(const TensorType& type);

}  // namespace outrigger::files
