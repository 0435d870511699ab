#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

/// Hand-written loops: the limit of this machine. Unlike the daemon, they are built with
/// -march=native and -Ofast, and each is written for its workload only. They use OMP_NUM_THREADS
/// threads.
namespace outrigger::bench {

/// Memory that is aligned to huge pages and requests them, as the daemon's memory does.
class Array {
 public:
  Array() = default;
  Array(std::string type, std::vector<std::int64_t> shape);  ///< `type` as in .npy: "<f4"
  Array(Array&& other) noexcept;
  Array& operator=(Array&& other) noexcept;
  ~Array();

  const std::string& type() const { return type_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t size() const;
  std::size_t bytes() const;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  std::string type_;
  std::vector<std::int64_t> shape_;
  void* data_ = nullptr;
};

using Inputs = std::vector<Array>;

/// Does the work once. The result is valid until the next call.
using Step = std::function<const Array*()>;
using Maker = std::function<Step(Inputs& inputs, std::int64_t steps)>;
using Workloads = std::map<std::string, Maker>;

void add_elementwise(Workloads& all);
void add_reductions(Workloads& all);
void add_movement(Workloads& all);  ///< sorts, scatters, gathers, copies
void add_grids(Workloads& all);
void add_loops(Workloads& all);
void add_linear_algebra(Workloads& all);

/// An array with the type of another, or with one number.
Array like(const Array& other);
Array scalar(const std::string& type);

}  // namespace outrigger::bench
