#include "files/npy_header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <utility>

#include "base/limits.hpp"
#include "files/file.hpp"

namespace outrigger::files {
namespace {

struct NpyType {
  std::string_view name;
  DType dtype;
};

// The bool of NumPy has no dtype here. It is the last entry, so that it is never written.
constexpr std::array npy_types{
    NpyType{"u1", DType::u8},    NpyType{"u2", DType::u16}, NpyType{"u4", DType::u32},
    NpyType{"u8", DType::u64},   NpyType{"i1", DType::s8},  NpyType{"i2", DType::s16},
    NpyType{"i4", DType::s32},   NpyType{"i8", DType::s64}, NpyType{"f2", DType::f16},
    NpyType{"f4", DType::f32},   NpyType{"f8", DType::f64}, NpyType{"c8", DType::c64},
    NpyType{"c16", DType::c128}, NpyType{"b1", DType::u8}};

constexpr char native_order = std::endian::native == std::endian::little ? '<' : '>';

auto bad_header(std::string text) { return fail(ErrorCode::bad_file, std::move(text)); }

/// Reads a Python literal. Each take_*() leaves the position where it is if the text does not
/// match.
class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : text_(text) {}

  bool take(char c) {
    skip_blanks();
    if (rest().empty() || rest().front() != c) return false;
    ++position_;
    return true;
  }

  /// A string in single or double quotes. NumPy writes no escapes here.
  std::optional<std::string_view> take_string() {
    skip_blanks();
    if (rest().empty() || (rest().front() != '\'' && rest().front() != '"')) return std::nullopt;
    const std::size_t end = rest().find(rest().front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view body = rest().substr(1, end - 1);
    if (body.find('\\') != std::string_view::npos) return std::nullopt;
    position_ += end + 1;
    return body;
  }

  std::optional<bool> take_boolean() {
    if (take_word("True")) return true;
    if (take_word("False")) return false;
    return std::nullopt;
  }

  /// A non-negative integer of at most 63 bits.
  std::optional<std::int64_t> take_integer() {
    skip_blanks();
    if (rest().empty() || rest().front() == '-') return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(rest().data(), rest().data() + rest().size(), value);
    if (error != std::errc{}) return std::nullopt;
    position_ += static_cast<std::size_t>(end - rest().data());
    take('L');  // Python 2 wrote long integers with an L
    return value;
  }

  bool at_end() {
    skip_blanks();
    return rest().empty();
  }

  tl::unexpected<Error> expected(std::string_view what) {
    skip_blanks();
    return bad_header("has a malformed header: expected " + std::string(what) + " at byte " +
                      std::to_string(position_) + " of " + in_quotes(text_));
  }

  std::string_view rest() const { return text_.substr(position_); }

 private:
  void skip_blanks() {
    position_ = std::min(text_.find_first_not_of(" \t\r\n", position_), text_.size());
  }

  bool take_word(std::string_view word) {
    skip_blanks();
    if (!rest().starts_with(word)) return false;
    position_ += word.size();
    return true;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

Result<Dims> parse_shape(LiteralReader& reader) {
  if (!reader.take('(')) return reader.expected("a tuple as the shape");
  Dims shape;
  bool comma = false;
  while (!reader.take(')')) {
    if (!shape.empty() && !comma) return reader.expected("a comma or ')' in the shape");
    if (shape.size() == Limits::rank_max) {
      return bad_header("has more than " + std::to_string(Limits::rank_max) + " axes");
    }
    const auto dim = reader.take_integer();
    if (!dim) return reader.expected("a non-negative integer of at most 63 bits in the shape");
    shape.push_back(*dim);
    comma = reader.take(',');
  }
  // In Python, (3) is a number, not a tuple.
  if (shape.size() == 1 && !comma)
    return reader.expected("a comma in a shape of one axis before this");
  return shape;
}

struct Descr {
  DType dtype;
  bool swapped;
};

/// The kind of elements that an array of a dtype without an equivalent has, in words; empty if it
/// is not known.
std::string_view contents_of(std::string_view descr) {
  const std::size_t first = descr.find_first_not_of(" \t");
  if (first != std::string_view::npos && descr[first] == '[') return ", records of named fields";
  const std::string_view type = descr.substr(std::min<std::size_t>(descr.size(), 1));
  if (type == "f16" || type == "c32") return ", long doubles";
  switch (type.empty() ? '\0' : type.front()) {
    case 'O':
      return ", Python objects";
    case 'U':
    case 'S':
    case 'a':
      return ", strings";
    case 'M':
    case 'm':
      return ", dates or times";
    case 'V':
      return ", records";
    default:
      return "";
  }
}

tl::unexpected<Error> unsupported(std::string_view descr) {
  std::string names;
  for (const NpyType& type : npy_types) names.append(" ").append(type.name);
  return bad_header("has the dtype " + in_quotes(descr) + std::string(contents_of(descr)) +
                    "; supported are" + names + ", each in either byte order");
}

Result<Descr> parse_descr(LiteralReader& reader) {
  const std::string_view rest = reader.rest();
  const auto descr = reader.take_string();
  if (!descr) return unsupported(rest);  // a list of fields, or no literal
  if (descr->empty() || std::string_view("<>=|").find(descr->front()) == std::string_view::npos) {
    return unsupported(*descr);
  }
  const auto found = std::find_if(npy_types.begin(), npy_types.end(), [&](const NpyType& type) {
    return type.name == descr->substr(1);
  });
  if (found == npy_types.end()) return unsupported(*descr);
  const char order = descr->front();
  return Descr{found->dtype, (order == '<' || order == '>') && order != native_order};
}

/// The entries of the dict that have been read.
struct Entries {
  std::optional<Descr> descr;
  std::optional<bool> fortran_order;
  std::optional<Dims> shape;
};

Result<void> parse_value(LiteralReader& reader, std::string_view key, Entries& entries) {
  if (key == "descr" && !entries.descr) {
    OUTRIGGER_TRY(entries.descr, parse_descr(reader));
  } else if (key == "fortran_order" && !entries.fortran_order) {
    entries.fortran_order = reader.take_boolean();
    if (!entries.fortran_order) return reader.expected("True or False as the fortran_order");
  } else if (key == "shape" && !entries.shape) {
    OUTRIGGER_TRY(entries.shape, parse_shape(reader));
  } else {
    return bad_header("has a malformed header: the key " + in_quotes(key) +
                      " is unknown or there twice");
  }
  return {};
}

Result<Entries> parse_entries(LiteralReader& reader) {
  if (!reader.take('{')) return reader.expected("'{'");
  Entries entries;
  bool comma = true;
  while (!reader.take('}')) {
    if (!comma) return reader.expected("a comma or '}'");
    const auto key = reader.take_string();
    if (!key) return reader.expected("a key in quotes");
    if (!reader.take(':')) return reader.expected("':'");
    OUTRIGGER_CHECK(parse_value(reader, *key, entries));
    comma = reader.take(',');
  }
  if (!reader.at_end()) return reader.expected("only blanks after the dict");
  return entries;
}

}  // namespace

Result<NpyHeader> parse_npy_header(std::string_view text) {
  LiteralReader reader(text);
  OUTRIGGER_TRY(const Entries entries, parse_entries(reader));
  if (!entries.descr || !entries.fortran_order || !entries.shape) {
    return bad_header(
        "has a malformed header: the keys descr, fortran_order and shape are needed, got " +
        in_quotes(text));
  }
  if (auto checked = check_shape(*entries.shape, size_of(entries.descr->dtype)); !checked) {
    return bad_header("cannot be held in memory: " + checked.error().text);
  }
  return NpyHeader{{entries.descr->dtype, *entries.shape},
                   *entries.fortran_order,
                   entries.descr->swapped && size_of(entries.descr->dtype) > 1};
}

Result<std::string> npy_preamble(const TensorType& type) {
  constexpr std::size_t alignment = 64;
  constexpr std::string_view magic{"\x93NUMPY\x01\x00", 8};
  const auto found = std::find_if(npy_types.begin(), npy_types.end(),
                                  [&](const NpyType& each) { return each.dtype == type.dtype; });
  if (found == npy_types.end()) {
    return fail(ErrorCode::bad_dtype,
                "a .npy file cannot hold " + to_string(type) + ": NumPy has no such dtype");
  }
  std::string header = "{'descr': '";
  header += size_of(type.dtype) == 1 ? '|' : native_order;
  header += found->name;
  header += "', 'fortran_order': False, 'shape': (";
  for (const std::int64_t dim : type.shape) header += std::to_string(dim) + ", ";
  if (type.shape.size() > 1) header.resize(header.size() - 2);
  if (type.shape.size() == 1) header.pop_back();
  header += "), }";
  const std::size_t used = magic.size() + 2 + header.size() + 1;
  header.append((alignment - used % alignment) % alignment, ' ');
  header += '\n';
  std::string preamble{magic};
  preamble += static_cast<char>(header.size() & 0xFFU);
  preamble += static_cast<char>(header.size() >> 8U);
  return preamble + header;
}

}  // namespace outrigger::files
