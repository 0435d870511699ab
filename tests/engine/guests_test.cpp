// Short requests of other sessions in the middle of a long program, and the order of long ones.

#include <cstdlib>

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using std::chrono::seconds;
using Ints = std::vector<std::int32_t>;

constexpr Milliseconds a_while{300};

/// A pass over many elements in each turn, for longer than any test waits.
Program endless_passes() {
  return Program{
      {},
      {iota(0, "f32", {1 << 20}), constant(1, 0, "s64", {}),
       loop({v(1), v(0)}, {8, 9},
            Region{{2, 3}, {op("less", {v(2), number(std::int64_t{1} << 40)}, 4)}, {4}},
            Region{{5, 6}, {op("add", {v(5), number(1)}, 7), op("sin", {v(6)}, 10)}, {7, 10}})},
      {9}};
}

/// endless(), with an argument.
Program endless_with(std::vector<Instruction> more = {}) {
  Program program = endless();
  program.params = {100};
  program.body.insert(program.body.end(), more.begin(), more.end());
  return program;
}

class GuestsTest : public SessionTestBase {
 protected:
  explicit GuestsTest(std::uint64_t limit = 0) : SessionTestBase(limit) {}

  /// Returns when the program runs.
  std::uint64_t start(Caller& caller, Program program, Handles args = {}) {
    const std::uint64_t id = caller.run_later(std::move(program), std::move(args), {host_result});
    const auto until = std::chrono::steady_clock::now() + seconds(60);
    while (!runs(caller, id) && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(Milliseconds(1));
    EXPECT_TRUE(runs(caller, id));
    return id;
  }
  static bool runs(Caller& caller, std::uint64_t id) {
    const Reply info = caller.ask(wire::Info{});
    const auto running = info.numbers.find("running");
    return running != info.numbers.end() && running->second == id;
  }
  static void stop(Caller& caller, std::uint64_t id) {
    caller.ask(wire::Cancel{id});
    EXPECT_EQ(caller.outbox->wait(id).status, "cancelled");
  }
  static bool waits(Caller& caller, std::uint64_t id) {
    return caller.outbox->wait(id, a_while).status == "none";
  }

  static constexpr std::uint64_t host_result = 1000;
  Caller host_{engine_};
  Caller guest_{engine_};
};

TEST_F(GuestsTest, ShortRequestsDoNotWaitForALongProgram) {
  for (const Program& program : {endless(), endless_passes()}) {
    Caller host(engine_);
    const std::uint64_t id = start(host, program);
    for (std::uint64_t round = 0; round < 20; ++round) {
      const std::uint64_t handle = 1 + 2 * round;
      ASSERT_TRUE(guest_.upload(handle, "s32", {3}, Ints{1, 2, 3}).ok());
      ASSERT_TRUE(guest_.run(add(7), {handle}, {handle + 1}).ok());
      ASSERT_EQ(guest_.download<std::int32_t>(handle + 1, 3), (Ints{8, 9, 10}));
      ASSERT_TRUE(guest_.ask(wire::Prepare{1, add(static_cast<std::int64_t>(round))}).ok());
      ASSERT_TRUE(guest_.ask(wire::Publish{handle, "w"}).ok());
      ASSERT_TRUE(guest_.ask(wire::Release{{handle, handle + 1}}).ok());
      ASSERT_TRUE(guest_.ask(wire::Open{handle, "w"}).ok());
      ASSERT_TRUE(guest_.ask(wire::Run{{}, 1, {handle}, {handle + 1}, false, {}}).ok());
      ASSERT_EQ(guest_.run(add(1), {12345}, {999}).code(), "bad_handle");
      ASSERT_TRUE(guest_.ask(wire::Release{{handle, handle + 1, 999}}).ok());
      ASSERT_TRUE(runs(host, id));
    }
    stop(host, id);
  }
}

TEST_F(GuestsTest, ManyRequestsOfManySessionsComeIn) {
  const std::uint64_t id = start(host_, endless_passes());
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < 8; ++i) callers.push_back(std::make_unique<Caller>(engine_));
  std::vector<std::uint64_t> last(callers.size());
  for (std::uint64_t n = 1; n <= 100; ++n) {
    for (std::size_t i = 0; i < callers.size(); ++i) {
      callers[i]->upload_later(n, "s32", {1}, Ints{static_cast<std::int32_t>(n)});
      last[i] = callers[i]->run_later(add(1), {n}, {1000 + n});
    }
  }
  for (std::size_t i = 0; i < callers.size(); ++i) {
    EXPECT_TRUE(callers[i]->outbox->wait(last[i]).ok());
    EXPECT_EQ(callers[i]->download<std::int32_t>(1050, 1), Ints{51});
  }
  EXPECT_TRUE(runs(host_, id));
  stop(host_, id);
}

/// The host's own requests keep their order.
TEST_F(GuestsTest, TheHostsOwnRequestsWait) {
  const std::uint64_t id = start(host_, endless_passes());
  const std::uint64_t own = host_.upload_later(1, "s32", {1}, Ints{5});
  ASSERT_TRUE(guest_.upload(1, "s32", {1}, Ints{6}).ok());
  EXPECT_TRUE(waits(host_, own));
  stop(host_, id);
  EXPECT_TRUE(host_.outbox->wait(own).ok());
}

TEST_F(GuestsTest, LongRequestsWaitForTheirTurns) {
  const std::uint64_t id = start(host_, endless_passes());
  Caller other(engine_);
  const std::uint64_t waiting =
      other.run_later({{}, {iota(0, "f32", {1 << 20}), op("argsort", {v(0)}, 1)}, {1}}, {}, {1});
  ASSERT_TRUE(guest_.upload(1, "s32", {1}, Ints{6}).ok());
  EXPECT_TRUE(waits(other, waiting));
  ASSERT_TRUE(guest_.run(add(1), {1}, {2}).ok());
  stop(host_, id);
  EXPECT_TRUE(other.outbox->wait(waiting).ok());
}

/// A reader of a live tensor sees whole requests only.
TEST_F(GuestsTest, AHostWithLiveTensorsLetsNobodyIn) {
  ASSERT_TRUE(host_.upload(1, "s32", {1}, Ints{5}).ok());
  ASSERT_TRUE(host_.ask(wire::Publish{1, "w"}).ok());
  ASSERT_TRUE(host_.ask(wire::Open{2, "w", {}, true}).ok());
  const std::uint64_t id = start(host_, endless_with(), {2});
  const std::uint64_t opening = guest_.later(wire::Open{1, "w"});
  EXPECT_TRUE(waits(guest_, opening));
  stop(host_, id);
  EXPECT_TRUE(guest_.outbox->wait(opening).ok());
}

TEST_F(GuestsTest, ASessionThatEndsMeanwhileIsFreed) {
  ASSERT_TRUE(guest_.run(bytes(1 << 20), {}, {1}).ok());
  const std::uint64_t before = used();
  const std::uint64_t id = start(host_, endless_passes());
  guest_.close();
  Caller other(engine_);
  ASSERT_TRUE(other.upload(1, "s32", {1}, Ints{6}).ok());
  stop(host_, id);
  ASSERT_TRUE(other.ask(wire::Release{{1}}).ok());
  host_.ask(wire::Release{{host_result}});
  const auto until = std::chrono::steady_clock::now() + seconds(60);
  while (used() >= before && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(Milliseconds(1));
  EXPECT_LT(used(), before);
}

/// The host that ends itself in the middle is not its own guest.
TEST_F(GuestsTest, TheHostMayEndWhileGuestsComeIn) {
  for (int i = 0; i < 20; ++i) {
    auto host = std::make_unique<Caller>(engine_);
    start(*host, endless_passes());
    for (int n = 0; n < 10; ++n) guest_.later(wire::Release{{1}});
    host.reset();
    ASSERT_TRUE(guest_.ask(wire::Release{{1}}).ok());
  }
}

TEST_F(GuestsTest, AGuestCanBeCancelled) {
  const std::uint64_t id = start(host_, endless_passes());
  const std::uint64_t passed = guest_.run_later(bytes(4), {}, {1}, 0);
  EXPECT_EQ(guest_.outbox->wait(passed).status, "deadline_exceeded");
  Caller other(engine_);
  const std::uint64_t large = other.run_later(endless(), {}, {1});
  ASSERT_TRUE(guest_.ask(wire::Release{{1}}).ok());
  EXPECT_TRUE(other.ask(wire::Cancel{large}).flags.at("found"));
  stop(host_, id);
  EXPECT_EQ(other.outbox->wait(large).status, "cancelled");
}

/// Both have the right results, and what the host may take is as it was planned (which builds with
/// assertions check).
TEST_F(GuestsTest, HostAndGuestsDoNotChangeEachOthersResults) {
  constexpr std::int64_t turns = 60;
  const Program counted{
      {0},
      {constant(1, 0, "s64", {}),
       loop({v(1), v(0)}, {8, 9}, Region{{2, 3}, {op("less", {v(2), number(turns)}, 4)}, {4}},
            Region{{5, 6},
                   {op("add", {v(5), number(1)}, 7), op("add", {v(6), number(3)}, 10),
                    op("reverse", {v(10)}, 11, {{"axes", List{0}}}), op("add", {v(11), v(10)}, 12),
                    op("subtract", {v(12), v(11)}, 13)},
                   {7, 13}})},
      {9}};
  ASSERT_TRUE(host_.run({{}, {constant(0, 1, "s32", {1 << 18})}, {0}}, {}, {1}).ok());
  const std::uint64_t id = host_.run_later(counted, {1}, {2});
  std::uint64_t n = 0;
  while (host_.outbox->wait(id, Milliseconds(0)).status == "none" && n < 100'000) {
    const std::uint64_t handle = 1 + n % 100;
    ASSERT_TRUE(guest_.ask(wire::Release{{handle, 500 + handle}}).ok());
    const auto value = static_cast<std::int32_t>(n);
    ASSERT_TRUE(guest_.upload(handle, "s32", {2}, Ints{value, 1}).ok());
    ASSERT_TRUE(guest_.run(add(1), {handle}, {500 + handle}).ok());
    ASSERT_EQ(guest_.download<std::int32_t>(500 + handle, 2), (Ints{value + 1, 2}));
    ++n;
  }
  const Reply reply = host_.outbox->wait(id);
  ASSERT_TRUE(reply.ok()) << reply.text();
  EXPECT_EQ(host_.download<std::int32_t>(2, 1000), Ints(1000, 1 + 3 * turns));
}

class GuestsMemoryTest : public GuestsTest {
 protected:
  GuestsMemoryTest() : GuestsTest(std::uint64_t{16} << 20) {}
};

/// The planner has found that the host's program fits: guests must not take that memory. They wait
/// for it, and do not fail.
TEST_F(GuestsMemoryTest, TheMemoryOfTheHostsProgramIsPromisedToIt) {
  ASSERT_TRUE(host_.upload(1, "s32", {1}, Ints{5}).ok());
  Program program = endless_with({iota(101, "u8", {10 << 20})});
  program.outputs = {101};
  const std::uint64_t id = start(host_, program, {1});
  const std::uint64_t large = guest_.upload_later(1, "u8", {8 << 20}, std::vector<std::uint8_t>(1));
  Caller small(engine_);
  ASSERT_TRUE(small.upload(1, "u8", {1 << 20}, std::vector<std::uint8_t>(1)).ok());
  EXPECT_TRUE(waits(guest_, large));
  stop(host_, id);
  EXPECT_TRUE(guest_.outbox->wait(large).ok());
}

/// Requests that wait together: after the first long one come all short ones of another session.
TEST_F(GuestsTest, LongRequestsTakeTurnsByTime) {
  ASSERT_TRUE(host_.upload(1, "s32", {1}, Ints{5}).ok());
  ASSERT_TRUE(host_.ask(wire::Publish{1, "w"}).ok());
  ASSERT_TRUE(host_.ask(wire::Open{2, "w", {}, true}).ok());
  Caller greedy(engine_);
  Caller modest(engine_);
  const std::uint64_t id = start(host_, endless_with(), {2});
  std::mutex mutex;
  std::string order;
  const auto note = [&](char who) {
    return [&, who] {
      const std::lock_guard lock(mutex);
      order += who;
    };
  };
  greedy.outbox->before_reply = note('g');
  modest.outbox->before_reply = note('m');
  std::uint64_t last = 0;
  for (std::uint64_t handle = 1; handle <= 5; ++handle) {
    last = greedy.run_later({{}, {iota(0, "f32", {1 << 21}), op("argsort", {v(0)}, 1)}, {1}}, {},
                            {handle});
    modest.run_later({{}, {iota(0, "s32", {1 << 18}), op("sum", {v(0)}, 1)}, {1}}, {}, {handle});
  }
  stop(host_, id);
  ASSERT_TRUE(greedy.outbox->wait(last).ok());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(order.size(), 10U);
  EXPECT_LE(order.find("mmmm"), 3U) << order << ": one request of each in turn?";
}

}  // namespace
}  // namespace outrigger::engine::test
