#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <new>
#include <numeric>
#include <utility>

#include "workloads.hpp"

namespace outrigger::bench {

Array::Array(std::string type, std::vector<std::int64_t> shape)
    : type_(std::move(type)), shape_(std::move(shape)) {
  constexpr std::size_t page = std::size_t{2} << 20;
  const std::size_t rounded = (bytes() + page - 1) / page * page;
  data_ = std::aligned_alloc(page, std::max(page, rounded));
  if (data_ == nullptr) throw std::bad_alloc();
  madvise(data_, rounded, MADV_HUGEPAGE);
}

Array::Array(Array&& other) noexcept { *this = std::move(other); }

Array& Array::operator=(Array&& other) noexcept {
  std::swap(type_, other.type_);
  std::swap(shape_, other.shape_);
  std::swap(data_, other.data_);
  return *this;
}

Array::~Array() { std::free(data_); }

std::int64_t Array::size() const {
  return std::accumulate(shape_.begin(), shape_.end(), std::int64_t{1}, std::multiplies<>());
}

std::size_t Array::bytes() const {
  return static_cast<std::size_t>(size()) *
         std::stoul(type_.substr(2).empty() ? "1" : type_.substr(2));
}

Array like(const Array& other) { return Array(other.type(), other.shape()); }
Array scalar(const std::string& type) { return Array(type, {}); }

}  // namespace outrigger::bench
