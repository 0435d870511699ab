#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "data/folder.hpp"
#include "engine/session/names.hpp"
#include "engine/session/session.hpp"
#include "wire/reply.hpp"

namespace outrigger::engine {

/// Keeps the published tensors in a data folder (docs/decisions/durability.md).
///
/// A checkpoint begins with a snapshot, which the engine's thread takes between two requests: it
/// refers to the buffers of the tensors, so that a later write into one goes to a copy. A thread of
/// its own writes the files. When nothing has changed, no thread wakes.
class Checkpoints {
 public:
  using Clock = Names::Clock;
  using Outcome = Result<wire::CheckpointInfo>;
  /// Called once, by the writer or by the engine's thread. It does not block.
  using Done = std::function<void(const Outcome&)>;

  /// `look_at` may be called by any thread: tick() is to be called at that time.
  Checkpoints(Names& names, std::unique_ptr<data::Folder> folder, DataOptions options,
              std::function<void(Clock::time_point)> look_at);
  /// Waits for the end of the checkpoint that is being written. Those that wait for another one
  /// are not called.
  ~Checkpoints();
  Checkpoints(const Checkpoints&) = delete;
  Checkpoints& operator=(const Checkpoints&) = delete;

  /// Puts the tensors of the folder into `names`, before there are sessions. Errors: those of
  /// data::Folder::load(), limit_exceeded.
  Result<void> restore(Memory& memory);

  /// Any thread. Asks for a checkpoint of all that has happened until now. `done` gets it when it
  /// is durable; at once if nothing has changed since the last one.
  void request(Done done);

  /// For the thread that has claimed the engine: names may have changed.
  void after_request();
  /// For the engine's thread, which has claimed it: takes a snapshot if it is time.
  void tick();

  /// Any thread: the memory that the checkpoint holds which is being written.
  std::uint64_t held_bytes() const { return held_bytes_.load(std::memory_order_relaxed); }
  /// Any thread.
  wire::CheckpointInfo describe() const;

 private:
  /// A state of the names.
  struct Mark {
    std::uint64_t change = 0;
    std::uint64_t writes = 0;
    bool operator==(const Mark&) const = default;
  };
  struct Job {
    Mark mark;
    std::int64_t taken_at_ms = 0;
    std::vector<data::Item> items;
    bool writes_files = false;
    std::vector<Done> done;
  };
  /// The end of a job, from the writer.
  struct End {
    Mark mark;
    std::optional<data::Manifest> manifest;  ///< of the checkpoint, if there is one
    bool complete = false;
  };
  static constexpr auto no_time = Clock::time_point::max();

  Mark mark() const { return {names_.last_change(), names_.writes()}; }
  void schedule();
  void take_end();
  void begin(std::vector<Done> done);
  Job snapshot();
  void hand_over(Job job, std::vector<Done> done);
  static void answer(const std::vector<Done>& done, const Outcome& outcome);
  void work();
  void carry_out(Job job);
  void note_marks(Mark current, std::optional<Mark> durable);
  Outcome note_success(const data::Saved& saved, Mark mark, Clock::duration taken);
  void note_failure(const Error& error);

  Names& names_;
  const std::unique_ptr<data::Folder> folder_;  ///< the writer's, once there are sessions
  const DataOptions options_;
  const std::function<void(Clock::time_point)> look_at_;

  // Guarded by the engine's claim.
  Mark saved_mark_;  ///< as far as this thread has looked
  Mark seen_;
  bool busy_ = false;  ///< the writer has a snapshot
  Clock::time_point scheduled_ = no_time;
  /// The files of the last checkpoint by version.
  std::unordered_map<std::uint64_t, data::TensorFile> files_;

  std::atomic<std::uint64_t> held_bytes_{0};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Done> waiting_;    ///< guarded by mutex_, as all that follows
  std::optional<Job> job_;       ///< for the writer
  std::optional<End> end_;       ///< from the writer
  wire::CheckpointInfo status_;  ///< but `changed`
  Mark current_;
  Mark durable_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace outrigger::engine
