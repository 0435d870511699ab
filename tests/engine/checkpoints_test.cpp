// Published tensors in a data folder: checkpoints beside the work of sessions, and a start after
// one.

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <string>
#include <system_error>

#include "data/disk.hpp"
#include "engine/session_support.hpp"
#include "files/support.hpp"

namespace outrigger::engine::test {
namespace {

using Floats = std::vector<float>;
using std::chrono::seconds;

/// The disk waits before it syncs a file, and may fail.
class GatedDisk : public data::Disk {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = true;
    int waiting = 0;
    int error = 0;
    int files = 0;

    void set(bool now_open, int now_error = 0) {
      const std::lock_guard lock(mutex);
      open = now_open;
      error = now_error;
      changed.notify_all();
    }
    bool has_writer(Milliseconds patience = seconds(20)) {
      std::unique_lock lock(mutex);
      return changed.wait_for(lock, patience, [&] { return waiting > 0; });
    }
    int created() {
      const std::lock_guard lock(mutex);
      return files;
    }
  };
  explicit GatedDisk(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}

  Result<int> create(const std::string& path) override {
    {
      const std::lock_guard lock(gate_->mutex);
      ++gate_->files;
    }
    return Disk::create(path);
  }
  Result<void> sync(int fd, const std::string& path) override {
    std::unique_lock lock(gate_->mutex);
    ++gate_->waiting;
    gate_->changed.notify_all();
    gate_->changed.wait(lock, [&] { return gate_->open; });
    --gate_->waiting;
    if (gate_->error != 0)
      return fail(ErrorCode::io_error, std::system_category().message(gate_->error));
    return Disk::sync(fd, path);
  }

 private:
  std::shared_ptr<Gate> gate_;
};

class CheckpointsTest : public ::testing::Test {
 protected:
  /// The life of a server.
  struct Life {
    explicit Life(std::uint64_t limit = 0) : engine(make_engine(EngineOptions{2, limit, {}})) {}
    ~Life() {
      if (gate) gate->set(true);
      callers.clear();
      while (engine.use_count() > 1) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    Caller& caller() {
      callers.push_back(std::make_unique<Caller>(engine));
      return *callers.back();
    }
    std::shared_ptr<Engine> engine;
    std::shared_ptr<GatedDisk::Gate> gate;
    std::vector<std::unique_ptr<Caller>> callers;
  };

  DataOptions options(Milliseconds interval = Milliseconds(0)) {
    DataOptions out;
    out.folder = temporary_.path("data");
    out.interval = interval;
    out.log = [this](bool is_error, const std::string& text) {
      const std::lock_guard lock(log_mutex_);
      log_.push_back((is_error ? "error: " : "info: ") + text);
    };
    return out;
  }
  std::unique_ptr<Life> live(Milliseconds interval = Milliseconds(0), std::uint64_t limit = 0) {
    auto life = std::make_unique<Life>(limit);
    const auto kept =
        life->engine->keep_data(options(interval), std::make_unique<GatedDisk>(gate_));
    EXPECT_TRUE(kept) << kept.error().text;
    life->gate = gate_;
    return life;
  }
  bool logged(const std::string& text) {
    const std::lock_guard lock(log_mutex_);
    return std::any_of(log_.begin(), log_.end(), [&](const std::string& line) {
      return line.find(text) != std::string::npos;
    });
  }

  static void upload(Caller& caller, std::uint64_t handle, const Floats& data) {
    const auto size = static_cast<std::int64_t>(data.size());
    ASSERT_TRUE(caller.upload(handle, "f32", {size}, data).ok());
  }
  static std::uint64_t publish(Caller& caller, const std::string& name, const Floats& data,
                               std::optional<std::uint64_t> ttl_ms = {}) {
    const std::uint64_t handle = 1'000'000 + caller.next_id;
    upload(caller, handle, data);
    const Reply reply = caller.ask(wire::Publish{handle, name, {}, ttl_ms});
    EXPECT_TRUE(reply.ok()) << reply.text();
    EXPECT_TRUE(caller.ask(wire::Release{{handle}}).ok());
    return reply.numbers.at("version");
  }
  static Floats floats(Caller& caller, const std::string& name, std::size_t count) {
    const std::uint64_t handle = 2'000'000 + caller.next_id;
    const Reply opened = caller.ask(wire::Open{handle, name});
    EXPECT_TRUE(opened.ok()) << opened.text();
    Floats out = caller.download<float>(handle, count);
    caller.ask(wire::Release{{handle}});
    return out;
  }
  static Reply checkpoint(Caller& caller) { return caller.ask(wire::Checkpoint{}); }
  static std::vector<std::string> names(Caller& caller) {
    std::vector<std::string> out;
    for (const Reply::Name& name : caller.ask(wire::ListNames{}).names) out.push_back(name.name);
    return out;
  }
  static bool eventually(const std::function<bool()>& holds, Milliseconds patience = seconds(20)) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(Milliseconds(1));
    }
    return true;
  }

  const files::testing::Folder temporary_;
  const std::shared_ptr<GatedDisk::Gate> gate_ = std::make_shared<GatedDisk::Gate>();
  std::mutex log_mutex_;
  std::vector<std::string> log_;
};

TEST_F(CheckpointsTest, PublishedTensorsAreThereAfterARestart) {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  {
    auto life = live();
    Caller& a = life->caller();
    first = publish(a, "a", {1, 2, 3});
    second = publish(a, "b", {4});
    const Reply reply = checkpoint(a);
    ASSERT_TRUE(reply.ok()) << reply.text();
    EXPECT_EQ(reply.numbers.at("checkpoint.number"), 1U);
    EXPECT_EQ(reply.numbers.at("checkpoint.names"), 2U);
    EXPECT_GT(reply.numbers.at("checkpoint.bytes"), 16U);
    EXPECT_GT(reply.numbers.at("checkpoint.taken_at_ms"), 1'700'000'000'000U);
    EXPECT_FALSE(reply.flags.at("checkpoint.changed"));
    publish(a, "lost", {5});
  }
  auto life = live();
  Caller& a = life->caller();
  EXPECT_EQ(names(a), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(floats(a, "a", 3), (Floats{1, 2, 3}));
  const auto listed = a.ask(wire::ListNames{}).names;
  EXPECT_EQ(listed.at(0).version, first);
  EXPECT_EQ(listed.at(1).version, second);
  // "lost" had a version above those, which no other tensor gets.
  EXPECT_GT(publish(a, "c", {6}), second + 1000);
  EXPECT_TRUE(logged("loaded 2 tensors"));
}

TEST_F(CheckpointsTest, ASubscriberHearsOfRestoredNames) {
  {
    auto life = live();
    publish(life->caller(), "a", {1});
    ASSERT_TRUE(checkpoint(life->caller()).ok());
  }
  auto life = live();
  Caller& a = life->caller();
  ASSERT_TRUE(a.ask(wire::Subscribe{1, "", true}).ok());
  ASSERT_TRUE(eventually([&] {
    const auto all = a.outbox->all();
    return std::any_of(all.begin(), all.end(), [](const Reply& reply) {
      return reply.id == 0 && reply.strings.at("name") == "a";
    });
  }));
}

TEST_F(CheckpointsTest, TheMemoryOfRestoredTensorsCounts) {
  {
    auto life = live();
    publish(life->caller(), "large", Floats(MiB, 1));
    ASSERT_TRUE(checkpoint(life->caller()).ok());
  }
  EXPECT_GE(live()->engine->memory().used(), 4 * MiB);
  Life small(2 * MiB);
  const auto kept = small.engine->keep_data(options());
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::out_of_memory);
}

TEST_F(CheckpointsTest, WithoutAFolderTheRequestIsRefused) {
  Life life;
  const Reply reply = checkpoint(life.caller());
  EXPECT_EQ(reply.code(), "bad_request");
  EXPECT_NE(reply.text().find("--data"), std::string::npos) << reply.text();
  std::promise<bool> called;
  engine::checkpoint(life.engine, [&](const Result<void>& done) { called.set_value(!!done); });
  EXPECT_TRUE(called.get_future().get());
}

TEST_F(CheckpointsTest, WithoutAChangeNothingIsWritten) {
  auto life = live();
  Caller& a = life->caller();
  const int before = gate_->created();
  ASSERT_TRUE(checkpoint(a).ok());
  EXPECT_EQ(gate_->created(), before) << "nothing was published";
  publish(a, "a", {1});
  publish(a, "b", {2});
  const Reply first = checkpoint(a);
  EXPECT_EQ(gate_->created(), before + 3) << "two tensors and a manifest";
  const Reply second = checkpoint(a);
  EXPECT_EQ(gate_->created(), before + 3);
  EXPECT_EQ(second.numbers, first.numbers);
  publish(a, "c", {3});
  ASSERT_TRUE(checkpoint(a).ok());
  EXPECT_EQ(gate_->created(), before + 5) << "one tensor and a manifest";
  ASSERT_TRUE(a.ask(wire::Unpublish{"c"}).ok());
  ASSERT_TRUE(checkpoint(a).ok());
  EXPECT_EQ(gate_->created(), before + 6) << "a manifest";
}

TEST_F(CheckpointsTest, ALiveTensorIsWrittenAgainAfterAWrite) {
  {
    auto life = live();
    Caller& a = life->caller();
    publish(a, "live", {1, 2});
    publish(a, "other", {7});
    ASSERT_TRUE(a.ask(wire::Open{1, "live", {}, true}).ok());
    ASSERT_TRUE(checkpoint(a).ok());
    ASSERT_TRUE(a.run(add_in_place(10), {1}, {}).ok());
    EXPECT_TRUE(a.ask(wire::Info{}).flags.at("checkpoint.changed"));
    const int before = gate_->created();
    ASSERT_TRUE(checkpoint(a).ok());
    EXPECT_EQ(gate_->created(), before + 2) << "the tensor and the manifest";
    EXPECT_FALSE(a.ask(wire::Info{}).flags.at("checkpoint.changed"));
    // Through a mutable view, too.
    const Program view{
        {0}, {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{1}}}))}, {1}};
    ASSERT_TRUE(a.run(view, {1}, {2}).ok());
    ASSERT_TRUE(a.run(add_in_place(100), {2}, {}).ok());
    ASSERT_TRUE(checkpoint(a).ok());
  }
  EXPECT_EQ(floats(live()->caller(), "live", 2), (Floats{11, 112}));
}

TEST_F(CheckpointsTest, WorkGoesOnWhileACheckpointIsWritten) {
  auto life = live();
  Caller& a = life->caller();
  Caller& b = life->caller();
  publish(a, "live", {1, 2});
  ASSERT_TRUE(b.ask(wire::Open{1, "live", {}, true}).ok());
  gate_->set(false);
  const std::uint64_t id = a.later(wire::Checkpoint{});
  ASSERT_TRUE(gate_->has_writer());
  // Also in the session that waits for the checkpoint.
  ASSERT_TRUE(b.run(add_in_place(10), {1}, {}).ok());
  ASSERT_TRUE(a.ask(wire::Open{1, "live"}).ok());
  EXPECT_EQ(a.download<float>(1, 2), (Floats{11, 12}));
  publish(a, "later", {5});
  ASSERT_TRUE(b.ask(wire::Unpublish{"live"}).ok());
  EXPECT_EQ(a.outbox->wait(id, Milliseconds(20)).status, "none") << "it is not durable yet";
  gate_->set(true);
  ASSERT_TRUE(a.outbox->wait(id).ok());
  life.reset();
  life = live();
  Caller& c = life->caller();
  EXPECT_EQ(names(c), (std::vector<std::string>{"live"})) << "as it was when it was asked for";
  EXPECT_EQ(floats(c, "live", 2), (Floats{1, 2}));
}

TEST_F(CheckpointsTest, ARequestDuringACheckpointGetsALaterOne) {
  auto life = live();
  Caller& a = life->caller();
  Caller& b = life->caller();
  publish(a, "a", {1});
  gate_->set(false);
  const std::uint64_t first = a.later(wire::Checkpoint{});
  ASSERT_TRUE(gate_->has_writer());
  publish(b, "b", {2});
  const std::uint64_t second = b.later(wire::Checkpoint{});
  const std::uint64_t third = a.later(wire::Checkpoint{});
  gate_->set(true);
  EXPECT_EQ(a.outbox->wait(first).numbers.at("checkpoint.names"), 1U);
  EXPECT_EQ(b.outbox->wait(second).numbers.at("checkpoint.names"), 2U);
  EXPECT_EQ(a.outbox->wait(third).numbers.at("checkpoint.number"), 2U) << "one for both";
}

TEST_F(CheckpointsTest, ASessionMayEndBeforeItsCheckpoint) {
  auto life = live();
  publish(life->caller(), "a", {1});
  gate_->set(false);
  Caller& b = life->caller();
  b.later(wire::Checkpoint{});
  ASSERT_TRUE(gate_->has_writer());
  EXPECT_EQ(b.session->pending_requests(), 1U);
  b.close();
  gate_->set(true);
  Caller& c = life->caller();
  EXPECT_TRUE(eventually([&] { return !c.ask(wire::Info{}).flags.at("checkpoint.changed"); }));
}

TEST_F(CheckpointsTest, CheckpointsComeByThemselvesAfterAChange) {
  auto life = live(Milliseconds(30));
  Caller& a = life->caller();
  publish(a, "a", {1});
  const auto taken = [&](std::uint64_t number) {
    return eventually(
        [&] { return a.ask(wire::Info{}).numbers.at("checkpoint.number") == number; });
  };
  EXPECT_TRUE(taken(1));
  ASSERT_TRUE(a.ask(wire::Open{1, "a", {}, true}).ok());
  ASSERT_TRUE(a.run(add_in_place(1), {1}, {}).ok());
  EXPECT_TRUE(taken(2));
  std::this_thread::sleep_for(Milliseconds(200));
  EXPECT_EQ(a.ask(wire::Info{}).numbers.at("checkpoint.number"), 2U) << "nothing has changed";
}

TEST_F(CheckpointsTest, CheckpointsComeUnderLoadToo) {
  auto life = live(Milliseconds(10));
  Caller& a = life->caller();
  Caller& b = life->caller();
  std::atomic<bool> done{false};
  // The engine always has the next request of this session.
  std::thread load([&] {
    std::deque<std::uint64_t> under_way;
    const Program work{{}, {iota(0, "f32", {1 << 18}), op("sum", {v(0)}, 1)}, {1}};
    while (!done) {
      under_way.push_back(b.run_later(work, {}, {b.next_id}));
      if (under_way.size() < 50) continue;
      EXPECT_TRUE(b.outbox->wait(under_way.front()).ok());
      under_way.pop_front();
    }
  });
  for (std::uint64_t number = 1; number <= 5; ++number) {
    publish(a, "a", {static_cast<float>(number)});
    EXPECT_TRUE(
        eventually([&] { return a.ask(wire::Info{}).numbers.at("checkpoint.number") >= number; }));
  }
  done = true;
  load.join();
}

TEST_F(CheckpointsTest, AFailureIsToldAndTriedAgain) {
  auto life = live(Milliseconds(30));
  Caller& a = life->caller();
  publish(a, "a", {1});
  ASSERT_TRUE(checkpoint(a).ok());
  gate_->set(true, ENOSPC);
  publish(a, "b", {2});
  const Reply failed = checkpoint(a);
  EXPECT_EQ(failed.code(), "io_error");
  EXPECT_NE(failed.text().find("No space left on device"), std::string::npos) << failed.text();
  Reply info = a.ask(wire::Info{});
  EXPECT_NE(info.strings.at("checkpoint.error").find("No space left"), std::string::npos);
  EXPECT_EQ(info.numbers.at("checkpoint.number"), 1U) << "the last whole one";
  EXPECT_TRUE(info.flags.at("checkpoint.changed"));
  EXPECT_TRUE(logged("error: the checkpoint failed: No space left"));
  gate_->set(true);
  EXPECT_TRUE(eventually([&] {
    info = a.ask(wire::Info{});
    return info.numbers.at("checkpoint.number") > 1;
  }));
  EXPECT_FALSE(info.strings.contains("checkpoint.error"));
  EXPECT_EQ(info.numbers.at("checkpoint.names"), 2U);
  life.reset();
  EXPECT_EQ(floats(live()->caller(), "b", 1), (Floats{2}));
}

TEST_F(CheckpointsTest, AFailureForgetsNoWrite) {
  auto life = live();
  Caller& a = life->caller();
  publish(a, "live", {1});
  ASSERT_TRUE(a.ask(wire::Open{1, "live", {}, true}).ok());
  ASSERT_TRUE(checkpoint(a).ok());
  ASSERT_TRUE(a.run(add_in_place(10), {1}, {}).ok());
  gate_->set(true, EIO);
  EXPECT_EQ(checkpoint(a).code(), "io_error");
  gate_->set(true);
  ASSERT_TRUE(checkpoint(a).ok());
  life.reset();
  EXPECT_EQ(floats(live()->caller(), "live", 1), (Floats{11}));
}

TEST_F(CheckpointsTest, LifetimesGoOnAfterARestart) {
  {
    auto life = live();
    Caller& a = life->caller();
    publish(a, "short", {1}, 1500);
    publish(a, "long", {2}, 3'600'000);
    ASSERT_TRUE(checkpoint(a).ok());
  }
  std::this_thread::sleep_for(Milliseconds(1600));
  const auto life = live();
  Caller& a = life->caller();
  EXPECT_EQ(names(a), (std::vector<std::string>{"long"}));
  const auto left = a.ask(wire::ListNames{}).names.at(0).ttl_ms;
  ASSERT_TRUE(left);
  EXPECT_LE(*left, 3'600'000U - 1600U);
  EXPECT_GT(*left, 3'000'000U);
  EXPECT_TRUE(a.ask(wire::Info{}).flags.at("checkpoint.changed")) << "the next one lacks \"short\"";
  ASSERT_TRUE(checkpoint(a).ok());
  EXPECT_EQ(a.ask(wire::Info{}).numbers.at("checkpoint.names"), 1U);
}

/// A write into a tensor that a checkpoint holds needs a copy. Without memory for it, it waits.
class WaitingWriteTest : public CheckpointsTest {
 protected:
  WaitingWriteTest()
      : life_(live(Milliseconds(0), 10 * MiB)), a(life_->caller()), b(life_->caller()) {
    publish(a, "live", Floats(3 * MiB / 2, 1));  // 6 MiB
    EXPECT_TRUE(b.ask(wire::Open{1, "live", {}, true}).ok());
    gate_->set(false);
    checkpoint_ = a.later(wire::Checkpoint{});
    EXPECT_TRUE(gate_->has_writer());
  }
  ~WaitingWriteTest() override { gate_->set(true); }
  float first(Caller& caller) { return caller.download<float>(1, 1).at(0); }

  std::unique_ptr<Life> life_;
  Caller& a;
  Caller& b;
  std::uint64_t checkpoint_ = 0;
};

TEST_F(WaitingWriteTest, UntilTheCheckpointHasTheTensor) {
  const std::uint64_t write = b.run_later(add_in_place(10), {1}, {});
  const std::uint64_t next = b.later(wire::Download{1, 0, 4});
  // Others go on.
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(a.ask(wire::ListNames{}).ok());
    std::this_thread::sleep_for(Milliseconds(5));
  }
  EXPECT_EQ(b.outbox->wait(write, Milliseconds(1)).status, "none");
  EXPECT_EQ(b.session->pending_requests(), 2U);
  gate_->set(true);
  EXPECT_TRUE(b.outbox->wait(write).ok()) << b.outbox->wait(write).text();
  float read = 0;
  std::memcpy(&read, b.outbox->wait(next).data.data(), sizeof read);
  EXPECT_EQ(read, 11) << "in the order of the session";
  ASSERT_TRUE(a.outbox->wait(checkpoint_).ok());
}

TEST_F(WaitingWriteTest, UntilItIsCancelled) {
  const std::uint64_t write = b.run_later(add_in_place(10), {1}, {});
  ASSERT_TRUE(b.ask(wire::Cancel{write}).flags.at("found"));
  EXPECT_EQ(b.outbox->wait(write, seconds(20)).status, "cancelled");
  EXPECT_EQ(first(b), 1);
}

TEST_F(WaitingWriteTest, UntilItsDeadline) {
  const std::uint64_t write = b.run_later(add_in_place(10), {1}, {}, 30);
  EXPECT_EQ(b.outbox->wait(write, seconds(20)).status, "deadline_exceeded");
  EXPECT_EQ(first(b), 1);
}

TEST_F(WaitingWriteTest, UntilItsSessionEnds) {
  b.run_later(add_in_place(10), {1}, {});
  b.close();
  EXPECT_TRUE(a.ask(wire::ListNames{}).ok());
  gate_->set(true);
  ASSERT_TRUE(a.outbox->wait(checkpoint_).ok());
}

TEST_F(WaitingWriteTest, NotIfTheMemoryIsTooSmallInAnyCase) {
  const Program large{{}, {iota(0, "f32", {100 << 20})}, {0}};
  EXPECT_EQ(b.run(large, {}, {7}).code(), "out_of_memory");
  EXPECT_EQ(a.outbox->wait(checkpoint_, Milliseconds(1)).status, "none");
}

TEST_F(CheckpointsTest, TheEndOfTheServerKeepsWhatHasChanged) {
  {
    auto life = live();
    publish(life->caller(), "a", {1});
    std::promise<bool> done;
    engine::checkpoint(life->engine, [&](const Result<void>& end) { done.set_value(!!end); });
    EXPECT_TRUE(done.get_future().get());
    gate_->set(true, EROFS);
    publish(life->caller(), "b", {2});
    std::promise<bool> failed;
    engine::checkpoint(life->engine, [&](const Result<void>& end) { failed.set_value(!!end); });
    EXPECT_FALSE(failed.get_future().get());
    gate_->set(true);
  }
  EXPECT_EQ(names(live()->caller()), (std::vector<std::string>{"a"}));
}

TEST_F(CheckpointsTest, ADamagedFolderIsRefused) {
  {
    auto life = live();
    publish(life->caller(), "a", {1});
    ASSERT_TRUE(checkpoint(life->caller()).ok());
  }
  std::filesystem::resize_file(temporary_.path("data") + "/1-1.tensor", 10);
  Life next;
  const auto kept = next.engine->keep_data(options());
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, ErrorCode::bad_file);
  EXPECT_NE(kept.error().text.find("1-1.tensor\" is damaged"), std::string::npos)
      << kept.error().text;
}

/// How often a thread of this process has gone to sleep so far.
std::map<std::string, long> sleeps() {
  std::map<std::string, long> out;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      const std::string key = "voluntary_ctxt_switches:";
      if (line.starts_with(key)) out[name] += std::stol(line.substr(key.size()));
    }
  }
  return out;
}

TEST_F(CheckpointsTest, AnIdleServerHasNoTimer) {
  auto life = live(Milliseconds(50));
  Caller& a = life->caller();
  publish(a, "a", {1});
  ASSERT_TRUE(eventually([&] { return !a.ask(wire::Info{}).flags.at("checkpoint.changed"); }));
  // The pool is given back after a second.
  std::this_thread::sleep_for(Milliseconds(1500));
  const auto before = sleeps();
  ASSERT_TRUE(before.contains("engine") && before.contains("checkpoint"));
  std::this_thread::sleep_for(Milliseconds(1500));
  const auto after = sleeps();
  EXPECT_EQ(after.at("engine"), before.at("engine"));
  EXPECT_EQ(after.at("checkpoint"), before.at("checkpoint"));
}

}  // namespace
}  // namespace outrigger::engine::test
