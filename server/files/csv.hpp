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

/// Calls f(i) for each i in [0, n), on as many threads as it likes; f does not throw. Errors:
/// cancelled, deadline_exceeded (some calls are then not made).
using Team =
    std::function<Result<void>(std::int64_t n, const std::function<void(std::int64_t)>& f)>;

/// A file of numbers, one row to a line, as a tensor [lines][columns]. Lines end with LF or CR LF;
/// those with nothing but spaces are left out, but a separator is something. A field may have
/// spaces around it, or double quotes, within which the header's names may have separators and line
/// ends. A field that is empty, or says NA, is NaN in floats, and an error in integers. Floats are
/// rounded from the decimal number (those below 32 bits by way of f64); a point parts the decimals.
/// `check` is asked every 64 KiB, also from the team's threads; it may be null. Lines are never in
/// memory as a whole, nor fields above number_bytes_max.
/// Errors: bad_file with the line and column as the file has them, counted from 1 (of several
/// mistakes the first); bad_dtype for complex numbers; io_error, out_of_memory; those of the team
/// and of the check.
Result<Tensor> load_csv(Memory& memory, const std::string& path, const CsvOptions& options,
                        const Team& team, const Check& check);

}  // namespace outrigger::files
