#include "data/manifest.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/limits.hpp"
#include "data/checksum.hpp"

namespace outrigger::data {
namespace {

constexpr std::string_view title = "outrigger manifest 1";
constexpr std::string_view end_key = "end";
/// version, dtype, shape, end and rest of the lifetime, token, file, checksum, name
constexpr std::size_t fields_of_a_name = 9;

/// The text without characters that separate fields and lines.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x1f && byte != 0x7f && c != '%') {
      out += c;
      continue;
    }
    char code[4];
    std::snprintf(code, sizeof code, "%%%02x", byte);
    out += code;
  }
  return out;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    unsigned byte = 0;
    if (text.size() - at < 3) return std::nullopt;
    const char* digits = text.data() + at + 1;
    if (std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) return std::nullopt;
    out += static_cast<char>(byte);
    at += 2;
  }
  return out;
}

template <typename Integer>
bool read_integer(std::string_view text, Integer& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

/// The text before the separator; takes it and the separator from `rest`.
std::string_view next_part(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

bool read_shape(std::string_view text, TensorType& type) {
  while (!text.empty()) {
    std::int64_t dim = 0;
    if (type.shape.size() == Limits::rank_max || !read_integer(next_part(text, ','), dim))
      return false;
    type.shape.push_back(dim);
  }
  return check_shape(type.shape, size_of(type.dtype)).has_value();
}

bool read_lifetime(std::string_view end, std::string_view left, Entry& entry) {
  if (end.empty() && left.empty()) return true;
  Lifetime lifetime;
  if (!read_integer(end, lifetime.ends_at_ms) || !read_integer(left, lifetime.left_ms))
    return false;
  entry.lifetime = lifetime;
  return true;
}

bool read_entry(std::string_view line, Entry& entry) {
  std::vector<std::string_view> fields;
  while (fields.size() + 1 < fields_of_a_name) fields.push_back(next_part(line, '\t'));
  fields.push_back(line);
  const auto dtype = parse_dtype(fields[1]);
  const auto token = unescaped(fields[5]);
  const auto name = unescaped(fields[8]);
  if (!dtype || !token || !name) return false;
  entry.type.dtype = *dtype;
  entry.token = *token;
  entry.file = {std::string(fields[6]), std::string(fields[7])};
  entry.name = *name;
  return read_integer(fields[0], entry.version) && read_shape(fields[2], entry.type) &&
         read_lifetime(fields[3], fields[4], entry);
}

bool read_line(std::string_view& rest, std::string_view key, auto& value) {
  std::string_view line = next_part(rest, '\n');
  return next_part(line, ' ') == key && read_integer(line, value);
}

/// The last line, with the number of entries and the checksum of all that is before it.
std::string last_line(std::string_view before, std::size_t entries) {
  Checksum checksum;
  checksum.add(before);
  return std::string(end_key) + " " + std::to_string(entries) + " " + checksum.text() + "\n";
}

tl::unexpected<Error> damaged(const std::string& why) { return fail(ErrorCode::bad_file, why); }

}  // namespace

std::int64_t Lifetime::left_at(std::int64_t now_ms) const {
  if (now_ms >= ends_at_ms) return 0;
  // The difference of two times of any signs may be too large for the type.
  const auto left = static_cast<std::uint64_t>(ends_at_ms) - static_cast<std::uint64_t>(now_ms);
  return static_cast<std::int64_t>(std::min(left, static_cast<std::uint64_t>(left_ms)));
}

std::string shape_text(const Dims& shape) {
  std::string out;
  for (const std::int64_t dim : shape) out += (out.empty() ? "" : ",") + std::to_string(dim);
  return out;
}

std::string Manifest::text() const {
  std::string out(title);
  out += "\ncheckpoint " + std::to_string(checkpoint) + "\nlast_change " +
         std::to_string(last_change) + "\ntaken_at_ms " + std::to_string(taken_at_ms) + "\n";
  for (const Entry& entry : entries) {
    out += std::to_string(entry.version);
    out += '\t';
    out += name_of(entry.type.dtype);
    out += '\t' + shape_text(entry.type.shape) + '\t';
    if (entry.lifetime) out += std::to_string(entry.lifetime->ends_at_ms);
    out += '\t';
    if (entry.lifetime) out += std::to_string(entry.lifetime->left_ms);
    out += '\t' + escaped(entry.token) + '\t' + entry.file.name + '\t' + entry.file.checksum +
           '\t' + escaped(entry.name) + '\n';
  }
  return out + last_line(out, entries.size());
}

Result<Manifest> Manifest::parse(std::string_view text) {
  // The checksum comes first: only a text without a changed byte is read.
  const std::size_t last =
      text.size() < 2 ? std::string_view::npos : text.rfind('\n', text.size() - 2);
  if (last == std::string_view::npos) return damaged("has no end");
  const std::string_view before = text.substr(0, last + 1);
  std::string_view end = text.substr(last + 1);
  next_part(end, ' ');
  std::size_t count = 0;
  if (!read_integer(next_part(end, ' '), count) ||
      last_line(before, count) != text.substr(last + 1))
    return damaged("has another checksum than its last line says");

  std::string_view rest = before;
  if (next_part(rest, '\n') != title)
    return damaged("has a form that this version of Outrigger does not know");
  Manifest out;
  bool right = read_line(rest, "checkpoint", out.checkpoint) &&
               read_line(rest, "last_change", out.last_change) &&
               read_line(rest, "taken_at_ms", out.taken_at_ms);
  while (right && !rest.empty()) {
    Entry entry;
    right = read_entry(next_part(rest, '\n'), entry);
    out.entries.push_back(std::move(entry));
  }
  if (!right || out.entries.size() != count)
    return damaged("has a line that this version of Outrigger does not know");
  return out;
}

}  // namespace outrigger::data
