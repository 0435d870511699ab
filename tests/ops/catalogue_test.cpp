#include "ops/catalogue.hpp"

#include <cctype>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "ops/support.hpp"

namespace outrigger::ops::test {
namespace {

/// A small strict JSON reader. It collects the values of all keys "name" at the depth of an op.
class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}

  bool valid() { return value() && (space(), at_ == text_.size()); }
  /// For each key, the number of occurrences of each text.
  std::map<std::string, std::multiset<std::string>> strings;

 private:
  void space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }
  bool string(std::string& out) {
    if (!take('"')) return false;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) return false;
      if (text_[at_] == '\\') {
        ++at_;
        if (at_ == text_.size() ||
            std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos)
          return false;
      }
      out += text_[at_];
    }
    return take('"');
  }
  bool list(char end, const std::function<bool()>& item) {
    if (take(end)) return true;
    do {
      if (!item()) return false;
    } while (take(','));
    return take(end);
  }
  bool value() {
    space();
    std::string text;
    if (at_ == text_.size()) return false;
    switch (text_[at_]) {
      case '{':
        ++at_;
        return list('}', [&] {
          std::string key;
          if (!string(key) || !take(':')) return false;
          space();
          std::string here;
          const std::size_t before = at_;
          if (at_ < text_.size() && text_[at_] == '"' && string(here)) strings[key].insert(here);
          at_ = before;
          return value();
        });
      case '[':
        ++at_;
        return list(']', [&] { return value(); });
      case '"':
        return string(text);
      default:
        break;
    }
    if (word("true") || word("false") || word("null")) return true;
    if (std::isdigit(static_cast<unsigned char>(text_[at_])) == 0 && text_[at_] != '-')
      return false;
    double number = 0;
    const char* const end = text_.data() + text_.size();
    const auto [rest, error] = std::from_chars(text_.data() + at_, end, number);
    at_ = text_.size() - static_cast<std::size_t>(end - rest);
    return error == std::errc{} && std::isfinite(number);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

AttrValue value_of(AttrType type) {
  switch (type) {
    case AttrType::integer:
    case AttrType::number:
      return Number{std::int64_t{1}};
    case AttrType::integers:
    case AttrType::shape:
      return std::vector<std::int64_t>{1};
    case AttrType::boolean:
      return true;
    case AttrType::string:
      return std::string("asc");
    case AttrType::dtype:
      return std::string("f32");
    case AttrType::binary:
      return Bytes{1};
  }
  return true;
}

TEST(CatalogueTest, IsJsonAndListsEachOpOnce) {
  const std::string text = describe_ops_json();
  Json json(text);
  ASSERT_TRUE(json.valid());
  std::set<std::string_view> names;
  for (const OpRow& row : all_ops()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
    EXPECT_EQ(find_op(row.name), &row);
    const std::string line = "\n      \"name\": \"" + std::string(row.name) + "\"";
    const auto first = text.find(line);
    ASSERT_NE(first, std::string::npos) << row.name;
    EXPECT_EQ(text.find(line, first + 1), std::string::npos) << row.name;
  }
  EXPECT_EQ(json.strings["family"].size(), names.size());
  EXPECT_EQ(json.strings["catalogue"].count(std::string(catalogue_hash())), 1U);
  EXPECT_EQ(find_op("no_such_op"), nullptr);
  EXPECT_EQ(find_op(""), nullptr);
}

TEST(CatalogueTest, RowsAreWhatTheirKindDemands) {
  for (const OpRow& row : all_ops()) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(row.family.empty());
    EXPECT_FALSE(row.doc.empty());
    EXPECT_EQ(row.infer == nullptr, row.kind == Kind::control);
    EXPECT_EQ(row.view != nullptr, row.kind == Kind::view);
    EXPECT_EQ(row.run != nullptr,
              row.kind == Kind::create || row.kind == Kind::compute || row.kind == Kind::update);
    EXPECT_LT(row.in_place, static_cast<int>(row.operands.size()));
    const bool names_its_body = row.name == "call" || row.name == "kernel";
    const bool applies_regions =
        (row.kind == Kind::control && !names_its_body) || row.kind == Kind::fold;
    EXPECT_EQ(row.regions.empty(), !applies_regions);
    EXPECT_TRUE(row.kind != Kind::update || row.in_place == 0) << "an update writes operand 0";
    EXPECT_TRUE(row.kind != Kind::elementwise || row.operands.size() <= 3)
        << "a micro-op has three operands";
    std::set<std::string_view> attrs;
    for (const AttrSpec& attr : row.attrs) EXPECT_TRUE(attrs.insert(attr.name).second) << attr.name;
    for (std::size_t i = 0; i + 1 < row.operands.size(); ++i)
      EXPECT_FALSE(row.operands[i].many) << "only the last may be many";
  }
}

TEST(CatalogueTest, EveryTileKernelExistsForItsComputeDtypes) {
  for (const OpRow& row : all_ops()) {
    if (row.kind != Kind::elementwise || row.tile == nullptr) continue;
    for (const DType dtype : all_dtypes) {
      const std::vector<InferOperand> operands(row.operands.size(),
                                               InferOperand{TensorType{dtype, {}}});
      const Attrs none;
      const auto inferred = infer(row, InferCall{operands, AttrView(none)});
      if (!inferred) continue;
      EXPECT_TRUE(kernel_of(row, inferred->compute)) << row.name << " of " << name_of(dtype);
    }
  }
}

TEST(CatalogueTest, EveryElementwiseRowOfRealFloatsStatesItsUlp) {
  for (const OpRow& row : all_ops()) {
    SCOPED_TRACE(row.name);
    bool real_floats = false;
    if (row.kind == Kind::elementwise) {
      const std::vector<InferOperand> operands(row.operands.size(),
                                               InferOperand{TensorType{DType::f32, {}}});
      Attrs attrs;
      for (const AttrSpec& spec : row.attrs) attrs.emplace_back(spec.name, value_of(spec.type));
      const auto inferred = infer(row, InferCall{operands, AttrView(attrs)});
      real_floats = inferred && inferred->results[0].dtype == DType::f32;
    }
    EXPECT_EQ(row.ulp.has_value(), real_floats)
        << "`ulp` is for elementwise rows that give real floats, and is not 0 where it is absent";
    EXPECT_GE(row.ulp.value_or(0), 0);
  }
}

TEST(CheckAttrsTest, RightOnesPassWrongOnesAreNamed) {
  for (const OpRow& row : all_ops()) {
    SCOPED_TRACE(row.name);
    Attrs right;
    for (const AttrSpec& spec : row.attrs) right.emplace_back(spec.name, value_of(spec.type));
    EXPECT_TRUE(check_attrs(row, right));

    Attrs unknown = right;
    unknown.emplace_back("no_such", Number{std::int64_t{1}});
    const auto refused = check_attrs(row, unknown);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::bad_attr);
    EXPECT_NE(refused.error().text.find("no_such"), std::string::npos);

    for (std::size_t i = 0; i < right.size(); ++i) {
      Attrs missing = right;
      missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_EQ(check_attrs(row, missing).has_value(), !row.attrs[i].required) << right[i].first;
      for (const AttrValue& wrong :
           {AttrValue{true}, AttrValue{Number{0.5}}, AttrValue{std::string("f3")},
            AttrValue{Bytes{}}, AttrValue{std::vector<std::int64_t>{}},
            AttrValue{Number{~std::uint64_t{0}}}}) {
        if (wrong.index() == right[i].second.index() && row.attrs[i].type != AttrType::integer &&
            row.attrs[i].type != AttrType::dtype)
          continue;
        Attrs mistyped = right;
        mistyped[i].second = wrong;
        const auto mismatch = check_attrs(row, mistyped);
        ASSERT_FALSE(mismatch) << right[i].first << " with a value of kind " << wrong.index();
        EXPECT_EQ(mismatch.error().code, ErrorCode::bad_attr);
      }
    }
  }
}

TEST(CheckAttrsTest, NumbersMayHaveNames) {
  const OpRow& constant = *find_op("constant");
  for (const auto* name : {"nan", "infinity", "neg_infinity"}) {
    const Attrs attrs{{"value", std::string(name)},
                      {"type", std::string("f32")},
                      {"shape", std::vector<std::int64_t>{}}};
    EXPECT_TRUE(check_attrs(constant, attrs)) << name;
  }
  const Attrs wrong{{"value", std::string("inf")},
                    {"type", std::string("f32")},
                    {"shape", std::vector<std::int64_t>{}}};
  EXPECT_FALSE(check_attrs(constant, wrong));
}

}  // namespace
}  // namespace outrigger::ops::test
