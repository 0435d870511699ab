#include "ctl/text.hpp"

#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/endpoint.hpp"
#include "ctl/json.hpp"
#include "ctl/token.hpp"
#include "wire/value.hpp"

namespace outrigger::ctl {
namespace {

TEST(Text, BytesHaveTheLargestUnit) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1024), "1.0 KiB");
  EXPECT_EQ(bytes_text((1ULL << 20) - 1), "1.0 MiB");
  EXPECT_EQ(bytes_text(3ULL << 29), "1.5 GiB");
  EXPECT_EQ(bytes_text(~0ULL), "16.0 EiB");
}

TEST(Text, DurationsHaveTwoUnits) {
  EXPECT_EQ(duration_text(0), "0 ms");
  EXPECT_EQ(duration_text(999), "999 ms");
  EXPECT_EQ(duration_text(12'999), "12 s");
  EXPECT_EQ(duration_text(60'000), "1 min");
  EXPECT_EQ(duration_text(185'000), "3 min 5 s");
  EXPECT_EQ(duration_text(15'000'000), "4 h 10 min");
  EXPECT_EQ(duration_text(86'400'000ULL * 12 + 3'600'000ULL * 3), "12 d 3 h");
}

TEST(Text, ATerminalTakesNoCommandFromTheServer) { EXPECT_EQ(printable("a\x1b[2J\nb"), "a?[2J?b"); }

TEST(Text, ValuesOfATableAreBelowEachOther) {
  EXPECT_EQ(table({{"a", "1"}, {"long", "2"}}), "a     1\nlong  2\n");
}

TEST(Json, HasEachKindOfValue) {
  // {"a": [1, -1, 1.5, nil, true], "q\"\n": {}, "b": binary}
  const std::vector<std::uint8_t> bytes{0x83, 0xa1, 'a',  0x95, 0x01, 0xff, 0xcb, 0x3f, 0xf8,
                                        0,    0,    0,    0,    0,    0,    0xc0, 0xc3, 0xa3,
                                        'q',  '"',  '\n', 0x80, 0xa1, 'b',  0xc4, 0x00};
  wire::ValueParser parser{Limits{}};
  const auto value = parser.parse(bytes);
  ASSERT_TRUE(value.has_value()) << value.error();
  EXPECT_EQ(to_json(*value),
            "{\"a\": [1, -1, 1.5, null, true], \"q\\\"\\u000a\": {}, \"b\": null}");
}

TEST(EndpointTest, HasANameOrAnAddress) {
  struct Case {
    const char* text;
    const char* host;
    const char* port;
  };
  for (const Case& c :
       {Case{"tcp://127.0.0.1:7171", "127.0.0.1", "7171"}, Case{"tls://server:1", "server", "1"},
        Case{"tls://[2001:db8::1]:65535", "2001:db8::1", "65535"}}) {
    const auto endpoint = parse_endpoint(c.text);
    ASSERT_TRUE(endpoint.has_value()) << c.text;
    EXPECT_EQ(endpoint->host, c.host);
    EXPECT_EQ(endpoint->port, c.port);
  }
  EXPECT_EQ(parse_endpoint("tls://a:1")->transport, net::Transport::tls);
  EXPECT_EQ(parse_endpoint("tcp://a:1")->transport, net::Transport::tcp);
  const auto path = parse_endpoint("unix:/run/x.sock");
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(path->transport, net::Transport::unix_socket);
  EXPECT_EQ(path->path, "/run/x.sock");
}

TEST(EndpointTest, RefusesTheRest) {
  for (const char* text : {"", "server", "server:7171", "http://a:1", "unix:", "unix:relative",
                           "tcp://a", "tcp://a:", "tcp://a:0", "tcp://a:65536", "tcp://a:1x",
                           "tcp://:1", "tcp://::1:1", "tcp://[]:1", "tcp://a/b:1"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_FALSE(endpoint.has_value()) << text;
    EXPECT_NE(endpoint.error().text.find("\"" + std::string(text) + "\""), std::string::npos);
  }
}

Result<std::string> token_in(const std::string& text) {
  std::istringstream stream(text);
  return read_token(stream);
}

TEST(Token, IsAloneOrTheFirstOfAList) {
  EXPECT_EQ(*token_in("abc"), "abc");
  EXPECT_EQ(*token_in("# a comment\n\n  abc  \r\nother\n"), "abc");
  EXPECT_EQ(*token_in("health read abc\napp all def\n"), "abc");
  EXPECT_EQ(*token_in("health read abc sessions=2 bytes=1GiB\n"), "abc");
  for (const std::string& text : {std::string(), std::string("# none\n"), std::string("xx yy\n"),
                                  std::string("a b xx yy\n"), std::string(1025, 'x')}) {
    const auto token = token_in(text);
    ASSERT_FALSE(token.has_value());
    EXPECT_EQ(token.error().text.find("xx"), std::string::npos);
  }
}

}  // namespace
}  // namespace outrigger::ctl
