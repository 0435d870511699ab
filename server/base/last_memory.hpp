#pragma once

#include <cstdint>
#include <new>
#include <utility>

namespace outrigger {

/// Address space that the process keeps for the moment when the system refuses more: what must not
/// fail then (an error reply, a hand-over between threads) is done in it.
///
/// install() once in main(). Before an allocation fails, `trim` is asked to give something back; it
/// returns how many bytes that was. Process-wide; thread-safe.
class LastMemory {
 public:
  using Trim = std::uint64_t (*)();
  static void install(Trim trim);

  /// While one lives, allocations of its thread may use what is kept. It is taken anew when the
  /// last one ends.
  class Use {
   public:
    Use();
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
  };
};

/// Calls f(), and again with the last memory if that failed for want of memory: f must have changed
/// nothing then. Throws std::bad_alloc if there is none left at all.
template <typename F>
auto with_last_memory(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    const LastMemory::Use use;
    return f();
  }
}

}  // namespace outrigger
