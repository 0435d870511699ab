#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// A tensor of a file's bytes from `offset` on: elements in C order, little endian, integers below
/// 8 bits packed. The file is mapped over the tensor's memory, privately: the system reads a page
/// when it is used, and a write goes to a copy of the page, never to the file. The memory counts
/// against the budget, because it may be written. Small files, packed integers, and elements that
/// are not aligned are read. Errors: bad_file (too short, or not a regular file), io_error,
/// out_of_memory, limit_exceeded; those of `check`.
Result<Tensor> load_raw(Memory& memory, const std::string& path, const TensorType& type,
                        std::uint64_t offset, const Check& check = {});

/// Errors: io_error if the tensor is a mapped file that has become shorter.
Result<void> check_intact(const Tensor& tensor);

}  // namespace outrigger::files
