#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "base/kernel_unit.hpp"
#include "base/limits.hpp"
#include "base/program.hpp"

namespace outrigger::wire {

/// The requests of PROTOCOL.md, sections 4 and 9 to 12. Their form is checked, but not their
/// meaning: dtypes are still strings, and handles are numbers.

struct Hello {
  std::uint64_t protocol = 0;
  std::string client;
};
struct Auth {
  std::string token;
};
struct Ping {};
struct Info {
  std::optional<std::uint64_t> handle;
};
struct Upload {
  std::uint64_t handle = 0;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;
  /// A part of the frame, which must outlive the request.
  std::span<const std::uint8_t> data;
};
struct Download {
  std::uint64_t handle = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
struct Load {
  std::uint64_t handle = 0;
  std::string path;
  std::optional<std::string> member;
};
struct LoadRaw {
  std::uint64_t handle = 0;
  std::string path;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;
};
struct LoadCsv {
  std::uint64_t handle = 0;
  std::string path;
  std::string dtype;
  std::string separator = ",";
  bool header = false;
};
struct Save {
  std::uint64_t handle = 0;
  std::string path;
};
/// There are as many names as handles.
struct SaveNpz {
  std::vector<std::uint64_t> handles;
  std::vector<std::string> names;
  std::string path;
  bool compress = false;
};
/// The program of a request. It is never copied: it may be large, and a request that is tried again
/// still has it. (A copy of AttrValue that runs out of memory is undefined behaviour in libstdc++
/// 12: a variant of strings and vectors destroys the alternative that was not made.)
class SharedProgram {
 public:
  SharedProgram() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): it stands for the program
  SharedProgram(Program program) : program_(std::make_shared<Program>(std::move(program))) {}

  explicit operator bool() const { return program_ != nullptr; }
  Program& operator*() const { return *program_; }
  Program* operator->() const { return program_.get(); }
  const std::shared_ptr<Program>& pointer() const { return program_; }

 private:
  std::shared_ptr<Program> program_;
};
/// `run` and `call`: exactly one of program and program_id is set.
struct Run {
  SharedProgram program;
  std::optional<std::uint64_t> program_id;
  std::vector<std::uint64_t> args;
  std::vector<std::uint64_t> results;
  bool atomic = false;
  std::optional<std::uint64_t> deadline_ms;
  bool profile = false;
  /// Handles of `args` that are released when the program begins, so that it may write into their
  /// memory.
  std::vector<std::uint64_t> donated = {};
  /// The arguments that are numbers, by position, in ascending order; `args` has 0 there.
  std::vector<std::pair<std::uint32_t, Number>> numbers = {};
};
/// Exactly one of program and handle is set.
struct Prepare {
  std::uint64_t program_id = 0;
  SharedProgram program;
  /// The handle of a tensor whose data is the program in msgpack.
  std::optional<std::uint64_t> handle = {};
};
struct Forget {
  std::uint64_t program_id = 0;
};
struct DefineKernel {
  std::uint64_t kernel_id = 0;
  kernel::Unit unit;
};
struct ForgetKernel {
  std::uint64_t kernel_id = 0;
};
struct Release {
  std::vector<std::uint64_t> handles;
};
struct Publish {
  std::uint64_t handle = 0;
  std::string name;
  std::optional<std::uint64_t> expect = {};
  std::optional<std::uint64_t> ttl_ms = {};
};
struct Open {
  std::uint64_t handle = 0;
  std::string name;
  std::optional<std::uint64_t> version = {};
  bool live = false;
};
struct ListNames {
  std::string prefix;
  std::optional<std::string> after = {};
  std::uint64_t limit = Limits::names_listed_max;
};
struct Unpublish {
  std::string name;
  std::optional<std::uint64_t> expect = {};
};
/// `pattern` is a name, or the prefix of names.
struct Subscribe {
  std::uint64_t subscription = 0;
  std::string pattern;
  bool prefix = false;
};
struct Unsubscribe {
  std::uint64_t subscription = 0;
};
struct Checkpoint {};
/// `session`: another one's request.
struct Cancel {
  std::uint64_t request = 0;
  std::optional<std::uint64_t> session = {};
};
/// The sessions behind the number `after`.
struct ListSessions {
  std::uint64_t after = 0;
  std::uint64_t limit = 0;
};
struct Stats {};
/// The last entries.
struct SlowLog {
  std::uint64_t limit = 0;
};
/// Begins to tell of each request, or ends it.
struct Monitor {
  bool on = true;
};
struct Kick {
  std::uint64_t session = 0;
};
struct Bye {};

struct Request {
  std::uint64_t id = 0;
  std::variant<Hello, Auth, Ping, Info, Upload, Download, Load, LoadRaw, LoadCsv, Save, SaveNpz,
               Run, Prepare, Forget, DefineKernel, ForgetKernel, Release, Publish, Open, ListNames,
               Unpublish, Subscribe, Unsubscribe, Checkpoint, Cancel, ListSessions, Stats, SlowLog,
               Monitor, Kick, Bye>
      body;
};

/// The sessions, and the entries of the slow log, that one reply has.
inline constexpr std::uint64_t sessions_listed_max = 1000;
inline constexpr std::uint64_t slow_entries_max = 128;

/// The names of the kinds in the order of Request::body; `call`, which is a Run, is the last one.
inline constexpr std::array<std::string_view, 32> kind_names{
    "hello",         "auth",          "ping",       "info",     "upload",   "download", "load",
    "load_raw",      "load_csv",      "save",       "save_npz", "run",      "prepare",  "forget",
    "define_kernel", "forget_kernel", "release",    "publish",  "open",     "names",    "unpublish",
    "subscribe",     "unsubscribe",   "checkpoint", "cancel",   "sessions", "stats",    "slowlog",
    "monitor",       "kick",          "bye",        "call"};
static_assert(kind_names.size() == std::variant_size_v<decltype(Request::body)> + 1);

/// The position of the request's kind in kind_names.
inline std::size_t kind_of(const decltype(Request::body)& body) {
  const auto* run = std::get_if<Run>(&body);
  return run != nullptr && run->program_id ? kind_names.size() - 1 : body.index();
}

/// The approximate number of bytes that the body of a decoded request holds beside its frame.
std::uint64_t held_bytes(const decltype(Request::body)& body);

/// A frame that is not a valid Request. If it has an id, the session replies and continues. If it
/// has none (id 0), the frame was malformed, and the session ends.
struct Refusal {
  std::uint64_t id = 0;
  Error error;
};

/// Decodes requests. It keeps scratch memory between frames, so that small frames allocate little.
class Decoder {
 public:
  explicit Decoder(const Limits& limits);
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  /// Decodes the payload of one frame (without its length). The msgpack values take at most 16
  /// bytes for each byte of the payload, and programs at most Limits::program_data_max.
  tl::expected<Request, Refusal> decode(std::span<const std::uint8_t> payload);

  /// Frees the memory that is kept between frames.
  void trim();

  /// The `id` of a frame for which decode() had no memory. It needs only some hundred bytes.
  /// Returns 0 if the frame has none.
  static std::uint64_t find_id(std::span<const std::uint8_t> payload);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace outrigger::wire
