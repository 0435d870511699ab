#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

struct CsvOptions {
  DType dtype = DType::f32;
  char separator = ',';
  /// The first line has names, not numbers.
  bool header = false;
};

/// Calls f(i) for each i in [0, n), on any number of threads. f does not throw. Errors: cancelled,
/// deadline_exceeded; some calls are then not made.
using Team =
    std::function<Result<void>(std::int64_t n, const std::function<void(std::int64_t)>& f)>;

/// Reads a file of numbers, one row in each line, as a tensor [lines][columns].
/// - Lines end with LF or CR LF. A line with nothing but spaces is ignored; a line with a separator
///   is not.
/// - A field may have spaces around it, or double quotes. Inside quotes, the names of the header
///   may contain separators and line ends.
/// - A field that is empty, or that is NA, is NaN in floats and an error in integers.
/// - Floats are rounded from the decimal number; those below 32 bits are first rounded to f64. The
///   decimal separator is a point.
/// - `check` is called every 64 KiB, also from the team's threads. It may be null.
/// - The memory never holds a whole line, or more than number_bytes_max bytes of a field.
/// Errors: bad_file with the line and the column in the file, counted from 1 (with several
/// mistakes, the first); bad_dtype for complex numbers; io_error, out_of_memory; those of the team
/// and of the check.
Result<Tensor> load_csv(Memory& memory, const std::string& path, const CsvOptions& options,
                        const Team& team, const Check& check);

}  // namespace outrigger::files
