// Requests of operators: what the sessions do, what was slow, and how to end it.

#include <future>
#include <numeric>

#include "engine/session/queued_session.hpp"
#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using std::chrono::seconds;

Program bytes(std::int64_t count) { return {{}, {iota(0, "u8", {count})}, {0}}; }
Program sum_of(std::int64_t count) {
  return {{},
          {iota(0, "f32", {count}), op("add", {v(0), number(1)}, 1), op("add", {v(1), v(1)}, 2),
           op("sum", {v(2)}, 3)},
          {3}};
}

SessionOptions numbered(std::uint64_t session) {
  SessionOptions options;
  options.number = session;
  options.token = "app";
  options.transport = "tcp";
  options.peer = "127.0.0.1:1";
  return options;
}

class AdministrationTest : public SessionTestBase {
 protected:
  explicit AdministrationTest(std::chrono::microseconds slow = seconds(1)) {
    EngineOptions options;
    options.threads = 2;
    options.slow = slow;
    engine_ = make_engine(options);
  }

  static bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(Milliseconds(1));
    return condition();
  }
  std::uint64_t sum_of_buckets(std::string_view kind) {
    for (const wire::KindStats& stats : engine_->stats().kinds) {
      if (stats.kind == kind)
        return std::accumulate(stats.buckets.begin(), stats.buckets.end(), std::uint64_t{0});
    }
    return 0;
  }
  /// Starts a program of about a minute, and waits until it runs.
  std::uint64_t run_endless(Caller& caller, std::uint64_t session) {
    const std::uint64_t id = caller.run_later(endless(), {}, {1000});
    EXPECT_TRUE(eventually([&] { return running(session).has_value(); }));
    return id;
  }
  std::optional<wire::RunningInfo> running(std::uint64_t session) {
    return engine_->watch().find(session)->look().running;
  }
};

TEST_F(AdministrationTest, StatsCountRequestsErrorsAndOps) {
  Caller app(engine_, true, numbered(1));
  ASSERT_TRUE(app.run(sum_of(10), {}, {1}).ok());
  ASSERT_TRUE(app.run(sum_of(1'000'000), {}, {2}).ok()) << "on the engine's thread";
  ASSERT_TRUE(app.ask(wire::Prepare{1, sum_of(10)}).ok());
  ASSERT_TRUE(app.ask(wire::Run{{}, 1, {}, {3}, false, {}}).ok());
  ASSERT_FALSE(app.ask(wire::Run{{}, 7, {}, {4}, false, {}}).ok());
  app.ask(wire::Ping{});
  app.session->refuse({100, {ErrorCode::forbidden, "no"}});
  const Reply stats = app.ask(wire::Stats{});
  ASSERT_TRUE(stats.ok()) << stats.text();
  EXPECT_EQ(stats.numbers.at("kinds.run.count"), 2U);
  EXPECT_EQ(stats.numbers.at("kinds.run.errors"), 0U);
  EXPECT_EQ(stats.numbers.at("kinds.call.count"), 2U);
  EXPECT_EQ(stats.numbers.at("kinds.call.errors"), 1U);
  EXPECT_EQ(stats.numbers.at("kinds.ping.count"), 1U);
  EXPECT_EQ(stats.numbers.at("kinds.refused.errors"), 1U);
  EXPECT_EQ(stats.numbers.at("ops.add"), 6U);
  EXPECT_EQ(stats.numbers.at("ops.sum"), 3U);
  EXPECT_FALSE(stats.numbers.contains("ops.sort"));
  EXPECT_EQ(stats.numbers.at("sessions"), 1U);
  EXPECT_GT(stats.numbers.at("engine_us"), 0U);
  EXPECT_EQ(sum_of_buckets("run"), 2U);
  EXPECT_EQ(sum_of_buckets("ping"), 0U) << "it is answered at once";
}

TEST_F(AdministrationTest, OpsOfCalledProgramsAndRegionsCount) {
  Caller app(engine_, true, numbered(1));
  ASSERT_TRUE(app.ask(wire::Prepare{1, Program{{}, {iota(0, "s32", {4})}, {0}}}).ok());
  Instruction call = op("call", {}, 0);
  call.attrs = {{"program_id", Number(std::int64_t{1})}};
  ASSERT_TRUE(app.run({{}, {call}, {0}}, {}, {1}).ok());
  const Reply stats = app.ask(wire::Stats{});
  EXPECT_EQ(stats.numbers.at("ops.iota"), 1U);
  EXPECT_EQ(stats.numbers.at("ops.call"), 1U);
}

TEST_F(AdministrationTest, SessionsTellWhatTheyHaveAndDo) {
  Caller app(engine_, true, numbered(5));
  Caller admin(engine_, true, numbered(8));
  ASSERT_TRUE(app.run(bytes(1000), {}, {1}).ok());
  ASSERT_TRUE(app.upload(2, "u4", {3}, std::vector<std::uint8_t>{0x12, 0x30}).ok());
  const std::uint64_t busy = run_endless(app, 5);
  app.run_later(bytes(1), {}, {3});
  const Reply seen = admin.ask(wire::ListSessions{0, 1000});
  ASSERT_TRUE(seen.ok()) << seen.text();
  const auto number = [&](const std::string& key) { return seen.numbers.at("sessions." + key); };
  EXPECT_EQ(number("5.tensors"), 2U);
  EXPECT_EQ(number("5.bytes"), 1002U);
  EXPECT_EQ(number("5.requests"), 5U);
  EXPECT_EQ(number("5.queue"), 1U);
  EXPECT_EQ(number("5.running.request"), busy);
  EXPECT_EQ(seen.strings.at("sessions.5.running.kind"), "run");
  EXPECT_EQ(seen.strings.at("sessions.5.peer"), "127.0.0.1:1");
  EXPECT_EQ(seen.strings.at("sessions.5.token"), "app");
  EXPECT_FALSE(seen.numbers.contains("sessions.8.running.request"));
  EXPECT_FALSE(seen.flags.at("more"));
  const Reply first = admin.ask(wire::ListSessions{0, 1});
  EXPECT_TRUE(first.flags.at("more"));
  EXPECT_TRUE(first.numbers.contains("sessions.5.queue"));
  EXPECT_FALSE(first.numbers.contains("sessions.8.queue"));
  EXPECT_TRUE(admin.ask(wire::ListSessions{5, 1}).numbers.contains("sessions.8.queue"));
  EXPECT_TRUE(admin.ask(wire::Cancel{busy, 5}).flags.at("found"));
  EXPECT_EQ(app.outbox->wait(busy).status, "cancelled");
  ASSERT_TRUE(app.ask(wire::Release{{1, 2, 3}}).ok());
  EXPECT_EQ(admin.ask(wire::ListSessions{0, 1000}).numbers.at("sessions.5.bytes"), 0U);
  app.close();
  EXPECT_FALSE(admin.ask(wire::ListSessions{0, 1000}).numbers.contains("sessions.5.queue"));
}

TEST_F(AdministrationTest, CancelOfWhatIsNotThere) {
  Caller app(engine_, true, numbered(5));
  Caller admin(engine_, true, numbered(8));
  const std::uint64_t busy = run_endless(app, 5);
  EXPECT_FALSE(admin.ask(wire::Cancel{busy + 1, 5}).flags.at("found")) << "no such request";
  EXPECT_FALSE(admin.ask(wire::Cancel{busy, 6}).flags.at("found")) << "no such session";
  EXPECT_FALSE(admin.ask(wire::Cancel{busy}).flags.at("found")) << "the own session";
  EXPECT_TRUE(running(5).has_value());
  EXPECT_TRUE(app.ask(wire::Cancel{busy, 5}).flags.at("found")) << "the own session by its number";
  EXPECT_EQ(app.outbox->wait(busy).status, "cancelled");
}

TEST_F(AdministrationTest, KickEndsAnotherConnection) {
  std::vector<std::string> ended;
  SessionOptions options = numbered(5);
  options.end = [&](const Error& error) { ended.emplace_back(name_of(error.code)); };
  Caller app(engine_, true, options);
  Caller admin(engine_, true, numbered(8));
  EXPECT_EQ(admin.ask(wire::Kick{8}).code(), "bad_request") << "oneself";
  EXPECT_FALSE(admin.ask(wire::Kick{6}).flags.at("found"));
  EXPECT_TRUE(ended.empty());
  EXPECT_TRUE(admin.ask(wire::Kick{5}).flags.at("found"));
  EXPECT_EQ(ended, std::vector<std::string>{"forbidden"});
  EXPECT_EQ(admin.ask(wire::Stats{}).numbers.at("kicked"), 1U);
  app.close();
  EXPECT_FALSE(admin.ask(wire::Kick{5}).flags.at("found"));
}

class EverythingIsSlow : public AdministrationTest {
 protected:
  EverythingIsSlow() : AdministrationTest(std::chrono::microseconds(0)) {}
};

TEST_F(EverythingIsSlow, TheLogHasTheLastRequestsTheNewestFirst) {
  Caller app(engine_, true, numbered(5));
  ASSERT_TRUE(app.run(sum_of(10), {}, {1}).ok());
  ASSERT_FALSE(app.ask(wire::Download{9, 0, 1}).ok());
  const Reply log = app.ask(wire::SlowLog{2});
  ASSERT_TRUE(log.ok()) << log.text();
  EXPECT_EQ(log.numbers.at("slow_us"), 0U);
  EXPECT_EQ(log.strings.at("entries.0.kind"), "download");
  EXPECT_EQ(log.strings.at("entries.0.code"), "bad_handle");
  EXPECT_EQ(log.numbers.at("entries.0.number"), 2U);
  EXPECT_EQ(log.strings.at("entries.1.kind"), "run");
  EXPECT_FALSE(log.strings.contains("entries.1.code"));
  EXPECT_EQ(log.numbers.at("entries.1.ops.add"), 2U);
  EXPECT_EQ(log.numbers.at("entries.1.session"), 5U);
  EXPECT_GT(log.numbers.at("entries.1.at_ms"), 1'700'000'000'000U);
  for (int i = 0; i < 200; ++i) app.ask(wire::Release{{1}});
  EXPECT_EQ(app.ask(wire::Stats{}).numbers.at("slow"), 202U);
  const Reply full = app.ask(wire::SlowLog{1000});
  EXPECT_EQ(full.numbers.at("entries.0.number"), 202U);
  EXPECT_EQ(full.numbers.at("entries.127.number"), 75U);
  EXPECT_FALSE(full.numbers.contains("entries.128.number"));
}

TEST_F(AdministrationTest, QuickRequestsAreNotInTheSlowLog) {
  Caller app(engine_, true, numbered(5));
  ASSERT_TRUE(app.run(sum_of(10), {}, {1}).ok());
  const Reply log = app.ask(wire::SlowLog{10});
  EXPECT_EQ(log.numbers.at("slow_us"), 1'000'000U);
  EXPECT_FALSE(log.numbers.contains("entries.0.number"));
}

std::vector<Reply> events_of(Caller& caller) {
  std::vector<Reply> out;
  for (Reply& reply : caller.outbox->all()) {
    if (reply.id == 0) out.push_back(std::move(reply));
  }
  return out;
}

TEST_F(AdministrationTest, AMonitorIsToldOfOthersRequests) {
  Caller app(engine_, true, numbered(5));
  Caller watcher(engine_, true, numbered(8));
  ASSERT_TRUE(app.run(bytes(10), {}, {1}).ok());
  ASSERT_TRUE(watcher.ask(wire::Monitor{true}).ok());
  ASSERT_TRUE(watcher.ask(wire::Monitor{true}).ok()) << "a second one changes nothing";
  ASSERT_TRUE(app.run(bytes(10), {}, {2}).ok());
  ASSERT_FALSE(app.run(bytes(10), {}, {2}).ok());
  ASSERT_TRUE(watcher.run(bytes(10), {}, {1}).ok()) << "the own requests are not told";
  auto events = events_of(watcher);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].strings.at("event"), "request");
  EXPECT_EQ(events[0].strings.at("kind"), "run");
  EXPECT_EQ(events[0].numbers.at("session"), 5U);
  EXPECT_EQ(events[0].strings.at("token"), "app");
  EXPECT_EQ(events[0].numbers.at("dropped"), 0U);
  EXPECT_FALSE(events[0].strings.contains("code"));
  EXPECT_EQ(events[1].strings.at("code"), "handle_in_use");
  EXPECT_EQ(engine_->stats().monitors, 1U);
  ASSERT_TRUE(watcher.ask(wire::Monitor{false}).ok());
  ASSERT_TRUE(app.run(bytes(10), {}, {3}).ok());
  EXPECT_EQ(events_of(watcher).size(), 2U);
  ASSERT_TRUE(watcher.ask(wire::Monitor{true}).ok());
  watcher.close();
  EXPECT_EQ(engine_->stats().monitors, 0U);
  ASSERT_TRUE(app.run(bytes(10), {}, {4}).ok());
}

TEST_F(AdministrationTest, ASlowMonitorMissesEventsAndLearnsHowMany) {
  Caller app(engine_, true, numbered(5));
  Caller watcher(engine_, true, numbered(8));
  ASSERT_TRUE(watcher.ask(wire::Monitor{true}).ok());
  ASSERT_TRUE(app.run(bytes(10), {}, {1}).ok());
  watcher.outbox->waiting = std::uint64_t{2} << 20;
  for (int i = 0; i < 50; ++i) app.ask(wire::Release{{99}});
  EXPECT_EQ(events_of(watcher).size(), 1U);
  EXPECT_EQ(engine_->stats().monitor_dropped, 50U);
  watcher.outbox->waiting = 0;
  ASSERT_TRUE(app.run(bytes(10), {}, {2}).ok());
  ASSERT_TRUE(app.run(bytes(10), {}, {3}).ok());
  const auto events = events_of(watcher);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[1].numbers.at("dropped"), 50U);
  EXPECT_EQ(events[2].numbers.at("dropped"), 0U);
}

/// The outcome of a probe; internal if it does not come.
Result<Probe::Health> probed(Probe& probe, Milliseconds deadline) {
  auto promise = std::make_shared<std::promise<Result<Probe::Health>>>();
  auto outcome = promise->get_future();
  probe.start(deadline, [promise](const auto& result) { promise->set_value(result); });
  if (outcome.wait_for(seconds(60)) != std::future_status::ready)
    return fail(ErrorCode::internal, "no outcome");
  return outcome.get();
}

TEST_F(AdministrationTest, AProbeSeesThatTheEngineWorks) {
  const auto probe = make_probe(engine_);
  for (int i = 0; i < 3; ++i) {
    const auto outcome = probed(*probe, seconds(10));
    ASSERT_TRUE(outcome) << outcome.error().text;
    EXPECT_EQ(*outcome, Probe::Health::good);
  }
  EXPECT_TRUE(engine_->stats().kinds.empty()) << "a probe is no client";
  EXPECT_EQ(engine_->stats().sessions, 0U);
}

TEST_F(AdministrationTest, AProbeComesInTheMiddleOfALongProgram) {
  Caller app(engine_, true, numbered(5));
  const std::uint64_t busy = run_endless(app, 5);
  const auto probe = make_probe(engine_);
  EXPECT_TRUE(probed(*probe, seconds(10)));
  EXPECT_TRUE(running(5).has_value());
  app.ask(wire::Cancel{busy});
}

TEST_F(AdministrationTest, AProbeTellsThatItWasTooLate) {
  const auto probe = make_probe(engine_);
  const auto outcome = probed(*probe, Milliseconds(0));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::deadline_exceeded);
  EXPECT_TRUE(probed(*probe, seconds(10))) << "the next one is good again";
}

class LittleMemory : public SessionTestBase {
 protected:
  LittleMemory() : SessionTestBase(std::uint64_t{1} << 20) {}
};

TEST_F(LittleMemory, AProbeTellsThatMemoryIsFull) {
  Caller app(engine_);
  std::uint64_t handle = 0;
  for (std::int64_t size = 1 << 19; size > 0; size /= 2) {
    while (app.run(bytes(size), {}, {++handle}).ok()) {
    }
    app.ask(wire::Release{{handle}});
  }
  const auto probe = make_probe(engine_);
  const auto outcome = probed(*probe, seconds(10));
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_EQ(*outcome, Probe::Health::no_memory);
}

}  // namespace
}  // namespace outrigger::engine::test
