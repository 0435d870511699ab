#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

namespace outrigger::test {

using Random = std::mt19937_64;

inline std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}
inline bool chance(Random& random, int percent) { return between(random, 1, 100) <= percent; }

template <typename Range>
const auto& any_of(Random& random, const Range& range) {
  return range[static_cast<std::size_t>(
      between(random, 0, static_cast<std::int64_t>(range.size()) - 1))];
}

inline std::uint64_t environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// OUTRIGGER_SEED, or a new seed, which a test prints.
inline unsigned new_seed() {
  return static_cast<unsigned>(environment("OUTRIGGER_SEED", std::random_device{}()));
}

/// OUTRIGGER_SEED, or some fixed seeds and a new one.
inline std::vector<std::uint64_t> seeds() {
  if (const std::uint64_t seed = environment("OUTRIGGER_SEED", 0); seed != 0) return {seed};
  return {1, 2, 3, std::random_device()()};
}

}  // namespace outrigger::test
