#include "net/tokens.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/serve_sockets.hpp"

namespace outrigger::net {
namespace {

const std::string one(32, '1');
const std::string two(32, '2');

Rights rights(std::initializer_list<Right> list) {
  Rights out;
  for (const Right right : list) out.grant(right);
  return out;
}

TEST(Tokens, AreFoundWithTheirNamesAndRights) {
  Tokens tokens;
  ASSERT_TRUE(
      tokens.add("list", "# name rights token\n\n  app\tread,write " + one + "\r\nops all " + two));
  EXPECT_EQ(tokens.size(), 2U);
  ASSERT_NE(tokens.find(one), nullptr);
  EXPECT_EQ(tokens.find(one)->name, "app");
  EXPECT_EQ(tokens.find(one)->rights, rights({Right::read, Right::write}));
  EXPECT_EQ(tokens.find(two)->rights, Rights::all());
  for (const std::string& wrong : {std::string(), one + "1", one.substr(1), std::string("app")})
    EXPECT_EQ(tokens.find(wrong), nullptr) << wrong;
}

TEST(Tokens, OfSeveralListsAreOneList) {
  Tokens tokens;
  ASSERT_TRUE(tokens.add("file", "a read " + one));
  ASSERT_TRUE(add_token_variable(tokens, "b files " + two + "; # none ;"));
  EXPECT_EQ(tokens.find(two)->rights, rights({Right::files}));
  EXPECT_FALSE(tokens.add("file", "b read " + std::string(32, '3')));
}

TEST(Tokens, HaveQuotasBehindThem) {
  Tokens tokens;
  ASSERT_TRUE(tokens.add("list", "app all " + one +
                                     " bytes=2GiB handles=1000  programs=20\tsessions=3 "
                                     "seconds=7.5 priority=40\r\nfree read " +
                                     two));
  const Quotas quotas = tokens.find(one)->quotas;
  EXPECT_EQ(quotas.bytes, std::uint64_t{2} << 30);
  EXPECT_EQ(quotas.handles, 1000U);
  EXPECT_EQ(quotas.programs, 20U);
  EXPECT_EQ(quotas.sessions, 3U);
  EXPECT_EQ(quotas.seconds, 7.5);
  EXPECT_EQ(quotas.priority, 40U);
  const Quotas none = tokens.find(two)->quotas;
  EXPECT_EQ(none.bytes + none.handles + none.programs + none.sessions, 0U);
  EXPECT_EQ(none.seconds, 0);
  EXPECT_EQ(none.priority, Quotas::usual_priority);
  Tokens share;
  ASSERT_TRUE(share.add("list", "app all " + one + " bytes=50%"));
  EXPECT_GT(share.find(one)->quotas.bytes, std::uint64_t{1} << 20);
}

TEST(Tokens, ABadLineIsToldWithoutItsToken) {
  const std::string secret = "secret-secret-secret";
  const std::vector<std::string> bad{secret,
                                     "app " + secret,
                                     "app " + secret + " read",
                                     "app read,fly " + secret,
                                     "app read, write " + secret,
                                     "app read " + secret + " more",
                                     "app read " + secret + " bytes",
                                     "app read " + secret + " bytes=",
                                     "app read " + secret + " bytes=0",
                                     "app read " + secret + " bytes=lots",
                                     "app read " + secret + " handles=-1",
                                     "app read " + secret + " handles=1x",
                                     "app read " + secret + " handles=1 handles=2",
                                     "app read " + secret + " sessions=99999999999999999999",
                                     "app read " + secret + " seconds=0",
                                     "app read " + secret + " seconds=61",
                                     "app read " + secret + " seconds=nan",
                                     "app read " + secret + " priority=0",
                                     "app read " + secret + " priority=1001",
                                     "app read " + secret + " sessoins=1",
                                     "app read " + secret + " =1",
                                     "app read short",
                                     "app read " + std::string(1025, 'x'),
                                     "app all " + secret + "\napp all " + one,
                                     "app all " + secret + "\nops all " + secret};
  for (const std::string& line : bad) {
    Tokens tokens;
    const auto done = tokens.add("/etc/tokens", "# first\n" + line);
    ASSERT_FALSE(done) << line;
    EXPECT_NE(done.error().text.find("/etc/tokens, line "), std::string::npos);
    EXPECT_EQ(done.error().text.find("secret"), std::string::npos) << done.error().text;
  }
}

TEST(Tokens, AnAddressForOtherMachinesNeedsThemAndTls) {
  const auto refused = [](const char* address, bool with_tokens, bool insecure) {
    ServerOptions options;
    options.addresses.push_back(parse_address(address).value());
    if (with_tokens) static_cast<void>(options.tokens.add("list", "app read " + one));
    return !check_exposure(options, insecure);
  };
  EXPECT_TRUE(refused("tcp://0.0.0.0:1", true, false));
  EXPECT_TRUE(refused("tls://0.0.0.0:1", false, false));
  EXPECT_TRUE(refused("tcp://[::]:1", false, false));
  EXPECT_FALSE(refused("tls://[::]:1", true, false));
  EXPECT_FALSE(refused("tcp://0.0.0.0:1", false, true));
  EXPECT_FALSE(refused("tcp://127.0.0.1:1", false, false));
  EXPECT_FALSE(refused("unix:/a", false, false));
}

}  // namespace
}  // namespace outrigger::net
