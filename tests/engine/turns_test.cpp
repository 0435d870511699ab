// The order of turns: by the time that each has had, not by the number of requests.

#include "engine/session/turns.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace outrigger::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

struct Named final : Turns::Party {
  Named(Turns::Group& group, std::string of) : Party(group), name(std::move(of)) {}
  std::string name;
};
using NamedPtr = std::shared_ptr<Named>;

NamedPtr party(Turns::Group& group, std::string name) {
  return std::make_shared<Named>(group, std::move(name));
}

class TurnsTest : public testing::Test {
 protected:
  ~TurnsTest() override { turns_.clear(); }

  NamedPtr next() { return std::static_pointer_cast<Named>(turns_.take()); }
  /// The next one has its turn, and waits again.
  NamedPtr serve(std::chrono::nanoseconds time) {
    const NamedPtr served = next();
    turns_.use(*served, time);
    turns_.add(served);
    return served;
  }

  Turns turns_;
  Turns::Group one_{10};
  Turns::Group other_{10};
};

TEST_F(TurnsTest, EqualsAreServedInTheOrderInWhichTheyCome) {
  EXPECT_TRUE(turns_.empty());
  EXPECT_EQ(next(), nullptr);
  for (const char* name : {"a", "b", "c"}) turns_.add(party(one_, name));
  std::string order;
  for (int i = 0; i < 6; ++i) order += serve(microseconds(5))->name;
  EXPECT_EQ(order, "abcabc");
  EXPECT_FALSE(turns_.empty());
}

TEST_F(TurnsTest, TimeCountsAndNotTheNumberOfRequests) {
  turns_.add(party(one_, "long"));
  turns_.add(party(one_, "short"));
  int longs = 0;
  int shorts = 0;
  for (int i = 0; i < 10'100; ++i) {
    const NamedPtr served = next();
    const bool is_long = served->name == "long";
    turns_.use(*served, is_long ? microseconds(1000) : microseconds(10));
    turns_.add(served);
    (is_long ? longs : shorts) += 1;
  }
  EXPECT_EQ(longs, 100);
  EXPECT_EQ(shorts, 10'000);
}

/// A token gets no more time because it has more sessions.
TEST_F(TurnsTest, GroupsShareAndThenTheirParties) {
  for (const char* name : {"a", "b", "c"}) turns_.add(party(one_, name));
  turns_.add(party(other_, "z"));
  std::map<std::string, int> turns;
  for (int i = 0; i < 600; ++i) ++turns[serve(microseconds(100))->name];
  EXPECT_EQ(turns["z"], 300);
  EXPECT_EQ(turns["a"], 100);
  EXPECT_EQ(turns["c"], 100);
}

TEST_F(TurnsTest, APriorityIsAShare) {
  Turns::Group urgent(40);
  turns_.add(party(urgent, "urgent"));
  turns_.add(party(one_, "usual"));
  int urgents = 0;
  for (int i = 0; i < 1000; ++i) urgents += serve(microseconds(100))->name == "urgent" ? 1 : 0;
  EXPECT_EQ(urgents, 800);
  turns_.clear();
}

TEST_F(TurnsTest, WhoWasIdleBringsNoCredit) {
  const NamedPtr idle = party(other_, "idle");
  turns_.add(party(one_, "busy"));
  for (int i = 0; i < 100; ++i) serve(seconds(1));
  turns_.add(idle);
  // It is next, but the hundred seconds that it did not use are gone.
  std::string order;
  for (int i = 0; i < 6; ++i) order += serve(seconds(1))->name.front();
  EXPECT_TRUE(order == "ibibib" || order == "bibibi") << order;
  // The same within a group.
  const NamedPtr late = party(one_, "late");
  turns_.add(late);
  std::map<std::string, int> turns;
  for (int i = 0; i < 40; ++i) ++turns[serve(seconds(1))->name];
  EXPECT_EQ(turns["idle"], 20);
  EXPECT_NEAR(turns["late"], 10, 1);
}

TEST_F(TurnsTest, WhoHasHadMuchWaitsAlsoIfItComesBack) {
  const NamedPtr greedy = party(one_, "greedy");
  turns_.add(greedy);
  turns_.add(party(other_, "modest"));
  ASSERT_EQ(next(), greedy);
  turns_.use(*greedy, seconds(1));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(serve(microseconds(100))->name, "modest");
  turns_.add(greedy);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(serve(microseconds(100))->name, "modest");
}

/// In the middle of a request, only who has had less comes before its party.
TEST_F(TurnsTest, BeforeTheServedOneComeThoseWithLess) {
  const NamedPtr host = party(one_, "host");
  const NamedPtr sibling = party(one_, "sibling");
  const NamedPtr stranger = party(other_, "stranger");
  turns_.add(host);
  ASSERT_EQ(next(), host);
  turns_.add(sibling);
  turns_.add(stranger);
  EXPECT_EQ(turns_.take_before(*host), nullptr) << "the host has had nothing yet";
  turns_.use(*host, microseconds(500));
  EXPECT_EQ(turns_.take_before(*host), stranger);
  turns_.use(*stranger, microseconds(700));
  turns_.add(stranger);
  EXPECT_EQ(turns_.take_before(*host), sibling);
  turns_.use(*sibling, microseconds(600));
  turns_.add(sibling);
  // The group of the two has had 1,100 µs together, the other one 700.
  EXPECT_EQ(turns_.take_before(*host), stranger);
  EXPECT_EQ(turns_.take_before(*host), nullptr) << "the sibling has had more than the host";
  turns_.use(*host, microseconds(200));
  EXPECT_EQ(turns_.take_before(*host), sibling);
  EXPECT_EQ(turns_.take_before(*host), nullptr);
  EXPECT_TRUE(turns_.empty());
}

/// Time may be counted for one that is in line again already.
TEST_F(TurnsTest, TheTimeOfOneThatWaitsMovesItBack) {
  const NamedPtr first = party(one_, "first");
  turns_.add(first);
  turns_.add(party(one_, "second"));
  turns_.use(*first, seconds(1));
  EXPECT_EQ(next()->name, "second");
  EXPECT_EQ(next(), first);
}

TEST_F(TurnsTest, ManyPartiesComeAndGo) {
  std::vector<NamedPtr> all;
  for (int i = 0; i < 1000; ++i) all.push_back(party(i % 3 == 0 ? one_ : other_, ""));
  for (int round = 0; round < 3; ++round) {
    for (const NamedPtr& one : all) turns_.add(one);
    std::size_t count = 0;
    while (const NamedPtr served = next()) {
      turns_.use(*served, microseconds(count % 7));
      ++count;
    }
    EXPECT_EQ(count, all.size());
    EXPECT_TRUE(turns_.empty());
  }
}

}  // namespace
}  // namespace outrigger::engine
