#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel/check.hpp"

namespace outrigger::kernel {

inline void append(std::string& to, std::string_view text) { to += text; }
template <std::integral T>
void append(std::string& to, T number) {
  to += std::to_string(number);
}

template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::string all;
  (append(all, parts), ...);
  return all;
}

/// LLVM's name of a type.
inline std::string_view ir_type(Type type) {
  switch (type) {
    case Type::boolean:
      return "i1";
    case Type::u8:
    case Type::s8:
      return "i8";
    case Type::u16:
    case Type::s16:
      return "i16";
    case Type::u32:
    case Type::s32:
      return "i32";
    case Type::f32:
      return "float";
    case Type::f64:
      return "double";
    default:
      return "i64";
  }
}

/// Metadata of the module. The function of `branch_weights`: the first way is the usual one.
inline constexpr std::string_view likely = ", !prof !0";
inline constexpr std::string_view size_range = ", !range !1";

/// The text of one function: its blocks in order, with those that are rarely run at the end.
class Writer {
 public:
  template <typename... Parts>
  void line(const Parts&... parts) {
    body_ += "  ";
    (append(body_, parts), ...);
    body_ += '\n';
  }
  /// A line that gives a value. Returns the value's name.
  template <typename... Parts>
  std::string value(const Parts&... parts) {
    std::string name = cat("%t", next_++);
    line(name, " = ", parts...);
    return name;
  }
  std::string label() { return cat("b", next_++); }

  void begin(const std::string& label) {
    body_ += label + ":\n";
    block_ = label;
    ended_ = false;
  }
  /// Jumps end a block. Nothing is written behind them.
  void jump(const std::string& to) {
    if (ended_) return;
    line("br label %", to);
    ended_ = true;
  }
  void branch(std::string_view condition, const std::string& yes, const std::string& no,
              std::string_view weights = {}) {
    line("br i1 ", condition, ", label %", yes, ", label %", no, weights);
    ended_ = true;
  }
  template <typename... Parts>
  void end(const Parts&... parts) {
    line(parts...);
    ended_ = true;
  }
  bool ended() const { return ended_; }
  /// The block that is written, for the operands of a phi.
  const std::string& block() const { return block_; }

  /// A variable of the function. `init` is its first value.
  std::string variable(std::string_view type, std::string_view init) {
    std::string name = cat("%v", next_++);
    variables_ += cat("  ", name, " = alloca ", type, "\n");
    starts_ += cat("  store ", type, " ", init, ", ptr ", name, "\n");
    return name;
  }
  /// Memory of the function, in its first block.
  std::string memory(std::string_view type, std::string_view align) {
    std::string name = cat("%v", next_++);
    variables_ += cat("  ", name, " = alloca ", type, ", align ", align, "\n");
    return name;
  }

  /// A block at the end of the function: `write` writes it.
  template <typename Write>
  std::string cold(const Write& write) {
    std::string name = label();
    std::string body;
    std::swap(body, body_);
    std::string block = block_;
    const bool ended = ended_;
    begin(name);
    write();
    cold_ += body_;
    body_ = std::move(body);
    block_ = std::move(block);
    ended_ = ended;
    return name;
  }
  std::string text() const { return variables_ + starts_ + body_ + cold_; }
  std::size_t size() const { return body_.size() + cold_.size(); }

 private:
  std::string variables_;
  std::string starts_;
  std::string body_;
  std::string cold_;
  std::string block_ = "first";
  std::uint64_t next_ = 0;
  bool ended_ = false;
};

}  // namespace outrigger::kernel
