#pragma once

#include <functional>
#include <span>
#include <string>

#include "data/disk.hpp"
#include "data/manifest.hpp"
#include "tensor/memory.hpp"

namespace outrigger::data {

/// Writes the file of an entry: a header in text, the elements as they lie in memory, and the
/// checksum of both, which it returns. The bytes survive a loss of power when the folder is synced,
/// too. Errors: io_error; then a part of the file may be there.
Result<std::string> write_tensor(Disk& disk, const std::string& path, const Entry& entry,
                                 std::span<const std::byte> elements);

/// Reads the file of an entry, and checks each byte of it. Errors: bad_file that names the file, if
/// it is not the one that was written; io_error; out_of_memory.
Result<Tensor> read_tensor(Memory& memory, const std::string& path, const Entry& entry);

}  // namespace outrigger::data
