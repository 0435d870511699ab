#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <msgpack.hpp>

#include "support/encode.hpp"
#include "wire/bytes.hpp"

/// Requests as complete frames with their length. Nothing is checked, so that tests can send
/// invalid requests.
namespace outrigger::testing {

using Handles = std::vector<std::uint64_t>;
using Packer = msgpack::packer<msgpack::sbuffer>;

inline std::string frame_of(std::string_view payload) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) {
    out += static_cast<char>(payload.size() >> static_cast<unsigned>(shift));
  }
  return out.append(payload);
}

inline std::string frame_of(const test::Payload& payload) {
  return frame_of(std::string_view(reinterpret_cast<const char*>(payload.data()), payload.size()));
}

template <typename T>
void pack_entry(Packer& packer, std::string_view key, const T& value) {
  packer.pack(key);
  packer.pack(value);
}

/// A request with `entries` more keys, which `fill` packs.
template <typename Fill>
std::string request_frame(std::uint64_t id, std::string_view kind, std::size_t entries,
                          const Fill& fill) {
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_map(static_cast<std::uint32_t>(entries + 2));
  pack_entry(packer, "id", id);
  pack_entry(packer, "do", kind);
  fill(packer);
  return frame_of(std::string_view(buffer.data(), buffer.size()));
}

inline std::string simple_frame(std::uint64_t id, std::string_view kind) {
  return frame_of(test::encode_simple(id, kind));
}

inline std::string release_frame(std::uint64_t id, const Handles& handles) {
  return frame_of(test::encode_release(id, handles));
}

inline std::string download_frame(std::uint64_t id, std::uint64_t length) {
  return frame_of(test::encode_download(id, 1, 0, length));
}

inline std::string upload_frame(std::uint64_t id, std::string_view data) {
  return frame_of(test::encode_upload(id, 2, "u8", {static_cast<std::int64_t>(data.size())}, 0,
                                      bytes_of(data)));
}

}  // namespace outrigger::testing
