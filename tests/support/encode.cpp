#include "support/encode.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <iterator>
#include <msgpack.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace outrigger::test {
namespace {

/// Writes one request: a map with `id`, `do` and a number of other keys, which the caller adds.
class Writer {
 public:
  Writer() = default;
  Writer(std::uint64_t id, std::string_view kind, std::uint32_t more_keys = 0) {
    map(2 + more_keys);
    entry("id", id);
    entry("do", kind);
  }

  void map(std::uint32_t keys) { packer_.pack_map(keys); }
  void array(std::size_t size) { packer_.pack_array(static_cast<std::uint32_t>(size)); }
  template <typename T>
  void value(const T& value) {
    packer_.pack(value);
  }
  /// Writes the double itself: the packer changes floats without a fraction to integers, which are
  /// other literals, and -0.0 to 0.
  void value(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    std::array<char, 9> bytes{'\xcb'};
    for (std::size_t i = 0; i < 8; ++i) bytes.at(i + 1) = static_cast<char>(bits >> (56 - 8 * i));
    buffer_.write(bytes.data(), bytes.size());
  }
  template <typename T>
  void entry(std::string_view key, const T& value) {
    packer_.pack(key);
    packer_.pack(value);
  }
  void key(std::string_view key) { packer_.pack(key); }
  void binary(std::span<const std::uint8_t> bytes) {
    packer_.pack_bin(static_cast<std::uint32_t>(bytes.size()));
    packer_.pack_bin_body(reinterpret_cast<const char*>(bytes.data()),
                          static_cast<std::uint32_t>(bytes.size()));
  }
  template <typename Range>
  void integers(const Range& range) {
    array(range.size());
    for (const auto item : range) packer_.pack(item);
  }

  Payload take() const {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(buffer_.data());
    return {begin, begin + buffer_.size()};
  }

 private:
  msgpack::sbuffer buffer_;
  msgpack::packer<msgpack::sbuffer> packer_{buffer_};
};

void write_number(Writer& out, const Number& number) {
  if (const auto* real = std::get_if<double>(&number); real != nullptr && !std::isfinite(*real)) {
    out.value(std::string_view(std::isnan(*real) ? "nan"
                               : *real > 0       ? "infinity"
                                                 : "neg_infinity"));
    return;
  }
  if (const auto* complex = std::get_if<std::complex<double>>(&number)) {
    out.map(2);
    out.key("re");
    write_number(out, complex->real());
    out.key("im");
    write_number(out, complex->imag());
    return;
  }
  std::visit(
      [&](auto value) {
        if constexpr (std::is_arithmetic_v<decltype(value)>) out.value(value);
      },
      number);
}

void write_attr(Writer& out, const AttrValue& attr) {
  std::visit(
      [&]<typename T>(const T& value) {
        if constexpr (std::is_same_v<T, Number>) {
          write_number(out, value);
        } else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) {
          out.integers(value);
        } else if constexpr (std::is_same_v<T, Bytes>) {
          out.binary(value);
        } else {
          out.value(value);
        }
      },
      attr);
}

void write_region(Writer& out, const Region& region);

void write_instruction(Writer& out, const Instruction& instruction) {
  const bool attrs = !instruction.attrs.empty();
  const bool regions = !instruction.regions.empty();
  const bool results = !instruction.out.empty();
  out.map(2U + (results ? 1 : 0) + (attrs ? 1 : 0) + (regions ? 1 : 0) +
          (instruction.in_place ? 1 : 0));
  out.entry("op", instruction.op);
  out.key("in");
  out.array(instruction.in.size());
  for (const Operand& operand : instruction.in) {
    if (const auto* id = std::get_if<ValueId>(&operand)) {
      out.value(*id);
    } else {
      out.map(1);
      out.key("number");
      write_number(out, std::get<Number>(operand));
    }
  }
  if (results) {
    out.key("out");
    out.integers(instruction.out);
  }
  if (attrs) {
    out.key("attrs");
    out.map(static_cast<std::uint32_t>(instruction.attrs.size()));
    for (const auto& [name, value] : instruction.attrs) {
      out.key(name);
      write_attr(out, value);
    }
  }
  if (regions) {
    out.key("regions");
    out.array(instruction.regions.size());
    for (const Region& region : instruction.regions) write_region(out, region);
  }
  if (instruction.in_place) out.entry("in_place", true);
}

void write_region(Writer& out, const Region& region) {
  out.map(3);
  out.key("params");
  out.integers(region.params);
  out.key("body");
  out.array(region.body.size());
  for (const Instruction& instruction : region.body) write_instruction(out, instruction);
  out.key("outputs");
  out.integers(region.outputs);
}

std::uint32_t option_keys(const RunOptions& options) {
  return (options.atomic ? 1U : 0U) + (options.deadline_ms ? 1U : 0U) +
         (options.profile ? 1U : 0U) + (options.donated.empty() ? 0U : 1U);
}

Payload finish_run(Writer& out, std::span<const std::uint64_t> args,
                   std::span<const std::uint64_t> results, const RunOptions& options) {
  out.key("args");
  out.integers(args);
  out.key("results");
  out.integers(results);
  if (options.atomic) out.entry("atomic", true);
  if (options.deadline_ms) out.entry("deadline_ms", *options.deadline_ms);
  if (options.profile) out.entry("profile", true);
  if (!options.donated.empty()) {
    out.key("donated");
    out.integers(options.donated);
  }
  return out.take();
}

}  // namespace

Payload encode_hello(std::uint64_t id, std::uint64_t protocol) {
  Writer out(id, "hello", 2);
  out.entry("protocol", protocol);
  out.entry("client", std::string_view("outrigger tests"));
  return out.take();
}

Payload encode_auth(std::uint64_t id, std::string_view token) {
  Writer out(id, "auth", 1);
  out.entry("token", token);
  return out.take();
}

Payload encode_simple(std::uint64_t id, std::string_view kind) { return Writer(id, kind).take(); }

Payload encode_info(std::uint64_t id, std::uint64_t handle) {
  Writer out(id, "info", 1);
  out.entry("handle", handle);
  return out.take();
}

Payload encode_upload(std::uint64_t id, std::uint64_t handle, const std::string& dtype,
                      const std::vector<std::int64_t>& shape, std::uint64_t offset,
                      std::span<const std::uint8_t> data) {
  Writer out(id, "upload", 5);
  out.entry("handle", handle);
  out.entry("dtype", dtype);
  out.key("shape");
  out.integers(shape);
  out.entry("offset", offset);
  out.key("data");
  out.binary(data);
  return out.take();
}

Payload encode_download(std::uint64_t id, std::uint64_t handle, std::uint64_t offset,
                        std::uint64_t length) {
  Writer out(id, "download", 3);
  out.entry("handle", handle);
  out.entry("offset", offset);
  out.entry("length", length);
  return out.take();
}

Payload encode_load(std::uint64_t id, std::uint64_t handle, const std::string& path,
                    const std::optional<std::string>& member) {
  Writer out(id, "load", member ? 3 : 2);
  out.entry("handle", handle);
  out.entry("path", path);
  if (member) out.entry("member", *member);
  return out.take();
}

Payload encode_load_raw(std::uint64_t id, std::uint64_t handle, const std::string& path,
                        const std::string& dtype, const std::vector<std::int64_t>& shape,
                        std::uint64_t offset) {
  Writer out(id, "load_raw", 5);
  out.entry("handle", handle);
  out.entry("path", path);
  out.entry("dtype", dtype);
  out.key("shape");
  out.integers(shape);
  out.entry("offset", offset);
  return out.take();
}

Payload encode_load_csv(std::uint64_t id, std::uint64_t handle, const std::string& path,
                        const std::string& dtype, const std::string& separator, bool header) {
  Writer out(id, "load_csv", 5);
  out.entry("handle", handle);
  out.entry("path", path);
  out.entry("dtype", dtype);
  out.entry("separator", separator);
  out.entry("header", header);
  return out.take();
}

Payload encode_save(std::uint64_t id, std::uint64_t handle, const std::string& path) {
  Writer out(id, "save", 2);
  out.entry("handle", handle);
  out.entry("path", path);
  return out.take();
}

Payload encode_save_npz(std::uint64_t id, std::span<const std::uint64_t> handles,
                        const std::vector<std::string>& names, const std::string& path,
                        bool compress) {
  Writer out(id, "save_npz", 4);
  out.key("handles");
  out.integers(handles);
  out.entry("names", names);
  out.entry("path", path);
  out.entry("compress", compress);
  return out.take();
}

Payload encode_run(std::uint64_t id, const Program& program, std::span<const std::uint64_t> args,
                   std::span<const std::uint64_t> results, const RunOptions& options) {
  Writer out(id, "run", 3 + option_keys(options));
  out.key("program");
  write_region(out, program);
  return finish_run(out, args, results, options);
}

Payload encode_prepare(std::uint64_t id, std::uint64_t program_id, const Program& program) {
  Writer out(id, "prepare", 2);
  out.entry("program_id", program_id);
  out.key("program");
  write_region(out, program);
  return out.take();
}

Payload encode_prepare(std::uint64_t id, std::uint64_t program_id, std::uint64_t handle) {
  Writer out(id, "prepare", 2);
  out.entry("program_id", program_id);
  out.entry("handle", handle);
  return out.take();
}

Payload encode_program(const Program& program) {
  Writer out;
  write_region(out, program);
  return out.take();
}

Payload encode_call(std::uint64_t id, std::uint64_t program_id, std::span<const std::uint64_t> args,
                    std::span<const std::uint64_t> results, const RunOptions& options) {
  Writer out(id, "call", 3 + option_keys(options));
  out.entry("program_id", program_id);
  return finish_run(out, args, results, options);
}

Payload encode_forget(std::uint64_t id, std::uint64_t program_id) {
  Writer out(id, "forget", 1);
  out.entry("program_id", program_id);
  return out.take();
}

Payload encode_define_kernel(std::uint64_t id, std::uint64_t kernel_id, std::string_view golden) {
  std::ifstream file(OUTRIGGER_SOURCE_DIR "/protocol/golden/kernels/examples.msgpack",
                     std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  const msgpack::object_handle cases = msgpack::unpack(bytes.data(), bytes.size());
  for (const msgpack::object& item : std::span(cases->via.array.ptr, cases->via.array.size)) {
    const msgpack::object* unit = nullptr;
    bool found = false;
    for (const auto& [key, value] : item.via.map) {
      const auto name = key.as<std::string_view>();
      if (name == "name") found = value.as<std::string_view>() == golden;
      if (name == "unit") unit = &value;
    }
    if (!found || unit == nullptr) continue;
    Writer out(id, "define_kernel", 2);
    out.entry("kernel_id", kernel_id);
    out.entry("unit", *unit);
    return out.take();
  }
  throw std::runtime_error("no such golden kernel");
}

Payload encode_forget_kernel(std::uint64_t id, std::uint64_t kernel_id) {
  Writer out(id, "forget_kernel", 1);
  out.entry("kernel_id", kernel_id);
  return out.take();
}

Payload encode_release(std::uint64_t id, std::span<const std::uint64_t> handles) {
  Writer out(id, "release", 1);
  out.key("handles");
  out.integers(handles);
  return out.take();
}

Payload encode_publish(std::uint64_t id, std::uint64_t handle, std::string_view name,
                       std::optional<std::uint64_t> expect, std::optional<std::uint64_t> ttl_ms) {
  Writer out(id, "publish", 2 + (expect ? 1 : 0) + (ttl_ms ? 1 : 0));
  out.entry("handle", handle);
  out.entry("name", name);
  if (expect) out.entry("expect", *expect);
  if (ttl_ms) out.entry("ttl_ms", *ttl_ms);
  return out.take();
}

Payload encode_open(std::uint64_t id, std::uint64_t handle, std::string_view name, bool live) {
  Writer out(id, "open", 3);
  out.entry("handle", handle);
  out.entry("name", name);
  out.entry("live", live);
  return out.take();
}

Payload encode_unpublish(std::uint64_t id, std::string_view name) {
  Writer out(id, "unpublish", 1);
  out.entry("name", name);
  return out.take();
}

Payload encode_names(std::uint64_t id) { return Writer(id, "names", 0).take(); }

Payload encode_subscribe(std::uint64_t id, std::uint64_t subscription, std::string_view prefix) {
  Writer out(id, "subscribe", 2);
  out.entry("subscription", subscription);
  out.entry("prefix", prefix);
  return out.take();
}

Payload encode_unsubscribe(std::uint64_t id, std::uint64_t subscription) {
  Writer out(id, "unsubscribe", 1);
  out.entry("subscription", subscription);
  return out.take();
}

Payload encode_cancel(std::uint64_t id, std::uint64_t request) {
  return encode_numbers(id, "cancel", {{"request", request}});
}

Payload encode_numbers(std::uint64_t id, std::string_view kind,
                       const std::vector<std::pair<std::string_view, std::uint64_t>>& entries) {
  Writer out(id, kind, static_cast<std::uint32_t>(entries.size()));
  for (const auto& [key, value] : entries) out.entry(key, value);
  return out.take();
}

}  // namespace outrigger::test
