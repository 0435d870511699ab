#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/program.hpp"

namespace outrigger::test {

/// The payload of one frame, without its length.
using Payload = std::vector<std::uint8_t>;

/// The requests of PROTOCOL.md section 4, encoded by msgpack-c, which shares no code with the
/// server's decoder.
Payload encode_hello(std::uint64_t id, std::uint64_t protocol = 1);
Payload encode_auth(std::uint64_t id, std::string_view token);
Payload encode_simple(std::uint64_t id, std::string_view kind);  ///< ping, bye, info
Payload encode_info(std::uint64_t id, std::uint64_t handle);
Payload encode_upload(std::uint64_t id, std::uint64_t handle, const std::string& dtype,
                      const std::vector<std::int64_t>& shape, std::uint64_t offset,
                      std::span<const std::uint8_t> data);
Payload encode_download(std::uint64_t id, std::uint64_t handle, std::uint64_t offset,
                        std::uint64_t length);
Payload encode_load(std::uint64_t id, std::uint64_t handle, const std::string& path,
                    const std::optional<std::string>& member = {});
Payload encode_load_raw(std::uint64_t id, std::uint64_t handle, const std::string& path,
                        const std::string& dtype, const std::vector<std::int64_t>& shape,
                        std::uint64_t offset);
Payload encode_load_csv(std::uint64_t id, std::uint64_t handle, const std::string& path,
                        const std::string& dtype, const std::string& separator, bool header);
Payload encode_save(std::uint64_t id, std::uint64_t handle, const std::string& path);
Payload encode_save_npz(std::uint64_t id, std::span<const std::uint64_t> handles,
                        const std::vector<std::string>& names, const std::string& path,
                        bool compress);

struct RunOptions {
  bool atomic = false;
  std::optional<std::uint64_t> deadline_ms = {};
  bool profile = false;
  std::vector<std::uint64_t> donated = {};
};
Payload encode_run(std::uint64_t id, const Program& program, std::span<const std::uint64_t> args,
                   std::span<const std::uint64_t> results, const RunOptions& options = {});
Payload encode_prepare(std::uint64_t id, std::uint64_t program_id, const Program& program);
/// Prepares the program in a tensor's bytes, which are those of encode_program().
Payload encode_prepare(std::uint64_t id, std::uint64_t program_id, std::uint64_t handle);
Payload encode_program(const Program& program);
Payload encode_call(std::uint64_t id, std::uint64_t program_id, std::span<const std::uint64_t> args,
                    std::span<const std::uint64_t> results, const RunOptions& options = {});
Payload encode_forget(std::uint64_t id, std::uint64_t program_id);
/// Defines the unit of a golden kernel (protocol/golden/kernels).
Payload encode_define_kernel(std::uint64_t id, std::uint64_t kernel_id, std::string_view golden);
Payload encode_forget_kernel(std::uint64_t id, std::uint64_t kernel_id);
Payload encode_release(std::uint64_t id, std::span<const std::uint64_t> handles);
Payload encode_publish(std::uint64_t id, std::uint64_t handle, std::string_view name,
                       std::optional<std::uint64_t> expect = {},
                       std::optional<std::uint64_t> ttl_ms = {});
Payload encode_open(std::uint64_t id, std::uint64_t handle, std::string_view name,
                    bool live = false);
Payload encode_unpublish(std::uint64_t id, std::string_view name);
Payload encode_names(std::uint64_t id);
Payload encode_subscribe(std::uint64_t id, std::uint64_t subscription, std::string_view prefix);
Payload encode_unsubscribe(std::uint64_t id, std::uint64_t subscription);
Payload encode_cancel(std::uint64_t id, std::uint64_t request);
/// A request of that kind whose keys are integers.
Payload encode_numbers(std::uint64_t id, std::string_view kind,
                       const std::vector<std::pair<std::string_view, std::uint64_t>>& entries);

}  // namespace outrigger::test
