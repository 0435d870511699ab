#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/program.hpp"
#include "support/compare.hpp"
#include "support/encode.hpp"
#include "support/reply.hpp"
#include "support/transport.hpp"

namespace outrigger::test {

/// A small client over any transport, for tests of the engine's behaviour. A function whose name
/// ends in _later sends without waiting; wait() then returns the reply.
class Client {
 public:
  /// Sends hello. Throws std::runtime_error if that fails.
  explicit Client(std::unique_ptr<Transport> transport);

  Transport& transport() { return *transport_; }
  const Reply& hello() const { return hello_; }
  std::uint64_t new_id() { return ++last_id_; }
  std::uint64_t new_handle() { return ++last_handle_; }

  /// Sends a request with `id`, which must come from new_id().
  std::uint64_t send(std::uint64_t id, const Payload& payload);
  /// The reply to request `id`. Replies to other requests are kept for later.
  Reply wait(std::uint64_t id);
  Reply request(std::uint64_t id, const Payload& payload) { return wait(send(id, payload)); }

  std::uint64_t upload_later(std::uint64_t handle, const Data& data);
  std::uint64_t run_later(const Program& program, std::span<const std::uint64_t> args,
                          std::span<const std::uint64_t> results, const RunOptions& options = {});
  std::uint64_t prepare_later(std::uint64_t program_id, const Program& program);
  std::uint64_t forget_later(std::uint64_t program_id);
  std::uint64_t release_later(std::span<const std::uint64_t> handles);

  /// Uploads under a new handle. Throws if that fails.
  std::uint64_t upload(const Data& data);
  Reply run(const Program& program, std::span<const std::uint64_t> args,
            std::span<const std::uint64_t> results, const RunOptions& options = {});
  /// The tensor of a handle, in several pieces if it is large. Throws if there is none.
  Data download(std::uint64_t handle);
  /// download() without a request for the type.
  Data download(std::uint64_t handle, const std::string& dtype,
                const std::vector<std::int64_t>& shape);

  /// The requests of one download.
  struct Download {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::uint64_t> requests;
  };
  Download download_later(std::uint64_t handle, const std::string& dtype,
                          const std::vector<std::int64_t>& shape);
  Data wait(const Download& download);
  Reply info(std::uint64_t handle);
  Reply info();
  Reply release(std::span<const std::uint64_t> handles);
  Reply ping();

 private:
  std::unique_ptr<Transport> transport_;
  std::uint64_t last_id_ = 0;
  std::uint64_t last_handle_ = 0;
  std::map<std::uint64_t, Reply> early_;
  Reply hello_;
};

}  // namespace outrigger::test
