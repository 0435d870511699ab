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

/// The arguments of one run. Each is looked up once. Every function takes time in proportion to
/// their number. The request and the store's tensors must outlive this object.
class Arguments {
 public:
  /// Errors: those of Store::find.
  static Result<Arguments> find(Store& store, const wire::Run& request);

  std::size_t size() const { return stored_.size(); }
  /// Null for a number.
  Stored* operator[](std::size_t position) const { return stored_[position]; }

  /// True if the plan is for arguments of these types.
  bool fit(const Plan& plan) const;
  CallTypes types() const;

  /// Finds the arguments that the run may take over. Errors: bad_request, if a handle is donated
  /// that is no argument.
  Result<void> find_donated();
  /// True if the run may take over the argument. It may not if the run is atomic, because the undo
  /// log needs the argument, or if the argument has the pages of a file, which are checked after
  /// the run.
  bool may_take_over(std::size_t position) const {
    return !taken_over_.empty() && taken_over_[position];
  }

  std::vector<ArgumentLayout> layouts() const;
  /// Bytes of the copies of arguments that a run of the plan makes, on top of `peak`.
  std::uint64_t bytes_of_copies(const Plan& plan, const Peak& peak) const;

  /// True if a write in place has to copy a buffer of more than so many bytes: another tensor, a
  /// checkpoint or the undo log of an atomic run has it, too.
  bool copies_more_than(std::uint64_t bytes, const Plan& plan) const;
  /// True if other sessions may see the storage of an argument itself.
  bool has_live_tensor() const;

  /// The handles of the marked arguments, each once, in their order.
  std::vector<std::uint64_t> handles_of(const std::vector<bool>& marked) const;

 private:
  explicit Arguments(const wire::Run& request) : request_(&request) {}

  const wire::Run* request_;
  boost::container::small_vector<Stored*, 4> stored_;
  std::vector<bool> taken_over_;  ///< empty if the run takes over no argument
};

}  // namespace outrigger::engine
