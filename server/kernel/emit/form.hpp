#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace outrigger::kernel {

/// A number that an atom stands for: a size, or the variable of a loop.
using Atom = std::uint32_t;

/// constant + sum of factor * atom, over the integers.
struct Form {
  std::int64_t constant = 0;
  std::map<Atom, std::int64_t> terms = {};

  bool operator==(const Form&) const = default;
};

/// A bound of all factors and constants: sums of them do not overflow.
inline constexpr std::int64_t form_factor_max = std::int64_t{1} << 55;

inline bool within(std::int64_t n) { return n <= form_factor_max && n >= -form_factor_max; }

/// a + factor * b; nothing if a number becomes too large.
inline std::optional<Form> plus(Form a, const Form& b, std::int64_t factor) {
  const auto add = [factor](std::int64_t& to, std::int64_t n) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(n, factor, &product) || !within(product)) return false;
    to += product;
    return within(to);
  };
  if (!add(a.constant, b.constant)) return std::nullopt;
  for (const auto& [atom, n] : b.terms) {
    std::int64_t& to = a.terms[atom];
    if (!add(to, n)) return std::nullopt;
    if (to == 0) a.terms.erase(atom);
  }
  return a;
}

/// The numbers that a value lies between.
struct FormRange {
  Form least = {};
  Form most = {};
};

}  // namespace outrigger::kernel
