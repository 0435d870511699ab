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

/// The text of a whole file, mapped.
class Text {
 public:
  /// Errors: io_error, limit_exceeded.
  static Result<Text> map(const File& file);
  Text(Text&& other) noexcept
      : pages_(std::exchange(other.pages_, nullptr)), bytes_(other.bytes_) {}
  Text& operator=(Text&&) = delete;
  ~Text();

  std::string_view view() const { return {reinterpret_cast<const char*>(pages_), bytes_}; }
  /// Errors: io_error if the file has become shorter since map().
  Result<void> check() const;

 private:
  Text(std::byte* pages, std::size_t bytes) : pages_(pages), bytes_(bytes) {}
  std::byte* pages_;
  std::size_t bytes_;
};

/// Calls a Check on behalf of several threads, and keeps its first error.
class Stop {
 public:
  explicit Stop(const Check& check) : check_(check) {}

  bool raised() const { return raised_.load(std::memory_order_relaxed); }
  /// Returns true once the check has given an error. Any thread may call it.
  bool ask();
  /// The error of the check, if there is one.
  Result<void> result() const;

 private:
  const Check& check_;
  std::atomic<bool> raised_{false};
  mutable std::mutex mutex_;
  std::optional<Error> error_;
};

/// The path of one thread through a mapped text. However long lines and fields are, the scan calls
/// the Stop every step_bytes, and gives pages that were read back to the system. The system reads
/// such a page again if it is used again.
class Scan {
 public:
  static constexpr std::size_t step_bytes = std::size_t{64} << 10;

  /// A scan of `part`, a part of `text`, from its beginning.
  Scan(Stop& stop, std::string_view text, std::string_view part)
      : stop_(stop), text_(text), read_(part.data()) {}

  /// True if the Stop has ended the scan: the results of the scan are then not valid.
  bool ended() const { return ended_; }

  /// The position, from `from` on, of the first character for which f is true; the text's size if
  /// there is none.
  template <typename F>
  std::size_t find_if(std::string_view text, std::size_t from, F&& f) {
    return find_in_steps(text, from, [&](const char* begin, const char* end) {
      return std::find_if(begin, end, f);
    });
  }
  /// find_if for one character that is rare.
  std::size_t find(std::string_view text, char c, std::size_t from = 0) {
    return find_in_steps(text, from, [c](const char* begin, const char* end) {
      const void* const found = std::memchr(begin, c, static_cast<std::size_t>(end - begin));
      return found == nullptr ? end : static_cast<const char*>(found);
    });
  }

  /// Gives back the pages of a part of the text. The last page stays if the text goes on in it.
  void release(std::string_view read) const;

 private:
  template <typename F>
  std::size_t find_in_steps(std::string_view text, std::size_t from, F&& find) {
    while (from < text.size()) {
      const std::size_t bytes = std::min(step_bytes, text.size() - from);
      const char* const begin = text.data() + from;
      const char* const found = find(begin, begin + bytes);
      from += static_cast<std::size_t>(found - begin);
      // The character that was found was examined, too: a blank line has no other character.
      const std::size_t end = found == begin + bytes ? 0 : 1;
      passed_ += static_cast<std::size_t>(found - begin) + end;
      if (passed_ >= step_bytes && !step(found)) break;
      if (end != 0) return from;
    }
    return std::min(from, text.size());
  }

  /// Called every step_bytes; `at` is the position of the scan. Returns false once the scan is
  /// ended.
  bool step(const char* at);

  Stop& stop_;
  std::string_view text_;
  const char* read_;  ///< all bytes from here to the position of the scan have been read
  std::size_t passed_ = 0;
  bool ended_ = false;
};

}  // namespace outrigger::files
