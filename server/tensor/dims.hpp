#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "base/limits.hpp"

namespace outrigger {

/// The type for sums of sizes that a client chooses. The sums are checked before they are narrowed.
__extension__ using Wide = __int128;

/// Sizes or strides, one for each axis. A Dims does not allocate. It has space for the axes of two
/// tensors of the highest rank, which some ops concatenate before the rank is checked.
class Dims {
 public:
  static constexpr std::size_t capacity = std::size_t{2} * Limits::rank_max;

  Dims() = default;
  explicit Dims(std::size_t count, std::int64_t value = 0) { assign(count, value); }
  Dims(std::initializer_list<std::int64_t> values) { assign(values.begin(), values.end()); }
  template <typename It>
  Dims(It first, It last) {
    assign(first, last);
  }
  Dims(const Dims& other) { assign(other.begin(), other.end()); }
  Dims& operator=(const Dims& other) {
    if (this != &other) assign(other.begin(), other.end());
    return *this;
  }
  ~Dims() = default;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t* data() { return values_.data(); }
  const std::int64_t* data() const { return values_.data(); }
  std::int64_t* begin() { return values_.data(); }
  std::int64_t* end() { return values_.data() + size_; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + size_; }
  std::int64_t& operator[](std::size_t i) {
    assert(i < size_);
    return values_[i];
  }
  std::int64_t operator[](std::size_t i) const {
    assert(i < size_);
    return values_[i];
  }
  std::int64_t& back() { return (*this)[size_ - 1]; }
  std::int64_t back() const { return (*this)[size_ - 1]; }

  void push_back(std::int64_t value) {
    assert(size_ < capacity);
    values_[size_++] = value;
  }
  void resize(std::size_t count) {
    assert(count <= capacity);
    std::fill(values_.begin() + std::min(size_, count), values_.begin() + count, 0);
    size_ = count;
  }
  void assign(std::size_t count, std::int64_t value) {
    assert(count <= capacity);
    std::fill_n(values_.begin(), count, value);
    size_ = count;
  }
  template <typename It>
  requires(!std::is_integral_v<It>) void assign(It first, It last) {
    size_ = 0;
    append(first, last);
  }
  template <typename It>
  void append(It first, It last) {
    for (; first != last; ++first) push_back(*first);
  }
  void append(std::span<const std::int64_t> values) { append(values.begin(), values.end()); }

  friend bool operator==(const Dims& a, const Dims& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  // Only the first size_ values are set, so that the cost of a Dims depends on its size.
  std::array<std::int64_t, capacity> values_;
  std::size_t size_ = 0;
};

}  // namespace outrigger
