#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "engine/executor/profile.hpp"
#include "ops/support/context.hpp"

namespace outrigger::engine {

/// The effects of a run, beside its results.
struct Outcome {
  std::vector<Tensor> results;
  /// Set if the program failed; `results` is then empty.
  std::optional<Error> error;
  /// Arguments whose memory changed, by position; after an error possibly in part.
  std::vector<bool> written;
};

/// Arguments that the caller does not need after the run, by position.
using Donations = std::vector<std::pair<std::size_t, Tensor>>;

/// Runs a plan. This is the only place where tensors change. `values` has an element for each slot
/// of the plan; the elements of the parameters are the arguments, which have the plan's types. In
/// an argument that the plan writes in place, no element has two positions. `arguments` are the
/// storages of the arguments, by position; null for those that the run may take over, and for
/// `numbers`. Fills `profile`, if there is one. Errors are in the outcome; out_of_memory also if
/// the system has no memory left.
Outcome execute(ops::Context& context, const Plan& plan, std::vector<Tensor> values,
                std::span<const StoragePtr> arguments, std::span<const NumberArgument> numbers,
                Profile* profile);

/// The same for a few arguments. `donated` are those that the run may take over; `arguments` has
/// none in their positions.
Outcome execute(ops::Context& context, const Plan& plan, std::span<const Tensor> arguments,
                Donations donated = {}, Profile* profile = nullptr);

}  // namespace outrigger::engine
