#include "engine/session/checkpoints.hpp"

#include <pthread.h>

#include <new>
#include <utility>

#include "base/last_memory.hpp"

namespace outrigger::engine {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

/// The versions of a life of the server begin so far above those that the checkpoint before it
/// knows: the versions between them may have been given and lost. No server makes as many changes
/// between two checkpoints.
constexpr std::uint64_t lost_changes_max = std::uint64_t{1} << 40;

std::int64_t now_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return duration_cast<milliseconds>(now).count();
}

wire::CheckpointInfo described(const data::Manifest& manifest) {
  wire::CheckpointInfo out;
  out.number = manifest.checkpoint;
  out.names = manifest.entries.size();
  if (manifest.checkpoint != 0)
    out.taken_at_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(manifest.taken_at_ms, 0));
  return out;
}

/// Without its file.
data::Entry entry_of(const std::string& name, const Names::Item& item, std::int64_t at_ms,
                     Names::Clock::time_point at) {
  data::Entry out;
  out.name = name;
  out.version = item.version;
  out.type = item.tensor.type();
  out.token = item.token;
  if (item.end) {
    const std::int64_t left =
        std::max<std::int64_t>(duration_cast<milliseconds>(*item.end - at).count(), 0);
    out.lifetime = data::Lifetime{at_ms + left, left};
  }
  return out;
}

}  // namespace

Checkpoints::Checkpoints(Names& names, std::unique_ptr<data::Folder> folder, DataOptions options,
                         std::function<void(Clock::time_point)> look_at)
    : names_(names),
      folder_(std::move(folder)),
      options_(std::move(options)),
      look_at_(std::move(look_at)),
      status_(described(folder_->manifest())),
      thread_([this] { work(); }) {}

Checkpoints::~Checkpoints() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<void> Checkpoints::restore(Memory& memory) {
  const data::Manifest& manifest = folder_->manifest();
  const std::int64_t now = now_ms();
  std::uint64_t ended = 0;
  for (const data::Entry& entry : manifest.entries) {
    Names::Former former{entry.name, entry.version, {}, entry.token};
    if (entry.lifetime) former.left = milliseconds(entry.lifetime->left_at(now));
    if (former.left && former.left->count() == 0) {
      ++ended;
      continue;
    }
    OUTRIGGER_TRY(Tensor tensor, folder_->load(memory, entry));
    OUTRIGGER_CHECK(names_.restore(memory, std::move(former), std::move(tensor)));
    files_.emplace(entry.version, entry.file);
  }
  if (manifest.checkpoint == 0) return {};
  names_.go_on_from(manifest.last_change + lost_changes_max);
  saved_mark_ = seen_ = mark();
  // The next checkpoint is to be without them.
  if (ended != 0) --saved_mark_.change;
  note_marks(seen_, saved_mark_);
  schedule();
  options_.log(false, "loaded " + std::to_string(files_.size()) + " tensors of checkpoint " +
                          std::to_string(manifest.checkpoint) + " from " + folder_->path());
  return {};
}

void Checkpoints::request(Done done) {
  {
    const std::lock_guard lock(mutex_);
    with_last_memory([&] { waiting_.push_back(std::move(done)); });
  }
  look_at_(Clock::now());
}

void Checkpoints::after_request() {
  const Mark now = mark();
  if (now == seen_) return;
  seen_ = now;
  note_marks(now, {});
  schedule();
}

/// The next checkpoint, if there is something for it and none is being written.
void Checkpoints::schedule() {
  if (busy_ || options_.interval.count() == 0 || scheduled_ != no_time || mark() == saved_mark_)
    return;
  scheduled_ = Clock::now() + options_.interval;
  look_at_(scheduled_);
}

void Checkpoints::tick() {
  take_end();
  // The writer's end is the next time to look.
  if (busy_) return;
  std::vector<Done> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(waiting_);
  }
  const bool due = Clock::now() >= scheduled_;
  if (due) scheduled_ = no_time;
  if (due || !done.empty()) begin(std::move(done));
  if (scheduled_ != no_time)
    look_at_(scheduled_);
  else
    schedule();
}

void Checkpoints::take_end() {
  std::optional<End> end;
  {
    const std::lock_guard lock(mutex_);
    end.swap(end_);
  }
  if (!end) return;
  busy_ = false;
  if (end->complete) saved_mark_ = end->mark;
  if (!end->manifest) return;
  files_.clear();
  try {
    for (data::Entry& entry : end->manifest->entries)
      files_.emplace(entry.version, std::move(entry.file));
  } catch (const std::bad_alloc&) {
    // The next checkpoint writes again what is not known.
  }
}

void Checkpoints::begin(std::vector<Done> done) {
  std::optional<Outcome> outcome;
  try {
    Job job = snapshot();
    if (job.mark == saved_mark_ || (!job.writes_files && job.mark.change == saved_mark_.change)) {
      outcome = describe();
      saved_mark_ = job.mark;
      note_marks(job.mark, job.mark);
    } else {
      return hand_over(std::move(job), std::move(done));
    }
  } catch (const std::bad_alloc&) {
    held_bytes_ = 0;
    outcome = with_last_memory([&]() -> Outcome {
      note_failure(no_memory());
      return tl::make_unexpected(no_memory());
    });
  }
  answer(done, *outcome);
}

/// Nothing here allocates.
void Checkpoints::hand_over(Job job, std::vector<Done> done) {
  job.done = std::move(done);
  {
    const std::lock_guard lock(mutex_);
    job_.emplace(std::move(job));
  }
  busy_ = true;
  scheduled_ = no_time;
  wake_.notify_one();
}

/// After std::bad_alloc, the next snapshot has all that this one would have had.
Checkpoints::Job Checkpoints::snapshot() {
  Job job;
  job.mark = mark();
  if (job.mark == saved_mark_) return job;
  job.taken_at_ms = now_ms();
  const auto now = Clock::now();
  std::uint64_t held = 0;
  job.items.reserve(names_.size());
  for (const auto& [name, item] : names_.items()) {
    data::Item next{entry_of(name, item, job.taken_at_ms, now)};
    if (names_.was_written(item.tensor.storage().get())) files_.erase(item.version);
    if (const auto known = files_.find(item.version); known != files_.end()) {
      next.entry.file = known->second;
    } else {
      const Tensor tensor = item.tensor.tensor();
      next.buffer = tensor.storage->buffer;
      next.elements = {tensor.data(), static_cast<std::size_t>(byte_count(tensor.type))};
      held += Memory::capacity_of(next.buffer->bytes());
      job.writes_files = true;
    }
    job.items.push_back(std::move(next));
  }
  names_.forget_writes();
  held_bytes_ = held;
  return job;
}

void Checkpoints::answer(const std::vector<Done>& done, const Outcome& outcome) {
  for (const Done& one : done) one(outcome);
}

void Checkpoints::work() {
  ::pthread_setname_np(::pthread_self(), "checkpoint");
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || job_; });
    if (!job_) return;
    Job job = *std::move(job_);
    job_.reset();
    lock.unlock();
    carry_out(std::move(job));
    lock.lock();
  }
}

void Checkpoints::carry_out(Job job) {
  const auto start = Clock::now();
  Result<data::Saved> saved;
  try {
    saved = folder_->save(job.items, job.mark.change, job.taken_at_ms,
                          [&](std::size_t bytes) { held_bytes_ -= Memory::capacity_of(bytes); });
  } catch (const std::bad_alloc&) {
    saved = with_last_memory([] { return tl::make_unexpected(no_memory()); });
  }
  job.items.clear();
  held_bytes_ = 0;
  const auto taken = Clock::now() - start;
  const Outcome outcome = with_last_memory([&]() -> Outcome {
    if (saved) return note_success(*saved, job.mark, taken);
    note_failure(saved.error());
    return tl::make_unexpected(saved.error());
  });
  End end{job.mark, {}, outcome.has_value()};
  if (saved) end.manifest.emplace(std::move(saved->manifest));
  {
    const std::lock_guard lock(mutex_);
    end_.emplace(std::move(end));
  }
  answer(job.done, outcome);
  look_at_(Clock::now());
}

/// An error if the checkpoint lacks a name.
Checkpoints::Outcome Checkpoints::note_success(const data::Saved& saved, Mark mark,
                                               Clock::duration taken) {
  wire::CheckpointInfo info = described(saved.manifest);
  info.bytes = saved.bytes;
  info.duration_ms = static_cast<std::uint64_t>(duration_cast<milliseconds>(taken).count());
  {
    const std::lock_guard lock(mutex_);
    status_ = info;
    if (saved.left_out.empty()) durable_ = mark;
  }
  if (saved.left_out.empty()) {
    options_.log(false, "checkpoint " + std::to_string(info.number) + ": " +
                            std::to_string(info.names) + " names, " + std::to_string(info.bytes) +
                            " bytes in " + std::to_string(info.duration_ms) + " ms");
    return info;
  }
  std::string text = "checkpoint " + std::to_string(info.number) + " has all names but";
  for (const std::string& name : saved.left_out) text += " " + name + ";";
  text.pop_back();
  note_failure({ErrorCode::io_error, text});
  return fail(ErrorCode::io_error, std::move(text));
}

void Checkpoints::note_marks(Mark current, std::optional<Mark> durable) {
  const std::lock_guard lock(mutex_);
  current_ = current;
  if (durable) durable_ = *durable;
}

void Checkpoints::note_failure(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    status_.error = error.text;
  }
  options_.log(true, "the checkpoint failed: " + error.text);
}

wire::CheckpointInfo Checkpoints::describe() const {
  const std::lock_guard lock(mutex_);
  wire::CheckpointInfo out = status_;
  out.changed = current_ != durable_;
  return out;
}

}  // namespace outrigger::engine
