#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rights.hpp"
#include "engine/executor/execute.hpp"
#include "engine/session/arguments.hpp"
#include "engine/session/guests.hpp"
#include "engine/session/kernels.hpp"
#include "engine/session/names.hpp"
#include "engine/session/programs.hpp"
#include "engine/session/requests.hpp"
#include "engine/session/small.hpp"
#include "engine/session/store.hpp"
#include "engine/session/tenant.hpp"
#include "wire/reply.hpp"
#include "wire/request.hpp"

namespace outrigger::engine {

/// One request on its way through the engine.
struct Task {
  std::uint64_t id = 0;
  RequestBody body;
  /// The body is not decoded yet; the frame has it.
  bool encoded = false;
  /// Owns the bytes that the body points into.
  std::shared_ptr<const wire::Frame> frame;
  /// Counts against the session's window: the bytes of the request and of its reply.
  std::uint64_t bytes = 0;
  ops::Interrupt interrupt;

  // For Watch.
  using Clock = std::chrono::steady_clock;
  std::size_t kind = 0;  ///< wire::kind_of()
  Clock::time_point arrived = {};
  Clock::time_point begun = {};
  std::optional<ErrorCode> failure = {};
  std::shared_ptr<const OpUses> ops = {};  ///< of its program
};

class Checkpoints;

/// A session's surroundings, as its workspace sees them.
struct Surroundings {
  Tenant& tenant;
  const Limits& limits;
  int threads = 1;
  Names& names;
  Names::Subscriber& subscriber;
  EngineGuests& guests;
  kernel::Compiler& compiler;
  Rights rights = Rights::all();
  const Checkpoints* checkpoints = nullptr;  ///< if there is a data folder
};

/// The tensors, programs and uploads of a session. One thread at a time uses it: the one that holds
/// the engine's lock.
class Workspace {
 public:
  explicit Workspace(Surroundings around)
      : around_(std::move(around)),
        memory_(around_.tenant.memory()),
        limits_(around_.limits),
        threads_(around_.threads),
        store_(memory_, limits_, &around_.tenant.handles()),
        kernels_(memory_, limits_, around_.compiler),
        programs_(memory_, limits_, kernels_, threads_, &around_.tenant.programs()) {}

  /// Carries out the request and gives the reply's frame. With `only_small`, does nothing and gives
  /// nothing if the request could exceed the bounds. Without it, that means that the request needs
  /// memory which a checkpoint holds: it is to be tried again. If the system has no memory left,
  /// the request fails with out_of_memory, and changes nothing else.
  std::optional<wire::Frame> carry_out(Task& task, ops::Context& context, bool only_small,
                                       const Bounds& bounds = at_once);

  /// Frees everything.
  void clear();
  std::size_t tensors() const { return store_.size(); }
  std::uint64_t bytes() const { return store_.bytes(); }
  std::size_t programs() const { return programs_.size(); }
  std::size_t kernels() const { return kernels_.size(); }

 private:
  struct PendingUpload {
    Tensor tensor;
    Counted::One handle;  ///< among the token's
    std::uint64_t received = 0;
  };
  using Reply = Result<wire::Frame>;

  Result<void> decode(Task& task) const;
  Result<void> check_time(const Task& task);
  Reply attempt(Task& task, ops::Context& context, bool only_small);
  void abandon(const Task& task, const Error& error);
  void check_after(const Task& task, bool succeeded) const;

  Reply run(Task& task, wire::Run& request, ops::Context& context, bool only_small);
  Reply prepare(std::uint64_t id, wire::Prepare& request, ops::Context& context);
  Result<Program> read_program(std::uint64_t handle, ops::Context& context);
  Reply info(std::uint64_t id, const wire::Info& request);
  Reply upload(std::uint64_t id, const wire::Upload& request);
  Result<bool> receive(const wire::Upload& request);
  Result<void> begin_upload(const wire::Upload& request);
  Reply download(std::uint64_t id, const wire::Download& request);
  /// Puts the tensor of a file under a new handle.
  template <typename Request>
  Reply load_file(std::uint64_t id, const Request& request, const ops::Context& context);
  Reply save(std::uint64_t id, const wire::Save& request, ops::Context& context);
  Reply save(std::uint64_t id, const wire::SaveNpz& request, ops::Context& context);
  Reply keep(std::uint64_t id, std::uint64_t handle, Tensor tensor,
             std::optional<std::uint64_t> version = {});
  Reply run_plan(std::uint64_t id, const wire::Run& request, ops::Context& context,
                 Arguments& arguments, const Plan& plan);
  static wire::Frame encode_outcome(std::uint64_t id, const wire::Run& request, const Plan& plan,
                                    const Outcome& outcome, const std::optional<Profile>& profile);
  Reply release(std::uint64_t id, const wire::Release& request);
  Reply publish(std::uint64_t id, const wire::Publish& request, ops::Context& context,
                bool only_small);
  Reply open(std::uint64_t id, const wire::Open& request, ops::Context& context);
  Reply list(std::uint64_t id, const wire::ListNames& request);
  Reply unpublish(std::uint64_t id, const wire::Unpublish& request);
  Reply subscribe(std::uint64_t id, const wire::Subscribe& request);
  Reply unsubscribe(std::uint64_t id, const wire::Unsubscribe& request);
  bool may_take_long(const RequestBody& body) const;
  Result<void> check_writes(const wire::Run& request, const Arguments& arguments,
                            const Plan& plan) const;

  Result<std::shared_ptr<const Plan>> plan_for(wire::Run& request, const Arguments& arguments,
                                               const ops::Interrupt& interrupt, bool only_small);
  Result<void> check_new(std::uint64_t handle, std::size_t count) const;
  Result<void> check_new_handles(const std::vector<std::uint64_t>& handles) const;
  Result<std::optional<std::uint64_t>> check_memory(const Arguments& arguments, const Plan& plan,
                                                    const ops::Interrupt& interrupt);
  void note_writes(const Arguments& arguments, const Plan& plan) const;
  static Result<void> make_arguments_dense(const Arguments& arguments, const Plan& plan,
                                           ops::Context& context);

  Surroundings around_;
  Bounds bounds_;         ///< of the request that is carried out
  bool changed_ = false;  ///< by its program, at most in part
  Memory& memory_;
  const Limits& limits_;
  const int threads_;
  Store store_;
  Kernels kernels_;
  Programs programs_;
  std::unordered_map<std::uint64_t, PendingUpload> uploads_;
  /// The memory that a checkpoint held when the request began.
  std::uint64_t held_by_checkpoint_ = 0;
};

}  // namespace outrigger::engine
