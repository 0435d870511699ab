#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "ops/support/export.hpp"
#include "tensor/kept.hpp"

namespace outrigger::ops {

/// Machine code in pages that are first writable and then executable, never both.
class OUTRIGGER_EXPORT CodePages {
 public:
  /// Copies the code to pages. Evicts the least recently used code if there is no space. Returns
  /// nothing if the system refuses executable memory, or if there is still no space.
  static std::optional<CodePages> make(std::span<const std::uint8_t> code, Kept& kept);
  /// The same for code that depends on its address: `fill` writes the bytes at their place.
  static std::optional<CodePages> make(std::size_t bytes, Kept& kept,
                                       const std::function<void(std::span<std::uint8_t>)>& fill);

  CodePages(CodePages&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(other.bytes_),
        charge_(std::move(other.charge_)) {}
  CodePages& operator=(CodePages&&) = delete;
  ~CodePages();

  const void* data() const { return data_; }

 private:
  CodePages(void* data, std::size_t bytes, Kept& kept)
      : data_(data), bytes_(bytes), charge_(kept, bytes) {}
  void* data_;
  std::size_t bytes_;
  Kept::Charge charge_;
};

}  // namespace outrigger::ops
