#pragma once

#include <optional>
#include <span>
#include <string>

#include "base/error.hpp"
#include "files/check.hpp"
#include "files/file.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::files {

/// Reads one array of a .npz file, stored or deflated. `member` is its name, with or without
/// ".npy"; without a member, the file must have only one. If several members have the same name,
/// the last one is read, as in Python. The rest of the contract is that of load_npy(). The unpacked
/// bytes are read into the tensor and no further. Errors: bad_file (also for a missing member: the
/// text lists the members), io_error, out_of_memory.
Result<Tensor> load_npz(Memory& memory, const std::string& path,
                        const std::optional<std::string>& member);

/// load_npz() from an open file.
Result<Tensor> read_npz(Memory& memory, File file, const std::optional<std::string>& member,
                        const Check& check = {});

/// A contiguous tensor and the name of its member, without ".npy".
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes a .npz file of these members, as save_npy() writes a file: stored, or deflated with
/// `compress`. Errors: those of save_npy(); bad_request for a name that is empty, too long, not
/// UTF-8 or repeated, and if there are no tensors.
Result<void> save_npz(std::span<const NamedTensor> tensors, const std::string& path, bool compress,
                      const Check& check = {});

}  // namespace outrigger::files
