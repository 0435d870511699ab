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

/// Arguments that nobody needs any more, by position.
using Donations = std::vector<std::pair<std::size_t, Tensor>>;

/// Runs a plan. `values` has an element for each of its slots; in those of its parameters are the
/// arguments, which have the plan's types. Those that it writes in place have no element in two
/// positions. `arguments` are their storages, by position; null for those that the run may take
/// over, and for `numbers`. The only place where tensors change. Fills in `profile`, if there is
/// one. Errors are in the outcome: it is out_of_memory, too, where the system has no memory left.
Outcome execute(ops::Context& context, const Plan& plan, std::vector<Tensor> values,
                std::span<const StoragePtr> arguments, std::span<const NumberArgument> numbers,
                Profile* profile);

/// The same for a few arguments. `donated` are those that the run may take over: `arguments` have
/// no storage there.
Outcome execute(ops::Context& context, const Plan& plan, std::span<const Tensor> arguments,
                Donations donated = {}, Profile* profile = nullptr);

}  // namespace outrigger::engine
