#include "wire/value.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <msgpack.hpp>

namespace outrigger::wire {

namespace {

constexpr std::size_t kept_bytes_max = 256U << 10;
/// The largest frame for which the array of nodes has one node for each byte.
constexpr std::size_t short_frame_bytes = kept_bytes_max / sizeof(Node);

/// The visitor of msgpack::parse. A function that returns false stops the parse.
class Builder {
 public:
  /// Without `nodes`, the builder only counts the values.
  Builder(std::span<const std::uint8_t> frame, std::span<Node> nodes, std::uint32_t depth_max)
      : frame_(frame), nodes_(nodes), depth_max_(depth_max) {
    open_.reserve(std::min<std::size_t>(depth_max, frame.size()));
  }

  const std::string& problem() const { return problem_; }
  std::size_t count() const { return count_; }

  bool visit_nil() { return add({.kind = Kind::nil, .size = 0, .natural = 0}); }
  bool visit_boolean(bool v) { return add({.kind = Kind::boolean, .size = 0, .boolean = v}); }
  bool visit_positive_integer(std::uint64_t v) {
    return add({.kind = Kind::unsigned_integer, .size = 0, .natural = v});
  }
  bool visit_negative_integer(std::int64_t v) {
    // A signed format may contain a number that is not negative.
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
  bool stores() const { return !nodes_.empty(); }

  bool stop(const char* problem) {
    problem_ = problem;
    return false;
  }

  bool add(const Node& node) {
    if (key_comes_ && node.kind != Kind::string) return stop("has a map key that is no string");
    key_comes_ = false;
    if (stores()) {
      // The bytes may come from a mapped file that changed since the values were counted.
      if (count_ == nodes_.size()) return stop("has more values than before");
      nodes_[count_] = node;
    }
    ++count_;
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

  /// `children` is the number of values that the container declares. Each of them has at least one
  /// byte, and that byte must be present.
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
    if (stores()) nodes_[index].extent = static_cast<std::uint32_t>(count_) - index;
    return true;
  }

  std::span<const std::uint8_t> frame_;
  std::span<Node> nodes_;
  std::uint32_t depth_max_;
  std::size_t count_ = 0;
  std::uint64_t read_ = 0;  ///< a lower bound of the bytes that have been read
  std::uint64_t owed_ = 0;  ///< values that open containers still need
  bool key_comes_ = false;
  std::vector<std::uint32_t> open_;
  std::string problem_;
};

/// The number of values. Errors: a text that describes the malformed bytes.
tl::expected<std::size_t, std::string> visit(std::span<const std::uint8_t> bytes,
                                             std::span<Node> nodes, std::uint32_t depth_max) {
  Builder builder(bytes, nodes, depth_max);
  std::size_t offset = 0;
  try {
    if (!msgpack::parse(reinterpret_cast<const char*>(bytes.data()), bytes.size(), offset,
                        builder)) {
      return tl::make_unexpected(builder.problem());
    }
  } catch (const msgpack::unpack_error&) {
    return tl::make_unexpected(std::string("is not msgpack"));  // an extension of 2^32 - 1 bytes
  }
  if (offset != bytes.size()) {
    return tl::make_unexpected("has " + std::to_string(bytes.size() - offset) +
                               " bytes after its value");
  }
  return builder.count();
}

}  // namespace

tl::expected<std::size_t, std::string> count_values(std::span<const std::uint8_t> bytes,
                                                    std::uint32_t depth_max) {
  return visit(bytes, {}, depth_max);
}

tl::expected<Value, std::string> read_value(std::span<const std::uint8_t> bytes,
                                            std::span<Node> nodes, std::uint32_t depth_max) {
  const auto count = visit(bytes, nodes, depth_max);
  if (!count) return tl::make_unexpected(count.error());
  return Value(nodes.data(), bytes.data());
}

void ValueParser::reserve(std::size_t nodes) {
  if (nodes <= capacity_) return;
  nodes_.reset();  // free the old array first, so that both are never held
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
  std::size_t nodes = frame.size();
  if (nodes > short_frame_bytes) {
    const auto count = count_values(frame, depth_max_);
    if (!count) return tl::make_unexpected(count.error());
    nodes = *count;
  }
  reserve(nodes);
  return read_value(frame, {nodes_.get(), nodes}, depth_max_);
}

}  // namespace outrigger::wire
