#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

#include "base/limits.hpp"

namespace outrigger::wire {

/// What a msgpack value is. Integers are split by sign, as they are in msgpack; both float widths
/// arrive as double.
enum class Kind : std::uint8_t {
  nil,
  boolean,
  unsigned_integer,
  negative_integer,
  real,
  string,
  binary,
  array,
  map,
};

/// One msgpack value in a frame's preorder array of values. A container's descendants follow it
/// directly. Strings and binaries stay in the frame.
struct Node {
  Kind kind;
  /// Bytes of a string or binary, elements of an array, entries of a map.
  std::uint32_t size;
  union {
    bool boolean;
    std::uint64_t natural;
    std::int64_t negative;
    double real;
    std::uint32_t offset;  ///< of a string's or binary's bytes in the frame
    std::uint32_t extent;  ///< nodes of a container's subtree, itself included
  };
};
static_assert(sizeof(Node) == 16, "the memory bound of Limits::frame_bytes_max counts on it");

/// A view of one value; valid while its frame and its parser's next parse() allow.
class Value {
 public:
  Value(const Node* node, const std::uint8_t* frame) : node_(node), frame_(frame) {}

  Kind kind() const { return node_->kind; }
  bool is(Kind kind) const { return node_->kind == kind; }
  /// Each of these demands the kind that it names.
  bool boolean() const { return node_->boolean; }
  std::uint64_t natural() const { return node_->natural; }
  std::int64_t negative() const { return node_->negative; }
  double real() const { return node_->real; }
  std::string_view string() const {
    return {reinterpret_cast<const char*>(frame_) + node_->offset, node_->size};
  }
  std::span<const std::uint8_t> binary() const { return {frame_ + node_->offset, node_->size}; }
  std::uint32_t size() const { return node_->size; }

  /// for (Value item : array.items())
  class Items;
  Items items() const;
  /// for (auto [key, item] : map.entries())
  class Entries;
  Entries entries() const;

 private:
  Value next() const {
    const bool container = is(Kind::array) || is(Kind::map);
    return {node_ + (container ? node_->extent : 1U), frame_};
  }

  const Node* node_;
  const std::uint8_t* frame_;
};

class Value::Items {
 public:
  struct Iterator {
    Value value;
    Value operator*() const { return value; }
    Iterator& operator++() {
      value = value.next();
      return *this;
    }
    bool operator!=(const Iterator& other) const { return value.node_ != other.value.node_; }
  };
  explicit Items(const Value& array) : array_(array) {}
  Iterator begin() const { return {{array_.node_ + 1, array_.frame_}}; }
  Iterator end() const { return {array_.next()}; }

 private:
  Value array_;
};

class Value::Entries {
 public:
  struct Iterator {
    Value key;
    std::pair<std::string_view, Value> operator*() const { return {key.string(), key.next()}; }
    Iterator& operator++() {
      key = key.next().next();
      return *this;
    }
    bool operator!=(const Iterator& other) const { return key.node_ != other.key.node_; }
  };
  explicit Entries(const Value& map) : map_(map) {}
  Iterator begin() const { return {{map_.node_ + 1, map_.frame_}}; }
  Iterator end() const { return {map_.next()}; }

 private:
  Value map_;
};

inline Value::Items Value::items() const { return Items(*this); }
inline Value::Entries Value::entries() const { return Entries(*this); }

/// How many values the one value in `bytes` consists of, so that memory for them can be taken
/// before they are read. Or for people what is wrong with the bytes: cut short, bytes left over, an
/// extension type, a map key that is no string, nesting beyond `depth_max`.
tl::expected<std::size_t, std::string> count_values(std::span<const std::uint8_t> bytes,
                                                    std::uint32_t depth_max);

/// The value in `bytes`, which lies in `nodes` and `bytes`. `nodes` has room for what
/// count_values() says. Errors: its, and more values than there is room for.
tl::expected<Value, std::string> read_value(std::span<const std::uint8_t> bytes,
                                            std::span<Node> nodes, std::uint32_t depth_max);

/// Turns a frame's bytes into values, and refuses what breaks a limit before taking memory for it.
///
/// Invariant: the values are written to one array that is taken before they are read: of as many
/// nodes as a short frame has bytes (a msgpack value has at least one), and of as many as a longer
/// one has values, which are counted first. So memory never exceeds 16 bytes for each of the
/// frame's, whatever it declares.
class ValueParser {
 public:
  explicit ValueParser(const Limits& limits) : depth_max_(limits.depth_max) {}

  /// The one value that `frame` holds. Errors: those of count_values(). Drops the value of the call
  /// before.
  tl::expected<Value, std::string> parse(std::span<const std::uint8_t> frame);

  /// Bytes held now; at most 256 KiB stay from one frame to the next.
  std::size_t memory_bytes() const { return capacity_ * sizeof(Node); }
  /// Gives memory above 256 KiB back; the last value is gone.
  void trim();

 private:
  void reserve(std::size_t nodes);

  std::uint32_t depth_max_;
  std::unique_ptr<Node[]> nodes_;
  std::size_t capacity_ = 0;
};

}  // namespace outrigger::wire
