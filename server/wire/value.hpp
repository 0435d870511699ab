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

/// The kind of a msgpack value. Integers have two kinds by their sign, as in msgpack. Both widths
/// of floats become double.
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

/// One msgpack value in the preorder array of a frame's values. The descendants of a container
/// follow it directly. The bytes of strings and binaries stay in the frame.
struct Node {
  Kind kind;
  /// The bytes of a string or binary, the elements of an array, or the entries of a map.
  std::uint32_t size;
  union {
    bool boolean;
    std::uint64_t natural;
    std::int64_t negative;
    double real;
    std::uint32_t offset;  ///< position of the bytes of a string or binary
    std::uint32_t extent;  ///< nodes in the subtree of a container, with the container itself
  };
};
static_assert(sizeof(Node) == 16, "the memory bound of Limits::frame_bytes_max counts on it");

/// A view of one value. It is valid until its frame ends, or until the next parse() of its parser.
class Value {
 public:
  Value(const Node* node, const std::uint8_t* frame) : node_(node), frame_(frame) {}

  Kind kind() const { return node_->kind; }
  bool is(Kind kind) const { return node_->kind == kind; }
  /// Each of these functions requires a value of the kind in its name.
  bool boolean() const { return node_->boolean; }
  std::uint64_t natural() const { return node_->natural; }
  std::int64_t negative() const { return node_->negative; }
  double real() const { return node_->real; }
  std::string_view string() const {
    return {reinterpret_cast<const char*>(frame_) + node_->offset, node_->size};
  }
  std::span<const std::uint8_t> binary() const { return {frame_ + node_->offset, node_->size}; }
  std::uint32_t size() const { return node_->size; }

  /// A range for `for (Value item : array.items())`.
  class Items;
  Items items() const;
  /// A range for `for (auto [key, item] : map.entries())`.
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

/// The number of values inside the one value in `bytes`, itself included, so that memory for them
/// can be allocated before they are read. The error is a text that describes the fault: the bytes
/// are incomplete, bytes follow the value, there is an extension type or a map key that is not a
/// string, or the nesting exceeds `depth_max`.
tl::expected<std::size_t, std::string> count_values(std::span<const std::uint8_t> bytes,
                                                    std::uint32_t depth_max);

/// The value in `bytes`. It refers to `nodes` and `bytes`. `nodes` has space for the number of
/// values that count_values() returns. Errors: those of count_values(), and more values than the
/// space.
tl::expected<Value, std::string> read_value(std::span<const std::uint8_t> bytes,
                                            std::span<Node> nodes, std::uint32_t depth_max);

/// Decodes a frame's bytes into values. A frame that exceeds a limit is refused before memory is
/// allocated for it.
///
/// Invariant: the values are written to one array, which is allocated before they are read. For a
/// short frame, the array has one node for each byte, because a msgpack value has at least one
/// byte. For a longer frame, the values are counted first, and the array has one node for each
/// value. Therefore the memory never exceeds 16 bytes for each byte of the frame.
class ValueParser {
 public:
  explicit ValueParser(const Limits& limits) : depth_max_(limits.depth_max) {}

  /// The one value in `frame`. Errors: those of count_values(). The value of the previous call
  /// becomes invalid.
  tl::expected<Value, std::string> parse(std::span<const std::uint8_t> frame);

  /// The bytes that the parser holds now. At most 256 KiB of them stay between two frames.
  std::size_t memory_bytes() const { return capacity_ * sizeof(Node); }
  /// Frees memory above 256 KiB. The last value becomes invalid.
  void trim();

 private:
  void reserve(std::size_t nodes);

  std::uint32_t depth_max_;
  std::unique_ptr<Node[]> nodes_;
  std::size_t capacity_ = 0;
};

}  // namespace outrigger::wire
