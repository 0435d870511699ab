#include "ctl/token.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "base/limits.hpp"

namespace outrigger::ctl {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

Result<std::optional<std::string>> token_of(const std::string& where, std::istream& text) {
  auto token = read_token(text);
  if (!token) return fail(token.error().code, where + ": " + token.error().text);
  return std::optional<std::string>(*std::move(token));
}

Result<std::optional<std::string>> token_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::bad_file, path + ": " + std::strerror(errno));
  return token_of(path, file);
}

}  // namespace

Result<std::string> read_token(std::istream& text) {
  for (std::string line; std::getline(text, line);) {
    std::istringstream stream(line);
    const std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
    if (words.empty() || words.front().front() == '#') continue;
    const bool quotas =
        std::all_of(words.begin() + std::min<std::ptrdiff_t>(3, std::ssize(words)), words.end(),
                    [](const std::string& word) { return word.find('=') != std::string::npos; });
    if (words.size() == 2 || !quotas) {
      return fail(ErrorCode::bad_value,
                  "a line has a token alone, or a name, rights, a token and quotas");
    }
    const std::string& token = words[words.size() == 1 ? 0 : 2];
    if (token.size() > Limits::token_bytes_max) {
      return fail(ErrorCode::bad_value,
                  "a token has at most " + std::to_string(Limits::token_bytes_max) + " bytes");
    }
    return token;
  }
  return fail(ErrorCode::bad_value, "there is no token");
}

Result<std::optional<std::string>> find_token(const std::string& file) {
  if (!file.empty()) return token_of_file(file);
  if (const auto token = environment("OUTRIGGER_TOKEN"); !token.empty()) {
    std::istringstream text(token);
    return token_of("OUTRIGGER_TOKEN", text);
  }
  if (const auto path = environment("OUTRIGGER_TOKEN_FILE"); !path.empty())
    return token_of_file(path);
  return std::nullopt;
}

}  // namespace outrigger::ctl
