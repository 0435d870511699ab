#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "ops/pass/compile/code_memory.hpp"

namespace outrigger::kernel {

inline constexpr std::size_t object_bytes_max = std::size_t{1} << 20;

/// An object file that a compiler has made, ready to be copied to pages: its sections one behind
/// the other, then a jump for each function that it calls.
struct Image {
  std::vector<std::uint8_t> bytes = {};
  std::size_t entry = 0;
  /// Places of 8 bytes that get the address of the image, plus what is there.
  std::vector<std::size_t> absolute = {};
};

/// Reads an object in the ELF format for x86-64. It accepts code and constants that are never
/// written, four kinds of relocation, and memset, memcpy and memmove as functions of others. All
/// else is refused with a reason: the bytes come from another process.
tl::expected<Image, std::string> read_object(std::span<const std::uint8_t> object,
                                             const std::string& entry);

/// Code that can run.
struct LoadedCode {
  ops::CodePages pages;
  const void* entry = nullptr;
};

/// Copies the image to pages within the budget. Nothing: the system refuses, or there is no space.
std::optional<LoadedCode> load(const Image& image, Kept& kept);

}  // namespace outrigger::kernel
