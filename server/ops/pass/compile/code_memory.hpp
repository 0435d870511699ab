#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ops/support/export.hpp"

namespace outrigger::ops {

/// Machine code in pages of its own, which are first writable, then executable, never both.
class CodePages {
 public:
  /// Nothing if the system refuses executable memory, or all code together would get too much.
  static std::optional<CodePages> make(std::span<const std::uint8_t> code);

  CodePages(CodePages&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
  }
  CodePages& operator=(CodePages&&) = delete;
  ~CodePages();

  const void* data() const { return data_; }

 private:
  CodePages(void* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
  void* data_;
  std::size_t bytes_;
};

}  // namespace outrigger::ops
