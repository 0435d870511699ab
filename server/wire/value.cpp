#include "wire/value.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <msgpack.hpp>

namespace outrigger::wire {

namespace {

constexpr std::size_t kept_bytes_max = 256U << 10;

/// Called by msgpack::parse for each value in turn; false stops it.
class Builder {
 public:
  Builder(std::span<const std::uint8_t> frame, std::span<Node> nodes, std::uint32_t depth_max)
      : frame_(frame), nodes_(nodes), depth_max_(depth_max) {
    open_.reserve(depth_max);
  }

  const std::string& problem() const { return problem_; }

  bool visit_nil() { return add({.kind = Kind::nil, .size = 0, .natural = 0}); }
  bool visit_boolean(bool v) { return add({.kind = Kind::boolean, .size = 0, .boolean = v}); }
  bool visit_positive_integer(std::uint64_t v) {
    return add({.kind = Kind::unsigned_integer, .size = 0, .natural = v});
  }
  bool visit_negative_integer(std::int64_t v) {
    // A signed format may carry a number that is not negative.
    if (v >= 0) return visit_positive_integer(static_cast<std::uint64_t>(v));
    return add({.kind = Kind::negative_integer, .size = 0, .negative = v});
  }
  bool visit_float32(float v) { return visit_float64(static_cast<double>(v)); }
  bool visit_float64(double v) { return add({.kind = Kind::real, .size = 0, .real = v}); }
  bool visit_str(const char* v, std::uint32_t size) { return add_bytes(Kind::string, v, size); }
  bool visit_bin(const char* v, std::uint32_t size) { return add_bytes(Kind::binary, v, size); }
  bool visit_ext(const char*, std::uint32_t) { return stop("has an extension type"); }

  bool start_array(std::uint32_t size) { return open(Kind::array, size, size); }
  bool start_array_item() { return true; }
  bool end_array_item() { return true; }
  bool end_array() { return close(); }
  bool start_map(std::uint32_t size) { return open(Kind::map, size, std::uint64_t{size} * 2); }
  bool start_map_key() {
    key_comes_ = true;
    return true;
  }
  bool end_map_key() { return true; }
  bool start_map_value() { return true; }
  bool end_map_value() { return true; }
  bool end_map() { return close(); }

  void parse_error(std::size_t, std::size_t) { stop("is not msgpack"); }
  void insufficient_bytes(std::size_t, std::size_t) { stop("ends inside of a value"); }

 private:
  bool stop(const char* problem) {
    problem_ = problem;
    return false;
  }

  bool add(const Node& node) {
    if (key_comes_ && node.kind != Kind::string) return stop("has a map key that is no string");
    key_comes_ = false;
    if (count_ == nodes_.size()) return stop("has too many values for its length");
    nodes_[count_++] = node;
    ++read_;
    if (owed_ > 0) --owed_;
    return true;
  }

  bool add_bytes(Kind kind, const char* bytes, std::uint32_t size) {
    // msgpack passes a null pointer for some empty strings.
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes);
    const std::ptrdiff_t offset = size == 0 ? 0 : first - frame_.data();
    read_ += size;
    return add({.kind = kind, .size = size, .offset = static_cast<std::uint32_t>(offset)});
  }

  /// `children` are the values that the container declares; each takes a byte that must be there.
  bool open(Kind kind, std::uint32_t size, std::uint64_t children) {
    if (open_.size() == depth_max_) return stop("nests too deeply");
    open_.push_back(static_cast<std::uint32_t>(count_));
    if (!add({.kind = kind, .size = size, .extent = 1})) return false;
    owed_ += children;
    if (owed_ > frame_.size() - read_) return stop("declares more values than it has bytes");
    return true;
  }

  bool close() {
    const std::uint32_t index = open_.back();
    open_.pop_back();
    nodes_[index].extent = static_cast<std::uint32_t>(count_) - index;
    return true;
  }

  std::span<const std::uint8_t> frame_;
  std::span<Node> nodes_;
  std::uint32_t depth_max_;
  std::size_t count_ = 0;
  std::uint64_t read_ = 0;  ///< a lower bound of the bytes behind us
  std::uint64_t owed_ = 0;  ///< values that open containers still wait for
  bool key_comes_ = false;
  std::vector<std::uint32_t> open_;
  std::string problem_;
};

}  // namespace

ValueParser::ValueParser(const Limits& limits) : limits_(limits) {}

void ValueParser::reserve(std::size_t nodes) {
  if (nodes <= capacity_) return;
  nodes_.reset();  // first give back, so that both are never held
  nodes_ = std::make_unique_for_overwrite<Node[]>(nodes);
  capacity_ = nodes;
}

void ValueParser::trim() {
  if (memory_bytes() <= kept_bytes_max) return;
  nodes_.reset();
  capacity_ = 0;
}

tl::expected<Value, std::string> ValueParser::parse(std::span<const std::uint8_t> frame) {
  trim();
  const std::size_t budget = limits_.nodes_base + frame.size() / limits_.nodes_bytes;
  const std::size_t nodes = std::min(frame.size(), budget);
  reserve(nodes);
  Builder builder(frame, {nodes_.get(), nodes}, limits_.depth_max);
  std::size_t offset = 0;
  try {
    if (!msgpack::parse(reinterpret_cast<const char*>(frame.data()), frame.size(), offset,
                        builder)) {
      return tl::make_unexpected(builder.problem());
    }
  } catch (const msgpack::unpack_error&) {
    return tl::make_unexpected(std::string("is not msgpack"));  // an extension of 2^32 - 1 bytes
  }
  if (offset != frame.size()) {
    return tl::make_unexpected("has " + std::to_string(frame.size() - offset) +
                               " bytes after its value");
  }
  return Value(nodes_.get(), frame.data());
}

}  // namespace outrigger::wire
