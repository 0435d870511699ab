#include "net/tokens.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <optional>
#include <set>

#include <spdlog/spdlog.h>

#include "base/limits.hpp"
#include "net/byte_size.hpp"

namespace outrigger::net {

namespace {

/// 128 bits as hexadecimal digits would be 32: what is shorter than half of that can be guessed.
constexpr std::size_t token_bytes_min = 16;
constexpr std::string_view white_space = " \t\r";

/// The next word of the line, which is taken off; empty at its end.
std::string_view next_word(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(white_space), line.size());
  line.remove_prefix(begin);
  const std::string_view word = line.substr(0, line.find_first_of(white_space));
  line.remove_prefix(word.size());
  return word;
}

tl::unexpected<Error> bad(std::string text) { return fail(ErrorCode::bad_value, std::move(text)); }

std::optional<Right> right_named(std::string_view name) {
  const auto* found = std::find(right_names.begin(), right_names.end(), name);
  if (found == right_names.end()) return std::nullopt;
  return static_cast<Right>(found - right_names.begin());
}

Result<Rights> parse_rights(std::string_view text) {
  if (text == "all") return Rights::all();
  Rights rights;
  while (true) {
    const std::string_view name = text.substr(0, text.find(','));
    const auto right = right_named(name);
    // Not the word itself: a line whose rights are missing has the token there.
    if (!right)
      return bad(
          "the second word must be rights: all, or some of read, write, files, "
          "publish and admin, separated by commas");
    rights.grant(*right);
    if (name.size() == text.size()) return rights;
    text.remove_prefix(name.size() + 1);
  }
}

/// A whole number, or nothing.
std::optional<std::uint64_t> natural(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> decimal(std::string_view text) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Not the word itself: it may be a part of a token that has white space.
tl::unexpected<Error> bad_quotas() {
  return bad(
      "after the token come quotas: bytes=2GiB, handles=N, programs=N, sessions=N, seconds=S (of "
      "engine time in a minute, at most " +
      std::to_string(static_cast<int>(Quotas::seconds_max)) + "), priority=N (1 to " +
      std::to_string(Quotas::priority_max) +
      "), each at most once and more than 0; a token has no white space");
}

Result<void> parse_quota(std::string_view word, Quotas& quotas, std::set<std::string>& known) {
  const std::string_view name = word.substr(0, word.find('='));
  if (name.size() == word.size() || !known.emplace(name).second) return bad_quotas();
  const std::string_view value = word.substr(name.size() + 1);
  if (name == "bytes") {
    const auto bytes = parse_byte_size(value, available_memory_bytes());
    if (!bytes || *bytes == 0) return bad_quotas();
    quotas.bytes = *bytes;
    return {};
  }
  if (name == "seconds") {
    const auto seconds = decimal(value);
    if (!seconds || !(*seconds >= 0.001) || *seconds > Quotas::seconds_max) return bad_quotas();
    quotas.seconds = *seconds;
    return {};
  }
  const auto number = natural(value);
  if (!number || *number == 0) return bad_quotas();
  if (name == "priority") {
    if (*number > Quotas::priority_max) return bad_quotas();
    quotas.priority = static_cast<std::uint32_t>(*number);
    return {};
  }
  std::uint64_t* const quota = name == "handles"    ? &quotas.handles
                               : name == "programs" ? &quotas.programs
                               : name == "sessions" ? &quotas.sessions
                                                    : nullptr;
  if (quota == nullptr) return bad_quotas();
  *quota = *number;
  return {};
}

Result<Quotas> parse_quotas(std::string_view words) {
  Quotas quotas;
  std::set<std::string> known;
  for (auto word = next_word(words); !word.empty(); word = next_word(words))
    OUTRIGGER_CHECK(parse_quota(word, quotas, known));
  return quotas;
}

}  // namespace

Tokens::Digest Tokens::digest_of(std::string_view token) {
  Digest digest;
  unsigned int size = 0;
  if (EVP_Digest(token.data(), token.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1 ||
      size != digest.size()) {
    throw std::bad_alloc();  // the only reason that OpenSSL has
  }
  return digest;
}

Result<void> Tokens::add(std::string_view where, std::string_view list) {
  for (std::size_t number = 1; !list.empty(); ++number) {
    const std::string_view line = list.substr(0, list.find('\n'));
    list.remove_prefix(std::min(line.size() + 1, list.size()));
    if (auto done = add_line(line); !done) {
      return bad(std::string(where) + ", line " + std::to_string(number) + ": " +
                 done.error().text);
    }
  }
  return {};
}

Result<void> Tokens::add_line(std::string_view line) {
  const std::string_view name = next_word(line);
  if (name.empty() || name.front() == '#') return {};
  const std::string_view rights_text = next_word(line);
  const std::string_view token = next_word(line);
  if (token.empty()) return bad("a line has a name, rights and a token");
  OUTRIGGER_TRY(const Rights rights, parse_rights(rights_text));
  OUTRIGGER_TRY(const Quotas quotas, parse_quotas(line));
  if (token.size() < token_bytes_min || token.size() > Limits::token_bytes_max) {
    return bad("a token has " + std::to_string(token_bytes_min) + " to " +
               std::to_string(Limits::token_bytes_max) + " bytes; openssl rand -hex 32 makes one");
  }
  Entry entry{{std::string(name), rights, quotas}, digest_of(token)};
  for (const Entry& other : entries_) {
    if (other.holder.name == name) return bad("the name " + std::string(name) + " is there twice");
    if (other.digest == entry.digest)
      return bad("the token of " + std::string(name) + " is also that of " + other.holder.name);
  }
  entries_.push_back(std::move(entry));
  return {};
}

const Tokens::Holder* Tokens::find(std::string_view token) const {
  const Digest digest = digest_of(token);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) found = &entry;
  }
  return found == nullptr ? nullptr : &found->holder;
}

Result<void> add_token_file(Tokens& tokens, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::bad_file, path + ": " + std::strerror(errno));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return fail(ErrorCode::io_error, path + ": " + std::strerror(errno));
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0)
    spdlog::warn("{}: others than its owner may read the tokens", path);
  return tokens.add(path, text);
}

Result<void> add_token_variable(Tokens& tokens, std::string list) {
  std::replace(list.begin(), list.end(), ';', '\n');
  return tokens.add("OUTRIGGER_TOKENS", list);
}

}  // namespace outrigger::net
