#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// A tensor of a file's bytes from `offset` on: elements in C order, little endian, integers below
/// 8 bits packed. The file is mapped over the tensor's memory, privately: a page is read when it is
/// used, and what is written goes to a copy of the page, never to the file. The memory counts
/// against the budget, as it may come to be written. Small files, packed integers, and elements
/// that lie across their alignment, are read. Errors: bad_file (too short, or no regular file),
/// io_error, out_of_memory, limit_exceeded; those of `check`.
Result<Tensor> load_raw(Memory& memory, const std::string& path, const TensorType& type,
                        std::uint64_t offset, const Check& check = {});

/// Errors: io_error if the tensor is a file's bytes, and the file has been cut short since.
Result<void> check_intact(const Tensor& tensor);

}  // namespace outrigger::files
