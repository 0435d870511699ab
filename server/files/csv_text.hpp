#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "files/check.hpp"
#include "files/file.hpp"

namespace outrigger::files {

/// A whole file's text, mapped.
class Text {
 public:
  /// Errors: io_error, limit_exceeded.
  static Result<Text> map(const File& file);
  Text(Text&& other) noexcept
      : pages_(std::exchange(other.pages_, nullptr)), bytes_(other.bytes_) {}
  Text& operator=(Text&&) = delete;
  ~Text();

  std::string_view view() const { return {reinterpret_cast<const char*>(pages_), bytes_}; }
  /// Errors: io_error if the file has been cut short since.
  Result<void> check() const;

 private:
  Text(std::byte* pages, std::size_t bytes) : pages_(pages), bytes_(bytes) {}
  std::byte* pages_;
  std::size_t bytes_;
};

/// Asks a Check for several threads, and keeps its first error.
class Stop {
 public:
  explicit Stop(const Check& check) : check_(check) {}

  bool raised() const { return raised_.load(std::memory_order_relaxed); }
  /// True once the check gave an error. Any thread.
  bool ask();
  /// The error.
  Result<void> result() const;

 private:
  const Check& check_;
  std::atomic<bool> raised_{false};
  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

/// One thread's way through a mapped text, however long its lines and fields are: the Stop is asked
/// every step_bytes, and pages that were read are given back to the system. They are read anew if
/// they are looked at again.
class Scan {
 public:
  static constexpr std::size_t step_bytes = std::size_t{64} << 10;

  /// Of `part`, a part of `text`, from its beginning on.
  Scan(Stop& stop, std::string_view text, std::string_view part)
      : stop_(stop), text_(text), read_(part.data()) {}

  /// Whether the scan was ended: what it then finds counts for nothing.
  bool ended() const { return ended_; }

  /// The position, from `from` on, of the first character for which f is true, or the text's size.
  template <typename F>
  std::size_t find_if(std::string_view text, std::size_t from, F&& f) {
    return find_in_steps(text, from, [&](const char* begin, const char* end) {
      return std::find_if(begin, end, f);
    });
  }
  /// The same for one character, of which few are expected.
  std::size_t find(std::string_view text, char c, std::size_t from = 0) {
    return find_in_steps(text, from, [c](const char* begin, const char* end) {
      const void* const found = std::memchr(begin, c, static_cast<std::size_t>(end - begin));
      return found == nullptr ? end : static_cast<const char*>(found);
    });
  }

  /// Gives back the pages of a part of the text, but the last one if it goes on there.
  void release(std::string_view read) const;

 private:
  template <typename F>
  std::size_t find_in_steps(std::string_view text, std::size_t from, F&& find) {
    while (from < text.size()) {
      const std::size_t bytes = std::min(step_bytes, text.size() - from);
      const char* const begin = text.data() + from;
      const char* const found = find(begin, begin + bytes);
      from += static_cast<std::size_t>(found - begin);
      // What was found has been looked at, too: a blank line is nothing else.
      const std::size_t end = found == begin + bytes ? 0 : 1;
      passed_ += static_cast<std::size_t>(found - begin) + end;
      if (passed_ >= step_bytes && !step(found)) break;
      if (end != 0) return from;
    }
    return std::min(from, text.size());
  }

  /// Each step_bytes; `at` is where the scan is. False once it is ended.
  bool step(const char* at);

  Stop& stop_;
  std::string_view text_;
  const char* read_;  ///< what lies between here and where the scan is has been read
  std::size_t passed_ = 0;
  bool ended_ = false;
};

}  // namespace outrigger::files
