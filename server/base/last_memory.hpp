#pragma once

#include <cstdint>
#include <new>
#include <utility>

namespace outrigger {

/// Address space that the process keeps until the system refuses more memory. Work that must not
/// fail then (an error reply, a hand-over between threads) uses this reserve.
///
/// Call install() once in main(). Before an allocation fails, `trim` is called; it frees memory and
/// returns the number of freed bytes. Process-wide; thread-safe.
class LastMemory {
 public:
  using Trim = std::uint64_t (*)();
  static void install(Trim trim);

  /// During the life of a Use, allocations of its thread may use the reserve. When the last Use
  /// ends, the reserve is taken from the system again.
  class Use {
   public:
    Use();
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
  };
};

/// Calls f(). If f fails for lack of memory, calls f() again with the reserve. A call of f that
/// fails must not change anything. Throws std::bad_alloc if the reserve is not sufficient.
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
