#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/quotas.hpp"
#include "base/rights.hpp"

namespace outrigger::net {

/// Tokens that let a client in. Holds their SHA-256 only.
class Tokens {
 public:
  struct Holder {
    std::string name;
    Rights rights;
    Quotas quotas;
  };

  /// Adds those of a list: a line for each, `NAME RIGHTS TOKEN`, then quotas such as `bytes=2GiB`,
  /// with white space between; RIGHTS are separated by commas, or `all`. Empty lines, and those
  /// that begin with `#`, do not count. `where` and the line's number begin the text of an error,
  /// which never has a token.
  Result<void> add(std::string_view where, std::string_view list);

  /// Null if no one has this token. Takes the same time whichever it is.
  const Holder* find(std::string_view token) const;

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }

 private:
  using Digest = std::array<std::uint8_t, 32>;
  struct Entry {
    Holder holder;
    Digest digest;
  };
  static Digest digest_of(std::string_view token);
  Result<void> add_line(std::string_view line);

  std::vector<Entry> entries_;
};

/// The same of a file. Warns in the log if others than its owner may read it.
Result<void> add_token_file(Tokens& tokens, const std::string& path);

/// The same of the environment variable OUTRIGGER_TOKENS, where `;` also ends a line.
Result<void> add_token_variable(Tokens& tokens, std::string list);

}  // namespace outrigger::net
