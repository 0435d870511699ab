#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace outrigger::test {

/// A reply as PROTOCOL.md section 2 describes it, decoded by msgpack-c.
struct Reply {
  struct Error {
    std::string code;
    std::string text;
    std::string op;
    std::vector<std::uint32_t> index;
    std::vector<std::uint64_t> written;
    std::string file;  ///< of `at`
    std::uint32_t line = 0;
    std::vector<Error> cause;  ///< none or one
  };
  struct Result {
    std::uint64_t handle = 0;
    std::string dtype;
    std::vector<std::int64_t> shape;
  };

  /// A published tensor, as `names` lists it.
  struct Name {
    std::string name;
    std::uint64_t version = 0;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> ttl_ms;
    std::string token;
  };

  std::uint64_t id = 0;  ///< 0: an event, of which `strings` and `numbers` have the keys
  std::string status;
  std::optional<Error> error;
  std::vector<Result> results;
  std::vector<Name> names;
  std::vector<std::int64_t> shape;  ///< with `info` of a handle
  std::vector<std::uint8_t> data;
  /// The integers of the reply by key; those in maps have keys such as "memory.used" and
  /// "limits.frame_bytes_max", those of a token "tenants.NAME.bytes", those of an operator's
  /// replies "sessions.NUMBER.queue", "kinds.run.count", "entries.0.run_us", "ops.add".
  std::map<std::string, std::uint64_t> numbers;
  std::map<std::string, bool> flags;
  /// Rights separated by commas.
  std::map<std::string, std::string> strings;

  bool ok() const { return status == "ok"; }
  /// The error's code, or "" if there is no error.
  std::string code() const { return error ? error->code : std::string(); }
  /// "ok", or the status, code and text: for failure messages.
  std::string text() const;
};

/// Throws std::runtime_error if the payload is not a reply.
Reply decode_reply(std::span<const std::uint8_t> payload);

}  // namespace outrigger::test
