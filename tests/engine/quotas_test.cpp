// Quotas: the sessions of one token have them together, and get back all that they gave.

#include <random>

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using std::chrono::seconds;
using Ints = std::vector<std::int32_t>;

SessionOptions of(const char* token, Quotas quotas = {}) {
  SessionOptions options;
  options.token = token;
  options.quotas = quotas;
  // As over a socket: `info` tells the tenants.
  options.connection = [] { return wire::ConnectionInfo{}; };
  return options;
}

class QuotasTest : public SessionTestBase {
 protected:
  explicit QuotasTest(std::uint64_t limit = 0) : SessionTestBase(limit) {}

  /// A figure of a token, as one of its sessions is told.
  static std::uint64_t figure(Caller& caller, const std::string& token, const std::string& key) {
    return caller.ask(wire::Info{}).numbers.at("tenants." + token + "." + key);
  }
  static bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(Milliseconds(1));
    return condition();
  }
  static void expect_quota(const Reply& reply, const std::string& quota, const std::string& value) {
    EXPECT_EQ(reply.code(), "quota_exceeded") << reply.text();
    for (const std::string& part : {std::string("token app"), "`" + quota + "`", value})
      EXPECT_NE(reply.text().find(part), std::string::npos) << part << ": " << reply.text();
  }
};

TEST_F(QuotasTest, BytesAreThoseOfAllSessionsOfTheToken) {
  const Quotas quotas{.bytes = 4 * MiB};
  Caller first(engine_, true, of("app", quotas));
  Caller second(engine_, true, of("app", quotas));
  Caller other(engine_, true, of("other"));
  ASSERT_TRUE(first.run(bytes(3 << 20), {}, {1}).ok());
  const Reply refused = second.run(bytes(2 << 20), {}, {1});
  EXPECT_EQ(refused.code(), "out_of_memory");
  for (const char* part : {"quota `bytes` of the token app", "4.0 MiB", "release"})
    EXPECT_NE(refused.text().find(part), std::string::npos) << refused.text();
  EXPECT_EQ(second.upload(2, "u8", {2 << 20}, std::vector<std::uint8_t>{1}).code(),
            "out_of_memory");
  EXPECT_TRUE(other.run(bytes(20 << 20), {}, {1}).ok());
  EXPECT_GE(figure(second, "app", "bytes"), 3 * MiB);
  EXPECT_LT(figure(second, "app", "bytes"), 4 * MiB);
  EXPECT_EQ(figure(second, "app", "quotas.bytes"), 4 * MiB);
  first.ask(wire::Release{{1}});
  second.ask(wire::Release{{1, 2}});
  EXPECT_TRUE(second.run(bytes(2 << 20), {}, {3}).ok());
}

TEST_F(QuotasTest, TemporariesCountBeforeTheProgramRuns) {
  Caller caller(engine_, true, of("app", {.bytes = 4 * MiB}));
  ASSERT_TRUE(caller.upload(1, "s32", {1}, Ints{7}).ok());
  // The sort needs more than the quota; the addition before it is not carried out.
  const Program program{{0},
                        {in_place(op("add", {v(0), number(1)}, 1)), iota(2, "s32", {1 << 20}),
                         op("argsort", {v(2)}, 3), op("sum", {v(3)}, 4)},
                        {4}};
  const Reply reply = caller.run(program, {1}, {2});
  EXPECT_EQ(reply.code(), "out_of_memory");
  EXPECT_TRUE(reply.error && reply.error->written.empty());
  EXPECT_EQ(caller.download<std::int32_t>(1, 1), Ints{7});
}

TEST_F(QuotasTest, HelloTellsTheLeastOfLimitAndQuota) {
  Caller caller(engine_, false,
                of("app", {.bytes = 4 * MiB, .handles = 100, .programs = 10, .sessions = 3}));
  const Reply hello = caller.ask(wire::Hello{1, "test"});
  EXPECT_EQ(hello.numbers.at("memory_limit"), 4 * MiB);
  EXPECT_EQ(hello.numbers.at("limits.handles_max"), 100U);
  EXPECT_EQ(hello.numbers.at("limits.programs_max"), 10U);
  Caller other(engine_, false, of("other", {.handles = std::uint64_t{1} << 40}));
  const Reply usual = other.ask(wire::Hello{1, "test"});
  EXPECT_EQ(usual.numbers.at("memory_limit"), 0U);
  EXPECT_EQ(usual.numbers.at("limits.handles_max"), Limits().handles_max);
}

TEST_F(QuotasTest, HandlesAreThoseOfAllSessionsOfTheToken) {
  const Quotas quotas{.handles = 5};
  Caller first(engine_, true, of("app", quotas));
  Caller second(engine_, true, of("app", quotas));
  const Program three{{}, {iota(0, "u8", {4})}, {0, 0, 0}};
  ASSERT_TRUE(first.run(three, {}, {1, 2, 3}).ok());
  expect_quota(second.run(three, {}, {1, 2, 3}), "handles", "5");
  EXPECT_EQ(figure(first, "app", "handles"), 3U);
  // An upload has its handle from its first chunk on.
  ASSERT_TRUE(second.upload(4, "u8", {2}, std::vector<std::uint8_t>{1}).ok());
  ASSERT_TRUE(second.upload(5, "u8", {2}, std::vector<std::uint8_t>{1}).ok());
  EXPECT_EQ(figure(first, "app", "handles"), 5U);
  expect_quota(first.upload(6, "u8", {1}, std::vector<std::uint8_t>{1}), "handles", "5");
  EXPECT_TRUE(second.upload(4, "u8", {2}, std::vector<std::uint8_t>{2}, 1).ok());
  EXPECT_EQ(figure(first, "app", "handles"), 5U);
  // A handle that could not be made is none of them, and tells the cause.
  EXPECT_EQ(first.ask(wire::Download{6, 0, 1}).code(), "failed_operand");
  first.ask(wire::Release{{1}});
  second.ask(wire::Release{{5}});
  EXPECT_EQ(figure(first, "app", "handles"), 3U);
  EXPECT_TRUE(second.run({{}, {iota(0, "u8", {4})}, {0, 0}}, {}, {7, 8}).ok());
  second.close();
  EXPECT_TRUE(eventually([&] { return figure(first, "app", "handles") == 2; }));
}

TEST_F(QuotasTest, ProgramsAreThoseOfAllSessionsOfTheToken) {
  const Quotas quotas{.programs = 3};
  Caller first(engine_, true, of("app", quotas));
  Caller second(engine_, true, of("app", quotas));
  ASSERT_TRUE(first.ask(wire::Prepare{1, add(1)}).ok());
  ASSERT_TRUE(first.ask(wire::Prepare{2, add(2)}).ok());
  ASSERT_TRUE(second.ask(wire::Prepare{1, add(3)}).ok());
  expect_quota(second.ask(wire::Prepare{2, add(4)}), "programs", "3");
  ASSERT_TRUE(second.upload(1, "s32", {1}, Ints{1}).ok());
  expect_quota(second.ask(wire::Run{{}, 2, {1}, {2}, false, {}}), "programs", "3");
  EXPECT_TRUE(second.ask(wire::Prepare{1, add(5)}).ok()) << "it replaces one";
  EXPECT_EQ(figure(first, "app", "programs"), 3U);
  first.ask(wire::Forget{2});
  EXPECT_TRUE(second.ask(wire::Prepare{2, add(4)}).ok());
  // A session alone evicts its own least recently used program, as at programs_max.
  Caller alone(engine_, true, of("alone", quotas));
  for (std::uint64_t id = 1; id <= 5; ++id) EXPECT_TRUE(alone.ask(wire::Prepare{id, add(1)}).ok());
  EXPECT_EQ(figure(alone, "alone", "programs"), 3U);
  first.close();
  EXPECT_TRUE(eventually([&] { return figure(second, "app", "programs") == 2; }));
}

TEST_F(QuotasTest, SessionsAreCountedUntilTheyClose) {
  const auto options = of("app", {.sessions = 2});
  const auto outbox = std::make_shared<Collector>();
  auto first = std::make_unique<Caller>(engine_, true, options);
  Caller second(engine_, true, options);
  EXPECT_EQ(open_session(engine_, outbox, options), nullptr);
  EXPECT_EQ(figure(second, "app", "sessions"), 2U);
  Caller other(engine_, true, of("other"));
  first.reset();
  Caller third(engine_, true, options);
  EXPECT_EQ(figure(second, "app", "sessions"), 2U);
}

TEST_F(QuotasTest, ATokenWithoutEngineTimeGivesBackOnly) {
  Caller caller(engine_, true, of("app", {.seconds = 0.25}));
  Caller other(engine_, true, of("other"));
  ASSERT_TRUE(caller.run(bytes(64), {}, {1}).ok());
  ASSERT_TRUE(caller.ask(wire::Prepare{1, add(1)}).ok());
  // Some requests of more than a quarter of a second together.
  std::uint64_t handle = 1;
  Reply reply;
  do {
    reply = caller.run(
        {{}, {iota(0, "s32", {1 << 20}), op("argsort", {v(0)}, 1), op("sum", {v(1)}, 2)}, {2}}, {},
        {++handle});
  } while (reply.ok() && handle < 100'000);
  expect_quota(reply, "seconds", "try again in");
  EXPECT_GT(figure(caller, "app", "minute_ms"), 0U);
  EXPECT_GT(figure(caller, "app", "engine_ms"), 0U);
  expect_quota(caller.ask(wire::Prepare{2, add(1)}), "seconds", "raise the quota");
  EXPECT_TRUE(caller.ask(wire::Info{1}).ok());
  EXPECT_TRUE(caller.ask(wire::Release{{1}}).ok());
  EXPECT_TRUE(caller.ask(wire::Forget{1}).ok());
  EXPECT_TRUE(caller.ask(wire::Ping{}).ok());
  EXPECT_TRUE(other.run(bytes(64), {}, {1}).ok());
}

/// The time is given: no test waits.
TEST(EngineTimeTest, ABucketRunsEmptyInAMinute) {
  const std::string token = "app";
  EngineTime time(token, 6);
  const auto start = EngineTime::Clock::now();
  EXPECT_TRUE(time.check(start));
  time.use(seconds(5), start);
  EXPECT_TRUE(time.check(start)) << "less than the quota";
  time.use(seconds(4), start);
  EXPECT_NEAR(time.in_bucket(start), 9, 1e-6);
  EXPECT_FALSE(time.check(start));
  // Six seconds leak in a minute: three in half of it.
  EXPECT_FALSE(time.check(start + seconds(29)));
  EXPECT_TRUE(time.check(start + seconds(31)));
  EXPECT_NEAR(time.in_bucket(start + seconds(30)), 6, 1e-6);
  EXPECT_NEAR(time.in_bucket(start + seconds(90)), 0, 1e-6);
  // Time that was not used is not saved.
  const auto later = start + std::chrono::hours(10);
  time.use(seconds(7), later);
  EXPECT_FALSE(time.check(later));
  EXPECT_EQ(time.total(), seconds(16));
  EngineTime free(token, 0);
  free.use(std::chrono::hours(10), start);
  EXPECT_TRUE(free.check(start));
}

TEST_F(QuotasTest, APublishedTensorCountsForItsPublisher) {
  Caller publisher(engine_, true, of("app", {.bytes = 4 * MiB}));
  Caller reader(engine_, true, of("reader", {.bytes = MiB}));
  ASSERT_TRUE(publisher.run(bytes(3 << 20), {}, {1}).ok());
  ASSERT_TRUE(publisher.ask(wire::Publish{1, "w"}).ok());
  publisher.ask(wire::Release{{1}});
  EXPECT_GE(figure(publisher, "app", "bytes"), 3 * MiB);
  // Three times its quota: it does not pay.
  for (std::uint64_t handle = 1; handle <= 3; ++handle)
    ASSERT_TRUE(reader.ask(wire::Open{handle, "w"}).ok());
  EXPECT_LT(figure(reader, "reader", "bytes"), 4096U);
  // A copy for a write is its own.
  EXPECT_EQ(reader.run(add_in_place(1), {1}, {}).code(), "out_of_memory");
  // To publish it again is to have it.
  EXPECT_EQ(reader.ask(wire::Publish{1, "mine"}).code(), "out_of_memory");
  publisher.close();
  ASSERT_TRUE(reader.ask(wire::Unpublish{"w"}).ok());
  Caller later(engine_, true, of("app"));
  EXPECT_TRUE(eventually([&] { return figure(later, "app", "sessions") == 1; }));
  EXPECT_GE(figure(later, "app", "bytes"), 3 * MiB) << "the reader has it open";
  reader.ask(wire::Release{{1, 2, 3}});
  EXPECT_LT(figure(later, "app", "bytes"), 4096U);
}

TEST_F(QuotasTest, WhoPublishesWhatAnotherMadePaysForACopy) {
  Caller maker(engine_, true, of("maker"));
  Caller publisher(engine_, true, of("app"));
  ASSERT_TRUE(maker.upload(1, "s32", {3}, Ints{1, 2, 3}).ok());
  ASSERT_TRUE(maker.ask(wire::Publish{1, "w"}).ok());
  ASSERT_TRUE(publisher.ask(wire::Open{1, "w"}).ok());
  ASSERT_TRUE(publisher.ask(wire::Publish{1, "copy"}).ok());
  ASSERT_TRUE(maker.ask(wire::Unpublish{"w"}).ok());
  maker.ask(wire::Release{{1}});
  publisher.ask(wire::Release{{1}});
  EXPECT_EQ(figure(maker, "maker", "bytes"), 0U);
  EXPECT_GT(figure(publisher, "app", "bytes"), 0U);
  ASSERT_TRUE(maker.ask(wire::Open{2, "copy"}).ok());
  EXPECT_EQ(maker.download<std::int32_t>(2, 3), (Ints{1, 2, 3}));
  ASSERT_TRUE(publisher.ask(wire::Unpublish{"copy"}).ok());
  maker.ask(wire::Release{{2}});
  EXPECT_EQ(figure(publisher, "app", "bytes"), 0U);
}

TEST_F(QuotasTest, OnlyTheRightAdminSeesOtherTokens) {
  auto options = of("app");
  options.rights = Rights();
  options.rights.grant(Right::read);
  Caller reader(engine_, true, options);
  Caller admin(engine_, true, of("ops", {.handles = 7, .seconds = 30, .priority = 20}));
  const Reply seen = reader.ask(wire::Info{});
  EXPECT_TRUE(seen.numbers.contains("tenants.app.sessions"));
  EXPECT_FALSE(seen.numbers.contains("tenants.ops.sessions"));
  const Reply all = admin.ask(wire::Info{});
  EXPECT_EQ(all.numbers.at("tenants.app.sessions"), 1U);
  EXPECT_EQ(all.numbers.at("tenants.app.priority"), Quotas::usual_priority);
  EXPECT_FALSE(all.numbers.contains("tenants.app.quotas.handles"));
  EXPECT_EQ(all.numbers.at("tenants.ops.priority"), 20U);
  EXPECT_EQ(all.numbers.at("tenants.ops.quotas.handles"), 7U);
  EXPECT_EQ(all.numbers.at("tenants.ops.quotas.minute_ms"), 30000U);
}

/// Random requests of three tokens: what each has is what it had before, when all is given back.
TEST_F(QuotasTest, EachTokenGetsAllBack) {
  const char* const variable = std::getenv("OUTRIGGER_SEED");
  const std::uint64_t seed = variable != nullptr ? std::stoull(variable) : std::random_device()();
  SCOPED_TRACE("OUTRIGGER_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t most) { return random() % most; };
  const std::vector<std::string> tokens{"a", "b", "c"};
  Caller watcher(engine_, true, of("watcher"));
  for (int round = 0; round < 3; ++round) {
    {
      std::vector<std::unique_ptr<Caller>> callers;
      for (std::size_t i = 0; i < 6; ++i) {
        const Quotas quotas{.bytes = i % 3 == 0 ? 0 : MiB, .handles = i % 3 == 1 ? 12U : 0U};
        callers.push_back(
            std::make_unique<Caller>(engine_, true, of(tokens[i % 3].c_str(), quotas)));
      }
      for (int i = 0; i < 600; ++i) {
        Caller& caller = *callers[below(callers.size())];
        const std::uint64_t handle = 1 + below(8);
        const std::uint64_t source = 1 + below(8);
        const std::string name = "n" + std::to_string(below(3));
        switch (below(9)) {
          case 0:
            caller.later(wire::Release{{handle}});
            break;
          case 1:
            caller.later(wire::Publish{handle, name});
            break;
          case 2:
            caller.later(wire::Open{handle, name, {}, below(2) == 0});
            break;
          case 3:
            caller.later(wire::Unpublish{name});
            break;
          case 4:
            caller.run_later(bytes(static_cast<std::int64_t>(below(300'000))), {}, {handle});
            break;
          case 5:
            caller.run_later(add_in_place(1), {source}, {});
            break;
          case 6:
            caller.later(wire::Prepare{handle, add(static_cast<std::int64_t>(handle))});
            break;
          case 7:
            caller.later(wire::Run{{}, source, {source}, {handle}, false, {}});
            break;
          default:
            caller.upload_later(handle, "u8", {4}, std::vector<std::uint8_t>(1 + below(4)));
            break;
        }
      }
    }
    for (const char* name : {"n0", "n1", "n2"}) watcher.ask(wire::Unpublish{name});
    for (const std::string& token : tokens) {
      for (const char* key : {"bytes", "handles", "programs", "sessions"}) {
        EXPECT_TRUE(eventually([&] { return figure(watcher, token, key) == 0; }))
            << token << " " << key;
      }
    }
  }
  watcher.close();
  EXPECT_TRUE(becomes_unused());
}

}  // namespace
}  // namespace outrigger::engine::test
