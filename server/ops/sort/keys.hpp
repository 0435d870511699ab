#pragma once

#include <cstdint>

#include "ops/sort/key_sort.hpp"
#include "tensor/dtype.hpp"

namespace outrigger::ops {

/// The functions between the elements of a dtype and keys. `flip` reverses the order.
struct Keys {
  void (*encode)(const void* elements, void* keys, std::int64_t n, bool flip);
  void (*decode)(const void* keys, void* elements, std::int64_t n, bool flip);
  /// Items of argsort: the key above the index, as u64 if the key has at most 32 bits, otherwise as
  /// WideKey.
  void (*narrow_items)(const void* elements, std::uint64_t* items, std::int64_t first,
                       std::int64_t n, bool flip);
  void (*wide_items)(const void* elements, WideKey* items, std::int64_t first, std::int64_t n,
                     bool flip);
};

Keys keys_of(DType dtype);

}  // namespace outrigger::ops
