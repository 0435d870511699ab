#include "data/checksum.hpp"

#include <array>
#include <cstdio>

// The functions become a part of this file: the programs need no library.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace outrigger::data {

struct Checksum::State {
  XXH3_state_t xxh3;
};

Checksum::Checksum() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->xxh3); }
Checksum::~Checksum() = default;

void Checksum::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

void Checksum::add(std::string_view text) { add(std::as_bytes(std::span(text))); }

std::string Checksum::text() const {
  std::array<char, 17> out{};
  std::snprintf(out.data(), out.size(), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits_digest(&state_->xxh3)));
  return out.data();
}

}  // namespace outrigger::data
