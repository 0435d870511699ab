#include "net/address.hpp"

#include <gtest/gtest.h>

#include "base/text.hpp"

namespace outrigger::net {
namespace {

TEST(Address, IsReadAndWritten) {
  for (const char* text : {"unix:/run/outrigger.sock", "tcp://127.0.0.1:7171", "tcp://0.0.0.0:0",
                           "tls://[::]:7171", "tls://[::1]:65535", "tcp://[2001:db8::1]:80"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << address.error().text;
    EXPECT_EQ(address->text(), text);
  }
}

TEST(Address, WhatIsNoneIsRefusedByName) {
  const std::string long_path = "unix:/" + std::string(200, 'a');
  for (const std::string& text :
       {std::string("127.0.0.1:80"), std::string("http://127.0.0.1:80"), std::string(""),
        std::string("unix:"), std::string("unix:relative.sock"), long_path,
        std::string("tcp://127.0.0.1"), std::string("tcp://127.0.0.1:"),
        std::string("tcp://127.0.0.1:65536"), std::string("tcp://127.0.0.1:80x"),
        std::string("tcp://127.0.0.1:-1"), std::string("tcp://localhost:80"),
        std::string("tcp://::1:80"), std::string("tcp://[127.0.0.1]:80"), std::string("tcp://:80"),
        std::string("tls://[]:80"), std::string("unix:/a\0b", 9)}) {
    const auto address = parse_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_NE(address.error().text.find("\"" + as_text(text) + "\""), std::string::npos);
  }
}

TEST(Address, IsLocalIfNoOtherMachineCanReachIt) {
  for (const char* text : {"unix:/a", "tcp://127.0.0.1:1", "tcp://127.9.9.9:1", "tls://[::1]:1",
                           "tcp://[::ffff:127.0.0.1]:1"})
    EXPECT_TRUE(parse_address(text)->local()) << text;
  for (const char* text : {"tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://192.0.2.1:1",
                           "tls://[2001:db8::1]:1", "tcp://[::ffff:192.0.2.1]:1"})
    EXPECT_FALSE(parse_address(text)->local()) << text;
}

}  // namespace
}  // namespace outrigger::net
