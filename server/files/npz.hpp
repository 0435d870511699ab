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
/// ".npy"; without a member, the file must have only one. Of members of the same name the last
/// counts, as in Python. Otherwise as load_npy(); what the member unpacks to is read into the
/// tensor and no further. Errors: bad_file (also for a missing member: the text lists those there
/// are), io_error, out_of_memory.
Result<Tensor> load_npz(Memory& memory, const std::string& path,
                        const std::optional<std::string>& member);

/// The same from an open file.
Result<Tensor> read_npz(Memory& memory, File file, const std::optional<std::string>& member,
                        const Check& check = {});

/// A tensor, contiguous, and the member's name, without ".npy".
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes a .npz file of these members, as save_npy() writes: stored, or deflated with `compress`.
/// Errors: save_npy()'s; bad_request for a name that is empty, too long, no text or there twice,
/// and for no tensors at all.
Result<void> save_npz(std::span<const NamedTensor> tensors, const std::string& path, bool compress,
                      const Check& check = {});

}  // namespace outrigger::files
