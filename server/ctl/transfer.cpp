#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include "ctl/arguments.hpp"
#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/deadline.hpp"
#include "ctl/pipeline.hpp"
#include "ctl/told.hpp"
#include "files/npy.hpp"
#include "tensor/packing.hpp"
#include "tensor/tensor.hpp"

namespace outrigger::ctl {

namespace {

using wire::Kind;
using wire::Value;

/// A session of outriggerctl has one tensor.
constexpr std::uint64_t handle = 1;

struct Options {
  std::string name;
  std::string file;
  std::optional<std::uint64_t> version;
  std::optional<double> ttl_s;
  std::optional<std::uint64_t> expect;
};

Result<std::string> absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  if (error) return fail(ErrorCode::io_error, path + ": " + error.message());
  return full.string();
}

Result<TensorType> type_of(const Reply& opened) {
  const auto bad = [] {
    return fail(ErrorCode::bad_frame, "the reply to open does not tell the tensor's type");
  };
  const auto results = find(opened.value(), "results");
  if (!results || !results->is(Kind::array) || results->size() != 1) return bad();
  const Value result = *results->items().begin();
  const auto dtype = parse_dtype(Told(result).text("dtype"));
  const auto shape = find(result, "shape");
  if (!dtype || !shape || !shape->is(Kind::array) || shape->size() > Limits::rank_max) return bad();
  TensorType type{*dtype, {}};
  for (const Value dim : shape->items()) {
    if (!dim.is(Kind::unsigned_integer)) return bad();
    type.shape.push_back(static_cast<std::int64_t>(dim.natural()));
  }
  OUTRIGGER_CHECK(check_shape(type.shape, size_of(type.dtype)));
  return type;
}

Result<void> get(Connection& connection, const Options& options) {
  OUTRIGGER_TRY(const std::string path, absolute(options.file));
  Arguments open{{"handle", handle}, {"name", options.name}};
  if (options.version) open.add("version", *options.version);
  OUTRIGGER_TRY(const Reply opened, connection.request("open", open));
  OUTRIGGER_TRY(const TensorType type, type_of(opened));
  Memory memory;
  OUTRIGGER_TRY(const Tensor tensor, allocate_tensor(memory, type));
  std::vector<std::byte> packed;
  const auto bytes = static_cast<std::uint64_t>(packed_byte_count(type));
  const bool whole = bits_of(type.dtype) >= 8;
  if (!whole) packed.resize(bytes);
  std::byte* const data = whole ? tensor.data() : packed.data();
  OUTRIGGER_TRY(const std::uint64_t chunk, chunk_of(connection));
  now_doing("receiving the tensor");
  OUTRIGGER_CHECK(pipeline(
      connection, (bytes + chunk - 1) / chunk, chunks_in_flight,
      [&](std::uint64_t i) {
        return connection.send("download", {{"handle", handle},
                                            {"offset", i * chunk},
                                            {"length", std::min(chunk, bytes - i * chunk)}});
      },
      [&](std::uint64_t i, const Reply& reply) -> Result<void> {
        const auto part = find(reply.value(), "data");
        if (!part || !part->is(Kind::binary) || part->size() != std::min(chunk, bytes - i * chunk))
          return fail(ErrorCode::bad_frame, "a reply to download has not the bytes that it must");
        std::memcpy(data + i * chunk, part->binary().data(), part->size());
        return {};
      }));
  if (!whole) {
    unpack(type.dtype, reinterpret_cast<const std::uint8_t*>(packed.data()), tensor.size(),
           tensor.as<std::uint8_t>());
  }
  now_doing("writing the file");
  return files::save_npy(tensor, path);
}

Result<void> put(Connection& connection, const Options& options, bool json) {
  OUTRIGGER_TRY(const std::string path, absolute(options.file));
  Memory memory;
  now_doing("reading the file");
  OUTRIGGER_TRY(const Tensor tensor, files::load_npy(memory, path));
  const std::span data(tensor.data(), static_cast<std::size_t>(byte_count(tensor.type)));
  OUTRIGGER_TRY(const std::uint64_t chunk, chunk_of(connection));
  const std::string dtype(name_of(tensor.dtype()));
  const std::vector<std::uint64_t> shape(tensor.shape().begin(), tensor.shape().end());
  now_doing("sending the tensor");
  // A tensor without elements takes one chunk.
  OUTRIGGER_CHECK(pipeline(
      connection, std::max<std::uint64_t>(1, (data.size() + chunk - 1) / chunk), chunks_in_flight,
      [&](std::uint64_t i) {
        const std::size_t offset = i * chunk;
        return connection.send(
            "upload",
            {{"handle", handle},
             {"dtype", dtype},
             {"shape", shape},
             {"offset", std::uint64_t{offset}},
             {"data", data.subspan(offset, std::min<std::size_t>(chunk, data.size() - offset))}});
      },
      [](std::uint64_t, const Reply&) -> Result<void> { return {}; }));
  Arguments publish{{"handle", handle}, {"name", options.name}};
  if (options.expect) publish.add("expect", *options.expect);
  if (options.ttl_s) publish.add("ttl_ms", static_cast<std::uint64_t>(*options.ttl_s * 1000));
  OUTRIGGER_TRY(const Reply published, connection.request("publish", publish));
  const std::string version = Told(published.value()).count("version");
  std::printf(json ? "{\"version\": %s}\n" : "version %s\n", version.c_str());
  return {};
}

}  // namespace

void add_get(CLI::App& app, const bool&, Command& chosen) {
  static Options options;
  CLI::App* command =
      app.add_subcommand("get", "Write a published tensor to a file of NumPy's format (.npy)");
  command->add_option("name", options.name, "The name of the tensor")->required();
  command->add_option("file", options.file, "The file; an existing one is replaced")->required();
  command->add_option("--expect", options.version, "Fail unless the name has this version");
  command->callback([&] {
    chosen = {[](Connection& server) { return get(server, options); }, true};
  });
}

void add_put(CLI::App& app, const bool& json, Command& chosen) {
  static Options options;
  CLI::App* command = app.add_subcommand("put", "Publish the array of a .npy file under a name");
  command->add_option("file", options.file, "The file")->required();
  command->add_option("name", options.name, "The name, whose tensor is replaced")->required();
  command->add_option("--expect", options.expect,
                      "Fail unless the name has this version; 0: unless there is no such name");
  command->add_option("--ttl", options.ttl_s, "Seconds after which the name disappears")
      ->check(CLI::Range(0.001, 1e9));
  command->callback([&] {
    chosen = {[&json](Connection& server) { return put(server, options, json); }, true};
  });
}

}  // namespace outrigger::ctl
