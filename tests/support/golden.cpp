#include "support/golden.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <msgpack.hpp>
#include <stdexcept>
#include <string_view>

namespace outrigger::test {
namespace {

using Object = msgpack::object;

const Object* find(const Object& map, std::string_view key) {
  for (const auto& entry : map.via.map) {
    if (entry.key.as<std::string_view>() == key) return &entry.val;
  }
  return nullptr;
}

const Object& at(const Object& map, std::string_view key) {
  if (const Object* value = find(map, key)) return *value;
  throw std::runtime_error("no key " + std::string(key));
}

Bytes bytes_of(const Object& object) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(object.via.bin.ptr);
  return {begin, begin + object.via.bin.size};
}

Number number_of(const Object& object) {
  switch (object.type) {
    case msgpack::type::POSITIVE_INTEGER:
      if (object.via.u64 > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return object.via.u64;
      }
      return static_cast<std::int64_t>(object.via.u64);
    case msgpack::type::NEGATIVE_INTEGER:
      return object.via.i64;
    case msgpack::type::STR: {
      const auto text = object.as<std::string_view>();
      if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
      const double infinity = std::numeric_limits<double>::infinity();
      return text == "infinity" ? infinity : -infinity;
    }
    case msgpack::type::MAP: {
      const auto part = [&](std::string_view key) {
        return std::visit(
            [](auto number) {
              if constexpr (std::is_arithmetic_v<decltype(number)>)
                return static_cast<double>(number);
              return 0.0;
            },
            number_of(at(object, key)));
      };
      return std::complex<double>{part("re"), part("im")};
    }
    default:
      return object.as<double>();
  }
}

AttrValue attr_of(const Object& object) {
  switch (object.type) {
    case msgpack::type::BOOLEAN:
      return object.via.boolean;
    case msgpack::type::STR:
      return object.as<std::string>();
    case msgpack::type::BIN:
      return bytes_of(object);
    case msgpack::type::ARRAY:
      return object.as<std::vector<std::int64_t>>();
    default:
      return number_of(object);
  }
}

Operand operand_of(const Object& object) {
  if (object.type == msgpack::type::MAP) return number_of(at(object, "number"));
  return object.as<ValueId>();
}

Region region_of(const Object& object);

/// Everything except `in` and `out`, which golden cases write in another form than programs.
Instruction instruction_without_values(const Object& object) {
  Instruction out;
  out.op = at(object, "op").as<std::string>();
  if (const Object* attrs = find(object, "attrs")) {
    for (const auto& entry : attrs->via.map) {
      out.attrs.emplace_back(entry.key.as<std::string>(), attr_of(entry.val));
    }
  }
  if (const Object* regions = find(object, "regions")) {
    for (const Object& region : regions->via.array) out.regions.push_back(region_of(region));
  }
  if (const Object* in_place = find(object, "in_place")) out.in_place = in_place->as<bool>();
  return out;
}

Instruction instruction_of(const Object& object) {
  Instruction out = instruction_without_values(object);
  if (const Object* ids = find(object, "out")) out.out = ids->as<std::vector<ValueId>>();
  if (const Object* in = find(object, "in")) {
    for (const Object& operand : in->via.array) out.in.push_back(operand_of(operand));
  }
  return out;
}

Region region_of(const Object& object) {
  Region out;
  out.params = at(object, "params").as<std::vector<ValueId>>();
  for (const Object& instruction : at(object, "body").via.array) {
    out.body.push_back(instruction_of(instruction));
  }
  out.outputs = at(object, "outputs").as<std::vector<ValueId>>();
  return out;
}

Data data_of(const Object& object) {
  return {at(object, "dtype").as<std::string>(),
          at(object, "shape").as<std::vector<std::int64_t>>(), bytes_of(at(object, "data"))};
}

/// A case with `op`: one parameter for each tensor among the operands, and the one instruction.
void wrap_instruction(const Object& object, Case& out) {
  Instruction instruction = instruction_without_values(object);
  for (const Object& operand : at(object, "in").via.array) {
    if (find(operand, "number") != nullptr) {
      instruction.in.push_back(number_of(at(operand, "number")));
      continue;
    }
    const auto id = static_cast<ValueId>(out.args.size());
    out.program.params.push_back(id);
    instruction.in.push_back(id);
    out.args.push_back(data_of(operand));
  }
  const Object* results = find(object, "results");
  const auto count = results == nullptr ? std::size_t{1} : results->as<std::size_t>();
  for (std::size_t i = 0; i < count; ++i)
    instruction.out.push_back(static_cast<ValueId>(out.args.size() + i));
  out.op = instruction.op;
  out.program.outputs = instruction.out;
  out.program.body.push_back(std::move(instruction));
}

Case case_of(const Object& object) {
  Case out;
  out.name = at(object, "name").as<std::string>();
  if (const Object* prepared = find(object, "prepared")) {
    for (const Object& entry : prepared->via.array) {
      out.prepared.emplace_back(at(entry, "program_id").as<std::uint64_t>(),
                                region_of(at(entry, "program")));
    }
  }
  if (const Object* program = find(object, "program")) {
    out.program = region_of(*program);
    for (const Object& input : at(object, "in").via.array) out.args.push_back(data_of(input));
  } else {
    wrap_instruction(object, out);
  }
  if (const Object* error = find(object, "error")) {
    out.error = error->as<std::string>();
    return out;
  }
  for (const Object& tensor : at(object, "out").via.array) out.expected.push_back(data_of(tensor));
  out.tolerance.ulp = at(object, "ulp").as<std::uint64_t>();
  if (const Object* abs = find(object, "abs")) out.tolerance.abs = abs->as<double>();
  return out;
}

std::filesystem::path cases_directory() {
  return std::filesystem::path(OUTRIGGER_SOURCE_DIR) / "protocol/golden/cases";
}

}  // namespace

std::vector<std::string> golden_families() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(cases_directory())) {
    if (entry.path().extension() == ".msgpack") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Case> read_golden(const std::string& family) {
  const std::filesystem::path path = cases_directory() / (family + ".msgpack");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
  std::vector<Case> cases;
  for (const Object& object : handle.get().via.array) {
    try {
      cases.push_back(case_of(object));
    } catch (const std::exception& error) {
      throw std::runtime_error(path.string() + ", case " + std::to_string(cases.size()) + ": " +
                               error.what());
    }
  }
  return cases;
}

}  // namespace outrigger::test
