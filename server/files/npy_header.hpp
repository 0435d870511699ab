#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// Longest header that is read. numpy itself refuses more than 10,000 bytes unless told otherwise.
inline constexpr std::size_t npy_header_bytes_max = std::size_t{64} << 10;

/// What the header of a .npy file tells.
struct NpyHeader {
  TensorType type;  ///< passed check_shape
  bool fortran_order = false;
  bool swapped = false;  ///< elements are in the byte order that this machine has not
};

/// Reads the Python dict of a .npy header, e.g.
/// `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`: exactly these keys, in any order,
/// with blanks after it. Takes no memory but for error texts, which go on after a file's name.
/// Errors: bad_file.
Result<NpyHeader> parse_npy_header(std::string_view text);

/// All that stands before the data of a .npy file, version 1.0, of a C-order tensor of this type.
Result<std::string> npy_preamble(const TensorType& type);

}  // namespace outrigger::files
