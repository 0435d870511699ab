#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "kernel/check.hpp"

namespace outrigger::kernel {

/// A tensor of a call: elements in C order, which the caller owns.
struct TensorView {
  std::byte* data = nullptr;
  std::vector<std::int64_t> dims = {};
};

enum class FailureCode : std::uint8_t { bad_index, bad_value, bad_shape, raised, cancelled };

/// An error of a kernel that runs, with the place in the source of the user.
struct Failure {
  FailureCode code = FailureCode::raised;
  std::string text = {};
  std::string kernel = {};  ///< the name of the kernel that failed
  std::string file = {};
  std::uint32_t line = 0;  ///< 0: the call from outside
};

/// The sizes of the dimension names. `tensors` are those of the parameters in their order; with
/// `fresh` false, the `new` ones are not there yet.
tl::expected<std::vector<std::int64_t>, std::string> bind_dims(
    const Kernel& kernel, const std::vector<TensorView>& tensors, bool fresh);

/// The size that a dimension stands for. It is not any.
std::int64_t size_of(const Dim& dim, const std::vector<std::int64_t>& dims);

/// A unit as code of a register machine: one register of 64 bits for each variable and for each
/// expression. A register holds an integer extended to 64 bits, or the bits of a float.
class Machine {
 public:
  explicit Machine(const CheckedUnit& unit);
  ~Machine();
  Machine(Machine&&) noexcept;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  Machine& operator=(Machine&&) = delete;

  /// Runs the last kernel. `scalars` are cells, in the order of the scalar parameters. `tensors`
  /// are those of the parameters, `new` ones too, which are zero. Returns the cells of the results.
  /// `cancelled` is read at each turn of a loop; it may be null.
  tl::expected<std::vector<std::uint64_t>, Failure> run(
      const std::vector<std::uint64_t>& scalars, const std::vector<TensorView>& tensors,
      const std::atomic<bool>* cancelled = nullptr) const;

 private:
  struct Code;
  tl::expected<std::vector<std::uint64_t>, Failure> run_code(
      std::size_t number, const std::vector<std::uint64_t>& scalars,
      std::vector<TensorView> tensors, std::vector<std::int64_t> dims,
      const std::atomic<bool>* cancelled) const;

  std::vector<std::unique_ptr<Code>> codes_;
};

}  // namespace outrigger::kernel
