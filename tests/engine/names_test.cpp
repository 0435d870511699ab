// Tensors that sessions share by name, as protocol/NAMES.md describes them.

#include <dirent.h>

#include <deque>
#include <fstream>
#include <set>
#include <string>

#include "engine/session_support.hpp"

namespace outrigger::engine::test {
namespace {

using Floats = std::vector<float>;

constexpr std::uint64_t KiB = 1024;

SessionOptions with_rights(std::initializer_list<Right> rights) {
  SessionOptions options;
  options.token = "app";
  options.rights = Rights();
  for (const Right right : rights) options.rights.grant(right);
  return options;
}

class NamesTest : public SessionTestBase {
 protected:
  NamesTest() { upload(a, 1, {1, 2, 3}); }

  static void upload(Caller& caller, std::uint64_t handle, const Floats& data) {
    const auto size = static_cast<std::int64_t>(data.size());
    ASSERT_TRUE(caller.upload(handle, "f32", {size}, data).ok());
  }
  static std::uint64_t publish(Caller& caller, std::uint64_t handle, const std::string& name) {
    const Reply reply = caller.ask(wire::Publish{handle, name});
    EXPECT_TRUE(reply.ok()) << reply.text();
    return reply.numbers.at("version");
  }
  static Floats floats(Caller& caller, std::uint64_t handle, std::size_t count = 3) {
    return caller.download<float>(handle, count);
  }
  /// The events that have come, "published 1 w 7" for the first subscription, in their order.
  static std::vector<std::string> events(Caller& caller) {
    std::vector<std::string> out;
    for (const Reply& reply : caller.outbox->all()) {
      if (reply.id != 0) continue;
      out.push_back(reply.strings.at("event") + " " +
                    std::to_string(reply.numbers.at("subscription")) + " " +
                    reply.strings.at("name") + " " + std::to_string(reply.numbers.at("version")));
    }
    return out;
  }
  static std::vector<std::string> eventually_events(Caller& caller, std::size_t count) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (events(caller).size() < count && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(Milliseconds(1));
    return events(caller);
  }
  bool eventually_used_less(std::uint64_t bytes) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (used() >= bytes && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(Milliseconds(1));
    return used() < bytes;
  }
  static std::vector<std::string> listed(const Reply& reply) {
    std::vector<std::string> out;
    for (const Reply::Name& name : reply.names) out.push_back(name.name);
    return out;
  }

  Caller a{engine_};
  Caller b{engine_};
};

TEST_F(NamesTest, AnotherSessionOpensThePublishedValue) {
  const std::uint64_t version = publish(a, 1, "weights");
  const Reply opened = b.ask(wire::Open{5, "weights"});
  ASSERT_TRUE(opened.ok()) << opened.text();
  EXPECT_EQ(opened.numbers.at("version"), version);
  ASSERT_EQ(opened.results.size(), 1U);
  EXPECT_EQ(opened.results[0].handle, 5U);
  EXPECT_EQ(opened.results[0].dtype, "f32");
  EXPECT_EQ(opened.results[0].shape, List{3});
  EXPECT_EQ(floats(b, 5), (Floats{1, 2, 3}));
}

TEST_F(NamesTest, TheElementsCountOnce) {
  const Floats large(256 * KiB, 1.0F);
  upload(a, 2, large);
  const std::uint64_t before = used();
  publish(a, 2, "large");
  ASSERT_TRUE(b.ask(wire::Open{1, "large"}).ok());
  ASSERT_TRUE(b.ask(wire::Open{2, "large", {}, true}).ok());
  EXPECT_LT(used(), before + 4 * KiB);
}

TEST_F(NamesTest, WritesOfThePublisherDoNotChangeThePublishedValue) {
  publish(a, 1, "w");
  ASSERT_TRUE(a.run(add_in_place(10), {1}, {}).ok());
  ASSERT_TRUE(b.ask(wire::Open{1, "w"}).ok());
  EXPECT_EQ(floats(a, 1), (Floats{11, 12, 13}));
  EXPECT_EQ(floats(b, 1), (Floats{1, 2, 3}));
}

TEST_F(NamesTest, WritesThroughAnOpenedValueChangeOnlyIt) {
  publish(a, 1, "w");
  ASSERT_TRUE(b.ask(wire::Open{1, "w"}).ok());
  ASSERT_TRUE(b.run(add_in_place(10), {1}, {}).ok());
  ASSERT_TRUE(b.ask(wire::Open{2, "w"}).ok());
  EXPECT_EQ(floats(b, 1), (Floats{11, 12, 13}));
  EXPECT_EQ(floats(b, 2), (Floats{1, 2, 3}));
  EXPECT_EQ(floats(a, 1), (Floats{1, 2, 3}));
}

TEST_F(NamesTest, LiveHandlesAndLaterOnesSeeWrites) {
  const std::uint64_t version = publish(a, 1, "w");
  ASSERT_TRUE(a.ask(wire::Open{2, "w", {}, true}).ok());
  ASSERT_TRUE(b.ask(wire::Open{2, "w", {}, true}).ok());
  ASSERT_TRUE(b.ask(wire::Open{3, "w"}).ok());
  ASSERT_TRUE(b.run(add_in_place(10), {2}, {}).ok());
  EXPECT_EQ(floats(a, 2), (Floats{11, 12, 13}));
  EXPECT_EQ(floats(b, 3), (Floats{1, 2, 3})) << "a value stays";
  EXPECT_EQ(floats(a, 1), (Floats{1, 2, 3})) << "the handle that was published is a value";
  ASSERT_TRUE(b.ask(wire::Open{4, "w", version}).ok()) << "the version is the same";
  EXPECT_EQ(floats(b, 4), (Floats{11, 12, 13}));
  ASSERT_TRUE(a.run(add_in_place(100), {2}, {}).ok());
  EXPECT_EQ(floats(b, 2), (Floats{111, 112, 113}));
}

TEST_F(NamesTest, AViewOfALiveTensorIsLive) {
  publish(a, 1, "w");
  ASSERT_TRUE(a.ask(wire::Open{2, "w", {}, true}).ok());
  ASSERT_TRUE(b.ask(wire::Open{2, "w", {}, true}).ok());
  const Program view{
      {0}, {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{2}}}))}, {1}};
  ASSERT_TRUE(a.run(view, {2}, {3}).ok());
  ASSERT_TRUE(a.run(add_in_place(10), {3}, {}).ok());
  EXPECT_EQ(floats(b, 2), (Floats{1, 12, 13}));
}

TEST_F(NamesTest, ADonatedLiveTensorIsNotWritten) {
  publish(a, 1, "w");
  ASSERT_TRUE(b.ask(wire::Open{2, "w", {}, true}).ok());
  wire::Run run{add(10), {}, {2}, {3}, false, {}};
  run.donated = {2};
  ASSERT_TRUE(b.ask(std::move(run)).ok());
  EXPECT_EQ(floats(b, 3), (Floats{11, 12, 13}));
  ASSERT_TRUE(b.ask(wire::Open{4, "w"}).ok());
  EXPECT_EQ(floats(b, 4), (Floats{1, 2, 3}));
}

TEST_F(NamesTest, ALiveHandleStaysWithItsVersion) {
  publish(a, 1, "w");
  ASSERT_TRUE(b.ask(wire::Open{2, "w", {}, true}).ok());
  upload(a, 2, {7, 8, 9});
  publish(a, 2, "w");
  EXPECT_EQ(floats(b, 2), (Floats{1, 2, 3}));
  ASSERT_TRUE(b.run(add_in_place(1), {2}, {}).ok());
  ASSERT_TRUE(b.ask(wire::Open{3, "w"}).ok());
  EXPECT_EQ(floats(b, 3), (Floats{7, 8, 9}));
}

TEST_F(NamesTest, VersionsGrowAcrossNames) {
  const std::uint64_t first = publish(a, 1, "v");
  const std::uint64_t second = publish(a, 1, "w");
  ASSERT_TRUE(a.ask(wire::Unpublish{"v"}).flags.at("found"));
  const std::uint64_t third = publish(a, 1, "v");
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST_F(NamesTest, CompareAndSet) {
  EXPECT_EQ(a.ask(wire::Publish{1, "w", 3}).code(), "version_conflict");
  const Reply made = a.ask(wire::Publish{1, "w", 0});
  ASSERT_TRUE(made.ok());
  const std::uint64_t version = made.numbers.at("version");
  upload(b, 1, {4, 5, 6});
  const Reply exists = b.ask(wire::Publish{1, "w", 0});
  EXPECT_EQ(exists.code(), "version_conflict");
  EXPECT_NE(exists.text().find("version " + std::to_string(version)), std::string::npos)
      << exists.text();
  const Reply next = b.ask(wire::Publish{1, "w", version});
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(a.ask(wire::Publish{1, "w", version}).code(), "version_conflict") << "b was faster";
  EXPECT_EQ(a.ask(wire::Open{9, "w", version}).code(), "version_conflict");
  EXPECT_EQ(a.ask(wire::Unpublish{"w", version}).code(), "version_conflict");
  ASSERT_TRUE(a.ask(wire::Open{10, "w", next.numbers.at("version")}).ok());
  EXPECT_EQ(floats(a, 10), (Floats{4, 5, 6})) << "nothing of the refused requests was done";
}

TEST_F(NamesTest, UnknownNames) {
  const Reply reply = b.ask(wire::Open{5, "nothing"});
  EXPECT_EQ(reply.code(), "unknown_name");
  EXPECT_NE(reply.text().find("\"nothing\""), std::string::npos);
  EXPECT_EQ(b.ask(wire::Info{5}).code(), "failed_operand") << "the new handle has failed";
  EXPECT_FALSE(b.ask(wire::Unpublish{"nothing"}).flags.at("found"));
  EXPECT_EQ(a.ask(wire::Publish{77, "w"}).code(), "bad_handle");
  EXPECT_EQ(a.ask(wire::Open{1, "w"}).code(), "handle_in_use");
}

TEST_F(NamesTest, TheEndOfASessionTakesNoPublishedTensorAway) {
  publish(a, 1, "w");
  a.close();
  ASSERT_TRUE(b.ask(wire::Open{1, "w"}).ok());
  EXPECT_EQ(floats(b, 1), (Floats{1, 2, 3}));
  b.close();
  Caller c(engine_);
  ASSERT_TRUE(c.ask(wire::Open{1, "w", {}, true}).ok());
  ASSERT_TRUE(c.ask(wire::Unpublish{"w"}).flags.at("found"));
  EXPECT_EQ(floats(c, 1), (Floats{1, 2, 3})) << "an open tensor stays";
  c.close();
  EXPECT_TRUE(becomes_unused());
}

TEST_F(NamesTest, AViewIsPublishedWithItsOwnElementsOnly) {
  const Floats large(256 * KiB, 1.0F);
  upload(a, 2, large);
  const Program view{{0}, {op("slice", {v(0), number(7)}, 1, {{"lengths", List{5}}})}, {1}};
  const Program reversed{{0}, {in_place(op("reverse", {v(0)}, 1))}, {1}};
  ASSERT_TRUE(a.run(view, {2}, {3}).ok());
  ASSERT_TRUE(a.run(reversed, {1}, {4}).ok());
  publish(a, 3, "part");
  publish(a, 4, "reversed");
  a.close();
  ASSERT_TRUE(b.ask(wire::Open{2, "reversed", {}, true}).ok());
  ASSERT_TRUE(b.run(add_in_place(1), {2}, {}).ok());
  EXPECT_EQ(floats(b, 2), (Floats{4, 3, 2}));
  EXPECT_TRUE(eventually_used_less(8 * KiB)) << "the large tensor is gone";
}

TEST_F(NamesTest, NamesAreListedInPages) {
  for (const char* name : {"b/2", "a", "b/1", "c", "b/3"}) publish(a, 1, name);
  using Texts = std::vector<std::string>;
  EXPECT_EQ(listed(b.ask(wire::ListNames{})), (Texts{"a", "b/1", "b/2", "b/3", "c"}));
  EXPECT_EQ(listed(b.ask(wire::ListNames{"b/"})), (Texts{"b/1", "b/2", "b/3"}));
  const Reply page = b.ask(wire::ListNames{"b/", {}, 2});
  EXPECT_EQ(listed(page), (Texts{"b/1", "b/2"}));
  EXPECT_TRUE(page.flags.at("more"));
  const Reply rest = b.ask(wire::ListNames{"b/", "b/2", 2});
  EXPECT_EQ(listed(rest), (Texts{"b/3"}));
  EXPECT_FALSE(rest.flags.at("more"));
  EXPECT_EQ(listed(b.ask(wire::ListNames{"b/", "a"})), (Texts{"b/1", "b/2", "b/3"}));
  EXPECT_TRUE(listed(b.ask(wire::ListNames{"b/", "c"})).empty());

  const Reply::Name item = b.ask(wire::ListNames{"a"}).names.at(0);
  EXPECT_EQ(item.dtype, "f32");
  EXPECT_EQ(item.shape, List{3});
  EXPECT_EQ(item.bytes, 12U);
  EXPECT_FALSE(item.ttl_ms);
  EXPECT_EQ(item.token, "");
}

TEST_F(NamesTest, ANameDisappearsAfterItsLifetimeInAnIdleEngine) {
  const Floats large(256 * KiB, 1.0F);
  upload(a, 2, large);
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "", true}).ok());
  const Reply made = a.ask(wire::Publish{2, "large", {}, 300});
  const std::uint64_t version = made.numbers.at("version");
  const auto left = b.ask(wire::ListNames{}).names.at(0).ttl_ms;
  ASSERT_TRUE(left);
  EXPECT_LE(*left, 300U);
  a.close();
  const auto heard = eventually_events(b, 2);
  EXPECT_EQ(heard.back(), "unpublished 1 large " + std::to_string(version));
  EXPECT_TRUE(eventually_used_less(8 * KiB)) << "nothing was asked meanwhile";
  EXPECT_EQ(b.ask(wire::Open{1, "large"}).code(), "unknown_name");
}

TEST_F(NamesTest, APublicationReplacesTheLifetime) {
  ASSERT_TRUE(a.ask(wire::Publish{1, "w", {}, 1}).ok());
  publish(a, 1, "w");
  ASSERT_TRUE(a.ask(wire::Publish{1, "x", {}, UINT64_MAX >> 1}).ok()) << "no clock overflows";
  std::this_thread::sleep_for(Milliseconds(20));
  EXPECT_TRUE(b.ask(wire::Open{1, "w"}).ok());
  EXPECT_TRUE(b.ask(wire::Open{2, "x"}).ok());
}

TEST_F(NamesTest, ASubscriberHearsOfTheNamesThatThereAreAndOfChanges) {
  const auto text = [](std::uint64_t version) { return std::to_string(version); };
  const std::uint64_t gone = publish(a, 1, "gone");
  ASSERT_TRUE(a.ask(wire::Unpublish{"gone"}).ok());
  const std::uint64_t first = publish(a, 1, "w");
  publish(a, 1, "other");
  ASSERT_TRUE(b.ask(wire::Subscribe{3, "w"}).ok());
  const std::uint64_t second = publish(a, 1, "w");
  publish(a, 1, "other");
  ASSERT_TRUE(a.ask(wire::Unpublish{"w"}).ok());
  const std::uint64_t third = publish(
      b,
      [&] {
        EXPECT_TRUE(b.upload(1, "f32", {1}, Floats{1}).ok());
        return 1;
      }(),
      "w");
  EXPECT_EQ(eventually_events(b, 4),
            (std::vector<std::string>{
                "published 3 w " + text(first), "published 3 w " + text(second),
                "unpublished 3 w " + text(second), "published 3 w " + text(third)}));
  EXPECT_GT(first, gone);
  EXPECT_TRUE(b.ask(wire::Unsubscribe{3}).flags.at("found"));
  EXPECT_FALSE(b.ask(wire::Unsubscribe{3}).flags.at("found"));
  publish(a, 1, "w");
  EXPECT_EQ(events(b).size(), 4U);
}

TEST_F(NamesTest, ASlowSubscriberHearsOfTheLastVersionOfEachName) {
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "", true}).ok());
  b.outbox->is_full = true;
  std::uint64_t last_v = 0;
  std::uint64_t last_w = 0;
  const std::uint64_t before = used();
  for (int i = 0; i < 1000; ++i) {
    last_v = publish(a, 1, "v");
    last_w = publish(a, 1, "w");
  }
  EXPECT_LT(used(), before + 4 * KiB) << "events that wait take no memory";
  EXPECT_TRUE(events(b).empty());
  b.outbox->is_full = false;
  b.session->replies_taken();
  EXPECT_EQ(eventually_events(b, 2),
            (std::vector<std::string>{"published 1 v " + std::to_string(last_v),
                                      "published 1 w " + std::to_string(last_w)}));
}

TEST_F(NamesTest, ASubscriberHearsOfManyNamesInTurns) {
  constexpr std::size_t names = 3500;
  for (std::size_t i = 0; i < names; ++i) a.later(wire::Publish{1, "n" + std::to_string(i)});
  ASSERT_TRUE(a.ask(wire::ListNames{"", {}, 1}).ok());
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "n", true}).ok());
  const auto heard = eventually_events(b, names);
  EXPECT_EQ(std::set(heard.begin(), heard.end()).size(), names);
}

TEST_F(NamesTest, AllEndsOfLifetimesAreTold) {
  constexpr std::size_t names = 3500;
  static_assert(names > 2 * Limits::removals_kept);
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "n", true}).ok());
  for (std::size_t i = 0; i < names; ++i)
    a.later(wire::Publish{1, "n" + std::to_string(i), {}, 200});
  const auto heard = eventually_events(b, 2 * names);
  EXPECT_EQ(std::set(heard.begin(), heard.end()).size(), 2 * names);
}

TEST_F(NamesTest, LifetimesEndWhileTheEngineIsBusy) {
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "w"}).ok());
  ASSERT_TRUE(a.ask(wire::Publish{1, "w", {}, 20}).ok());
  // The engine always has the next request.
  std::deque<std::uint64_t> under_way;
  for (int i = 0; i < 5000 && events(b).size() < 2; ++i) {
    under_way.push_back(
        a.run_later({{}, {iota(0, "f32", {1 << 20}), op("sum", {v(0)}, 1)}, {1}}, {}, {a.next_id}));
    if (under_way.size() < 200) continue;
    ASSERT_TRUE(a.outbox->wait(under_way.front()).ok());
    under_way.pop_front();
  }
  EXPECT_EQ(events(b).size(), 2U);
}

// An event's question for room comes between the two questions of the queue's turn.
TEST_F(NamesTest, EventsDoNotTakeTheTurnOfRequests) {
  enum { has_room, is_full, is_full_once };
  std::atomic<int> questions{0};
  std::atomic<int> state{has_room};
  b.outbox->fullness = [&] {
    if (state == is_full_once) return questions.fetch_add(1) == 0;
    return state == is_full;
  };
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "w"}).ok());
  state = is_full;
  const std::uint64_t waiting = b.later(wire::ListNames{});
  EXPECT_EQ(b.outbox->wait(waiting, Milliseconds(50)).status, "none");
  state = is_full_once;
  publish(a, 1, "w");
  EXPECT_GE(questions.load(), 2);
  b.session->replies_taken();
  EXPECT_TRUE(b.outbox->wait(waiting).ok());
}

TEST_F(NamesTest, NoEventFollowsByeOrTheStopOfTheServer) {
  ASSERT_TRUE(a.ask(wire::Subscribe{1, "w"}).ok());
  a.session->stop_events();
  ASSERT_TRUE(b.ask(wire::Subscribe{1, "w"}).ok());
  ASSERT_TRUE(b.ask(wire::Bye{}).ok());
  Caller c(engine_);
  upload(c, 1, {1, 2, 3});
  publish(c, 1, "w");
  ASSERT_TRUE(c.ask(wire::ListNames{}).ok());  // comes after the events of the publication
  EXPECT_TRUE(events(a).empty());
  EXPECT_TRUE(events(b).empty());
}

TEST_F(NamesTest, LimitsOfSubscriptions) {
  for (std::uint64_t i = 1; i <= Limits::subscriptions_max; ++i)
    ASSERT_TRUE(b.ask(wire::Subscribe{i, "w"}).ok());
  EXPECT_EQ(b.ask(wire::Subscribe{1, "x"}).code(), "bad_request");
  EXPECT_EQ(b.ask(wire::Subscribe{100, "x"}).code(), "limit_exceeded");
  EXPECT_TRUE(a.ask(wire::Subscribe{1, "x"}).ok()) << "each session has its own";
  b.close();
  publish(a, 1, "w");
  EXPECT_TRUE(events(a).empty());
}

TEST_F(NamesTest, ALiveTensorIsWrittenOnlyWithTheRightToPublish) {
  publish(a, 1, "w");
  Caller reader(engine_, true, with_rights({Right::read, Right::write}));
  ASSERT_TRUE(reader.ask(wire::Open{1, "w", {}, true}).ok());
  ASSERT_TRUE(reader.ask(wire::Open{2, "w"}).ok());
  const Program view{
      {0}, {in_place(op("slice", {v(0), number(1)}, 1, {{"lengths", List{2}}}))}, {1}};
  for (const Reply& reply : {reader.run(add_in_place(10), {1}, {}), reader.run(view, {1}, {3})}) {
    EXPECT_EQ(reply.code(), "forbidden");
    EXPECT_TRUE(reply.error->written.empty());
    EXPECT_NE(reply.text().find("publish"), std::string::npos) << reply.text();
  }
  EXPECT_EQ(floats(reader, 1), (Floats{1, 2, 3}));
  EXPECT_TRUE(reader.run(add(1), {1}, {5}).ok()) << "other programs may use it";
  EXPECT_TRUE(reader.run(add_in_place(1), {2}, {}).ok()) << "a value is the session's own";
  EXPECT_EQ(floats(reader, 2), (Floats{2, 3, 4}));
}

TEST_F(NamesTest, NamesHaveALimit) {
  for (std::uint32_t i = 0; i < Limits::names_max; ++i)
    a.later(wire::Publish{1, "n" + std::to_string(i)});
  EXPECT_EQ(a.ask(wire::Publish{1, "one more"}).code(), "limit_exceeded");
  EXPECT_TRUE(a.ask(wire::Publish{1, "n7"}).ok()) << "a name that is there gets a new version";
  ASSERT_TRUE(a.ask(wire::Unpublish{"n7"}).ok());
  EXPECT_TRUE(a.ask(wire::Publish{1, "one more"}).ok());
  EXPECT_LT(used(), Limits::names_max * KiB);
}

/// 4 MiB for all.
class NamesMemoryTest : public SessionTestBase {
 protected:
  NamesMemoryTest() : SessionTestBase(4 << 20) {}
};

TEST_F(NamesMemoryTest, NamesCountAgainstTheMemoryLimit) {
  Caller a(engine_);
  ASSERT_TRUE(a.upload(1, "f32", {1}, Floats{5}).ok());
  Reply reply;
  std::uint64_t made = 0;
  for (; made < Limits::names_max; ++made) {
    reply = a.ask(wire::Publish{1, "n" + std::to_string(made)});
    if (!reply.ok()) break;
  }
  EXPECT_EQ(reply.code(), "out_of_memory");
  EXPECT_GT(made, 4000U);
  EXPECT_LE(used(), std::uint64_t{4} << 20);
  EXPECT_EQ(a.ask(wire::Unpublish{"n" + std::to_string(made)}).flags.at("found"), false)
      << "a publication that failed has made nothing";
  ASSERT_TRUE(a.ask(wire::Unpublish{"n0"}).ok());
  EXPECT_TRUE(a.ask(wire::Publish{1, "n0"}).ok());
}

/// How often the thread of that name has gone to sleep so far; -1 if there is none.
long sleeps_of(const std::string& wanted) {
  DIR* tasks = ::opendir("/proc/self/task");
  long count = -1;
  while (const dirent* task = ::readdir(tasks)) {
    const std::string folder = std::string("/proc/self/task/") + task->d_name;
    std::string name;
    std::ifstream(folder + "/comm") >> name;
    if (name != wanted) continue;
    std::ifstream status(folder + "/status");
    for (std::string line; std::getline(status, line);) {
      const std::string key = "voluntary_ctxt_switches:";
      if (line.starts_with(key)) count = std::stol(line.substr(key.size()));
    }
  }
  ::closedir(tasks);
  return count;
}

TEST_F(NamesTest, AnIdleEngineHasNoTimer) {
  publish(a, 1, "w");
  a.close();
  b.close();
  // The pool is given back after a second.
  std::this_thread::sleep_for(Milliseconds(1500));
  const long before = sleeps_of("engine");
  ASSERT_GE(before, 0);
  std::this_thread::sleep_for(Milliseconds(3000));
  EXPECT_EQ(sleeps_of("engine"), before);
}

}  // namespace
}  // namespace outrigger::engine::test
