#include "ops/catalogue.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <optional>
#include <unordered_map>

namespace outrigger::ops {
namespace {

std::vector<OpRow> build_rows() {
  std::vector<OpRow> rows;
  register_layout(rows);
  register_elementwise(rows);
  register_cast(rows);
  register_reduce(rows);
  register_window(rows);
  register_product(rows);
  register_linalg(rows);
  register_fourier(rows);
  register_index(rows);
  register_sort(rows);
  register_fold(rows);
  register_control(rows);
  return rows;
}

const std::vector<OpRow>& rows() {
  static const std::vector<OpRow> all = build_rows();
  return all;
}

constexpr std::array<std::string_view, 8> attr_type_names{"int",    "ints",  "number", "bool",
                                                          "string", "dtype", "shape",  "binary"};

std::string_view name_of(AttrType type) {
  return attr_type_names.at(static_cast<std::size_t>(type));
}

/// Writes JSON in a fixed layout, one key of an op on each line, so that a diff of two catalogues
/// is easy to read.
class JsonWriter {
 public:
  std::string take() { return std::move(out_); }

  void ops(std::string_view hash) {
    out_ += "{\n  \"protocol\": 1,\n";
    if (!hash.empty()) out_ += "  \"catalogue\": " + quote(hash) + ",\n";
    out_ += "  \"dtypes\": [";
    for (std::size_t i = 0; i < dtype_count; ++i) {
      out_ += (i == 0 ? "" : ", ") + quote(outrigger::name_of(all_dtypes.at(i)));
    }
    out_ += "],\n  \"ops\": [\n";
    for (std::size_t i = 0; i < rows().size(); ++i) {
      op(rows()[i]);
      out_ += i + 1 < rows().size() ? ",\n" : "\n";
    }
    out_ += "  ]\n}\n";
  }

 private:
  static std::string quote(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (c == '\n') {
        quoted += "\\n";
      } else {
        quoted += c;
      }
    }
    return quoted + "\"";
  }

  void op(const OpRow& row) {
    out_ +=
        "    {\n      \"name\": " + quote(row.name) + ",\n      \"family\": " + quote(row.family);
    out_ += ",\n      \"operands\": [";
    for (std::size_t i = 0; i < row.operands.size(); ++i) {
      const OperandSpec& operand = row.operands[i];
      out_ += (i == 0 ? "" : ", ");
      out_ += "{\"name\": " + quote(operand.name) +
              ", \"kind\": " + (operand.many ? "\"many\"" : "\"one\"") + "}";
    }
    out_ += "],\n      \"attrs\": [";
    for (std::size_t i = 0; i < row.attrs.size(); ++i) attr(row.attrs[i], i == 0);
    out_ += "],\n      \"regions\": [";
    for (std::size_t i = 0; i < row.regions.size(); ++i) {
      out_ += (i == 0 ? "" : ", ") + quote(row.regions[i]);
    }
    out_ += "],\n      \"results\": ";
    out_ += row.kind == Kind::control ? "\"regions\"" : std::to_string(row.results);
    out_ += std::string(",\n      \"complex\": ") + (takes_complex(row) ? "true" : "false");
    out_ += ",\n      \"ulp\": " + ulp(row);
    out_ += ",\n      \"in_place\": " + (row.in_place < 0 ? "null" : std::to_string(row.in_place));
    out_ += ",\n      \"doc\": " + quote(row.doc) + "\n    }";
  }

  static std::string ulp(const OpRow& row) {
    if (!row.ulp) return "null";
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%g", *row.ulp);
    return text.data();
  }

  void attr(const AttrSpec& attr, bool first) {
    out_ += first ? "\n" : ",\n";
    out_ += "        {\"name\": " + quote(attr.name) + ", \"type\": " + quote(name_of(attr.type)) +
            ", \"required\": " + (attr.required ? "true" : "false") +
            ", \"default\": " + (attr.default_text.empty() ? "null" : quote(attr.default_text)) +
            ", \"doc\": " + quote(attr.doc) + "}";
  }

  std::string out_;
};

std::string compute_hash() {
  JsonWriter writer;
  writer.ops("");
  // FNV-1a: a fingerprint against drift, not against an attacker.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : writer.take()) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  }
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

/// The numbers that have a name on the wire, because the floats of some languages do not have them.
std::optional<double> non_finite(std::string_view name) {
  if (name == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (name == "infinity") return std::numeric_limits<double>::infinity();
  if (name == "neg_infinity") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

bool fits(AttrType type, const AttrValue& value) {
  switch (type) {
    case AttrType::integer:
      return std::holds_alternative<Number>(value) &&
             std::holds_alternative<std::int64_t>(std::get<Number>(value));
    case AttrType::integers:
    case AttrType::shape:
      return std::holds_alternative<std::vector<std::int64_t>>(value);
    case AttrType::number:
      return std::holds_alternative<Number>(value) || (std::holds_alternative<std::string>(value) &&
                                                       non_finite(std::get<std::string>(value)));
    case AttrType::boolean:
      return std::holds_alternative<bool>(value);
    case AttrType::string:
      return std::holds_alternative<std::string>(value);
    case AttrType::dtype:
      return std::holds_alternative<std::string>(value) &&
             parse_dtype(std::get<std::string>(value)).has_value();
    case AttrType::binary:
      return std::holds_alternative<Bytes>(value);
  }
  return false;
}

std::string expectation(AttrType type) {
  switch (type) {
    case AttrType::integer:
      return "an integer";
    case AttrType::integers:
      return "a list of integers";
    case AttrType::number:
      return "a number";
    case AttrType::boolean:
      return "true or false";
    case AttrType::string:
      return "a string";
    case AttrType::dtype:
      return "one of the dtypes " + std::string(dtype_names());
    case AttrType::shape:
      return "a shape: a list of integers";
    case AttrType::binary:
      return "a binary";
  }
  return "";
}

}  // namespace

std::string describe_ops_json() {
  JsonWriter writer;
  writer.ops(catalogue_hash());
  return writer.take();
}

std::string_view catalogue_hash() {
  static const std::string hash = compute_hash();
  return hash;
}

const OpRow* find_op(std::string_view name) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const OpRow*> map;
    for (const OpRow& row : rows()) map.emplace(row.name, &row);
    return map;
  }();
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

std::span<const OpRow> all_ops() { return rows(); }

Result<void> check_attrs(const OpRow& row, const Attrs& attrs) {
  const auto named = [](std::string_view name) {
    return [name](const auto& a) { return a.name == name; };
  };
  for (const auto& [name, value] : attrs) {
    const auto spec = std::find_if(row.attrs.begin(), row.attrs.end(), named(name));
    if (spec == row.attrs.end()) {
      return fail(ErrorCode::bad_attr, "unknown attribute \"" + name + "\"");
    }
    if (!fits(spec->type, value)) {
      return fail(ErrorCode::bad_attr,
                  "attribute \"" + name + "\" must be " + expectation(spec->type));
    }
  }
  const AttrView view(attrs);
  for (const AttrSpec& spec : row.attrs) {
    if (spec.required && !view.has(spec.name)) {
      return fail(ErrorCode::bad_attr, "attribute \"" + std::string(spec.name) + "\" is missing");
    }
  }
  return {};
}

const AttrValue* AttrView::find(std::string_view name) const {
  for (const auto& [key, value] : attrs_) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::int64_t AttrView::integer(std::string_view name, std::int64_t otherwise) const {
  const AttrValue* value = find(name);
  return value == nullptr ? otherwise : std::get<std::int64_t>(std::get<Number>(*value));
}

bool AttrView::boolean(std::string_view name, bool otherwise) const {
  const AttrValue* value = find(name);
  return value == nullptr ? otherwise : std::get<bool>(*value);
}

std::string_view AttrView::string(std::string_view name, std::string_view otherwise) const {
  const AttrValue* value = find(name);
  return value == nullptr ? otherwise : std::string_view(std::get<std::string>(*value));
}

Number AttrView::number(std::string_view name) const {
  const AttrValue* value = find(name);
  if (value == nullptr) return Number{};
  if (const auto* text = std::get_if<std::string>(value)) return Number{*non_finite(*text)};
  return std::get<Number>(*value);
}

std::span<const std::int64_t> AttrView::integers(std::string_view name) const {
  const AttrValue* value = find(name);
  if (value == nullptr) return {};
  return std::get<std::vector<std::int64_t>>(*value);
}

DType AttrView::dtype(std::string_view name, DType otherwise) const {
  const AttrValue* value = find(name);
  return value == nullptr ? otherwise : *parse_dtype(std::get<std::string>(*value));
}

const Bytes& AttrView::binary(std::string_view name) const {
  static const Bytes none;
  const AttrValue* value = find(name);
  return value == nullptr ? none : std::get<Bytes>(*value);
}

}  // namespace outrigger::ops
