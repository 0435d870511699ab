#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "base/error.hpp"
#include "engine/planner/plan.hpp"
#include "engine/session/programs.hpp"
#include "engine/session/store.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

/// The arguments of one run, each looked up once, with what the run may do with them. Everything
/// takes time in proportion to their number. The request and the store's tensors must outlive it.
class Arguments {
 public:
  /// Errors: those of Store::find.
  static Result<Arguments> find(Store& store, const wire::Run& request);

  std::size_t size() const { return stored_.size(); }
  /// Null for a number.
  Stored* operator[](std::size_t position) const { return stored_[position]; }

  /// Whether the plan is for arguments of these types.
  bool fit(const Plan& plan) const;
  CallTypes types() const;

  /// Finds those that the run may have for itself. Errors: bad_request, if something is donated
  /// that is no argument.
  Result<void> find_donated();
  /// Whether it may have that one. Those that an atomic run may have to bring back, and files'
  /// pages, which are looked at again afterwards, are not among them.
  bool may_take_over(std::size_t position) const {
    return !taken_over_.empty() && taken_over_[position];
  }

  std::vector<ArgumentLayout> layouts() const;
  /// Bytes that a run of the plan takes on top of `peak` for copies of the arguments that it
  /// writes.
  std::uint64_t bytes_of_copies(const Plan& plan, const Peak& peak) const;

  /// The handles of the marked arguments, each once, in their order.
  std::vector<std::uint64_t> handles_of(const std::vector<bool>& marked) const;

 private:
  explicit Arguments(const wire::Run& request) : request_(&request) {}

  const wire::Run* request_;
  boost::container::small_vector<Stored*, 4> stored_;
  std::vector<bool> taken_over_;  ///< empty if none is
};

}  // namespace outrigger::engine
