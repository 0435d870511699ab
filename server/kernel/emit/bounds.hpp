#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "kernel/check.hpp"
#include "kernel/emit/form.hpp"

namespace outrigger::kernel {

/// The analysis of the numbers of a kernel: it follows the statements in their order, and proves
/// that indices are inside of their axes, for all sizes. A mistake here would be an access outside
/// of a tensor: the tests run the code with a trap at each place that was proven.
class Bounds {
 public:
  explicit Bounds(const CheckedKernel& kernel);

  /// The statements between the two are the body of a `for` loop, which has a turn.
  void enter(const Node& loop);
  void leave() { loops_.pop_back(); }
  /// The variable gets the value, now.
  void set(std::uint32_t slot, std::uint32_t value);

  /// True if the value of the expression is inside of the axis, wherever it is evaluated here.
  bool inside(std::uint32_t expression, std::uint32_t tensor, std::uint32_t axis) const;

  /// The expression of a variable that is assigned once in the kernel.
  std::optional<std::uint32_t> only_value(std::uint32_t slot) const;
  /// The positive number by which each whole run through the block increases a variable; nothing if
  /// it is not known.
  std::optional<std::int64_t> step_in(std::uint32_t block, std::uint32_t slot) const;

  /// True if the expression reads a variable that the block assigns.
  bool reads_assigned(std::uint32_t expression, std::uint32_t block) const;

  /// True if a block assigns the variable.
  bool assigns(std::uint32_t block, std::uint32_t slot) const;

 private:
  struct Loop {
    Atom atom = 0;
    std::uint32_t slot = 0;
    bool known = false;  ///< the variable lies in `range`, and only the loop assigns it
    FormRange range = {};
    double magnitude = 0;  ///< of the range
  };

  const Node& node(std::uint32_t at) const { return kernel_->kernel.nodes[at]; }
  Type type_of(std::uint32_t at) const { return kernel_->types[at]; }
  void count_sets();
  void mark_assigned(std::uint32_t block, std::vector<bool>& assigned) const;
  bool has(std::uint32_t block, What what) const;
  /// The range of an s64; nothing if it is not known, or if the value may wrap.
  std::optional<FormRange> range(std::uint32_t at) const;
  std::optional<FormRange> sum(const Node& n) const;
  std::optional<FormRange> product(const Node& n) const;
  std::optional<FormRange> small(std::optional<FormRange> range) const;
  /// A form that is at most the size; with `exact` it is the size, or there is none.
  std::optional<Form> size(std::uint32_t tensor, std::uint32_t axis, bool exact) const;
  bool not_negative(std::uint32_t at) const;
  bool at_most(std::uint32_t at, const Form& bound) const;
  /// True if the form is 0 or more for all sizes and turns.
  bool holds(const Form& form) const;
  bool holds_alone(Form form) const;
  double magnitude(const Form& form) const;
  const Loop* loop_of(Atom atom) const;

  const CheckedKernel* kernel_;
  std::vector<std::uint32_t> sets_;         ///< how often each variable is assigned in the kernel
  std::vector<std::uint32_t> expressions_;  ///< of the last assignment, by variable
  std::vector<std::optional<FormRange>> values_;  ///< of variables that are assigned once
  /// The variables that a block assigns, by block; copies share it.
  std::shared_ptr<std::map<std::uint32_t, std::vector<bool>>> assigned_;
  std::vector<Loop> loops_;
  Atom next_ = 0;
};

}  // namespace outrigger::kernel
