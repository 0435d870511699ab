// TLS: who gets in, and that it carries frames as the other streams do.

#include "net/tls.hpp"

#include <openssl/ssl.h>

#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "net/caller.hpp"
#include "net/served.hpp"
#include "net/served_sockets.hpp"
#include "support/certificates.hpp"
#include "support/server_process.hpp"
#include "wire/frames.hpp"

namespace outrigger::net {
namespace {

using test::make_certificate;
using test::TlsClient;
using testing::Caller;
using testing::eventually;
using testing::ServedSockets;

class TlsTest : public ::testing::Test {
 protected:
  ServerOptions options(const TlsFiles& files, const std::string& address = "tls://127.0.0.1:0") {
    auto out = testing::serving({address});
    out.tls = make_tls_context(files).value();
    return out;
  }
  ServerOptions options() { return options({server_.certificate_file, server_.key_file, ""}); }
  TlsClient trusting() const { return {.ca = authority_.certificate_file}; }

  test::TemporaryFolder folder_;
  test::Certificate authority_ = make_certificate(folder_.path(), {.name = "authority"});
  test::Certificate foreign_ = make_certificate(folder_.path(), {.name = "foreign"});
  test::Certificate server_ =
      make_certificate(folder_.path(), {.name = "server", .issuer = &authority_});
};

/// Why the client does not get a reply; empty if it does.
std::string refusal(const std::string& address, const TlsClient& tls) {
  try {
    Caller caller(address, tls);
    return caller.hello().code();
  } catch (const std::exception& error) {
    return error.what();
  }
}

TEST_F(TlsTest, ServesWhoTrustsTheCertificate) {
  for (const char* address : {"tls://127.0.0.1:0", "tls://[::1]:0"}) {
    ServedSockets served(options({server_.certificate_file, server_.key_file, ""}, address));
    EXPECT_EQ(refusal(served.address(), trusting()), "");
    EXPECT_NE(refusal(served.address(), {.ca = foreign_.certificate_file}), "");
  }
}

TEST_F(TlsTest, AClientFindsAnExpiredOrForeignCertificate) {
  const auto expired = make_certificate(
      folder_.path(), {.name = "old", .issuer = &authority_, .from_days = -3, .to_days = -1});
  const auto own = make_certificate(folder_.path(), {.name = "own", .issuer = &foreign_});
  for (const auto* certificate : {&expired, &own}) {
    ServedSockets served(options({certificate->certificate_file, certificate->key_file, ""}));
    EXPECT_NE(refusal(served.address(), trusting()).find("certificate verify failed"),
              std::string::npos);
    EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
  }
}

TEST_F(TlsTest, RefusesEarlierVersions) {
  ServedSockets served(options());
  TlsClient earlier = trusting();
  earlier.version_max = TLS1_2_VERSION;
  EXPECT_NE(refusal(served.address(), earlier).find("protocol version"), std::string::npos);
  EXPECT_EQ(refusal(served.address(), trusting()), "");
}

TEST_F(TlsTest, AsksForACertificateOfTheClient) {
  const auto client = make_certificate(folder_.path(), {.name = "client", .issuer = &authority_});
  const auto old = make_certificate(
      folder_.path(), {.name = "oldclient", .issuer = &authority_, .from_days = -3, .to_days = -1});
  const auto other = make_certificate(folder_.path(), {.name = "other", .issuer = &foreign_});
  ServedSockets served(
      options({server_.certificate_file, server_.key_file, authority_.certificate_file}));
  const auto with = [&](const test::Certificate& certificate) {
    TlsClient tls = trusting();
    tls.certificate = certificate.certificate_file;
    tls.key = certificate.key_file;
    return refusal(served.address(), tls);
  };
  EXPECT_EQ(with(client), "");
  EXPECT_NE(with(old), "");
  EXPECT_NE(with(other), "");
  EXPECT_NE(refusal(served.address(), trusting()), "");
  EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
}

TEST_F(TlsTest, CarriesLargePayloadsBothWays) {
  ServedSockets served(options());
  Caller caller(served.address(), trusting());
  ASSERT_TRUE(caller.hello().ok());
  const std::string data((1U << 20) - 1024, 'u');
  for (std::uint64_t id = 2; id < 22; ++id) {
    caller.write(testing::upload_frame(id, data));
    caller.write(testing::download_frame(100 + id, data.size()));
  }
  for (std::uint64_t id = 2; id < 22; ++id) {
    ASSERT_EQ(caller.receive().id, id);
    const auto reply = caller.receive();
    ASSERT_EQ(reply.id, 100 + id);
    EXPECT_EQ(reply.data,
              std::vector<std::uint8_t>(data.size(), static_cast<std::uint8_t>(100 + id)));
  }
}

/// Replies of all sizes around a record's, of which many are gathered in one.
TEST_F(TlsTest, CutsRepliesIntoRecordsAnywhere) {
  ServedSockets served(options());
  Caller caller(served.address(), trusting());
  ASSERT_TRUE(caller.hello().ok());
  std::string requests;
  std::uint64_t id = 2;
  for (std::uint64_t size = 0; size < 400; ++size) requests += testing::download_frame(id++, size);
  for (std::uint64_t size = 16'200; size < 16'500; ++size)
    requests += testing::download_frame(id++, size);
  caller.write(requests);
  const std::uint64_t end = id;
  for (id = 2; id < end; ++id) {
    const auto reply = caller.receive();
    ASSERT_EQ(reply.id, id);
    const std::uint64_t size = id < 402 ? id - 2 : id - 402 + 16'200;
    ASSERT_EQ(reply.data, std::vector<std::uint8_t>(size, static_cast<std::uint8_t>(id)));
  }
}

TEST_F(TlsTest, ManyRequestsInOneRecordAreAllAnswered) {
  ServedSockets served(options(), false);
  Caller caller(served.address(), trusting());
  ASSERT_TRUE(caller.hello().ok());
  std::string requests;
  for (std::uint64_t id = 2; id < 50'000; ++id) requests += testing::simple_frame(id, "ping");
  caller.write(requests);
  for (std::uint64_t id = 2; id < 50'000; ++id) ASSERT_EQ(caller.receive().id, id);
}

TEST_F(TlsTest, GoesOnAfterAPauseWithBytesThatItHolds) {
  Limits limits;
  limits.requests_window = 10;
  ServedSockets served(options(), true, limits);
  Caller caller(served.address(), trusting());
  std::string requests;
  for (std::uint64_t id = 1; id <= 2000; ++id) requests += testing::download_frame(id, 1);
  caller.write(requests);
  for (std::uint64_t id = 1; id <= 2000; ++id) {
    ASSERT_TRUE(eventually([&] { return served.session(0) && served.session(0)->answer(1) == 1; }));
    ASSERT_EQ(caller.receive().id, id);
  }
}

TEST_F(TlsTest, TheLastFrameArrives) {
  auto few = options();
  few.clients_max = 1;
  ServedSockets served(std::move(few));
  Caller first(served.address(), trusting());
  ASSERT_TRUE(first.hello().ok());
  EXPECT_TRUE(Caller(served.address(), trusting()).ends_with("too_many_clients"));
  first.write(std::string(4, '\xff') + std::string(100'000, 'x'));
  EXPECT_TRUE(first.ends_with("bad_frame"));
}

TEST_F(TlsTest, HandshakesThatAreNotFinishedEnd) {
  auto quick = options();
  quick.handshake_timeout = std::chrono::milliseconds(300);
  ServedSockets served(std::move(quick));
  const std::string plain = "tcp" + served.address().substr(3);
  Caller silent(plain);
  Caller half(plain);
  half.write(std::string("\x16\x03\x01\x02\x00\x01\x00\x01", 8));
  EXPECT_TRUE(silent.ends());
  EXPECT_TRUE(half.ends());
  // TLS is ready, but hello does not come.
  EXPECT_TRUE(Caller(served.address(), trusting()).ends_with("timeout"));
  EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
}

TEST_F(TlsTest, WhatIsNoTlsEnds) {
  ServedSockets served(options());
  const std::string plain = "tcp" + served.address().substr(3);
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), testing::frame_of(test::encode_hello(1)),
        std::string(100'000, 'x')}) {
    Caller caller(plain);
    try {
      caller.write(bytes);
    } catch (const std::exception&) {
      // it may have closed
    }
    const auto until_the_end = [&] {
      try {
        for (;;) caller.receive();
      } catch (const std::exception& error) {
        return std::string(error.what());
      }
    };
    EXPECT_NE(until_the_end(), "no reply from the server in time");
  }
  EXPECT_TRUE(eventually([&] { return served.clients() == 0; }));
}

TEST_F(TlsTest, FilesThatDoNotFitAreNamed) {
  const auto text = [](const TlsFiles& files) {
    const auto context = make_tls_context(files);
    return context ? std::string() : context.error().text;
  };
  const std::string garbage = folder_.write("garbage", "no PEM");
  EXPECT_EQ(text({server_.certificate_file, server_.key_file, ""}), "");
  EXPECT_EQ(text({"/nowhere", server_.key_file, ""}).rfind("/nowhere: ", 0), 0U);
  EXPECT_EQ(text({server_.certificate_file, garbage, ""}).rfind(garbage, 0), 0U);
  EXPECT_EQ(text({server_.certificate_file, foreign_.key_file, ""}).rfind(foreign_.key_file, 0),
            0U);
  EXPECT_EQ(text({server_.certificate_file, server_.key_file, garbage}).rfind(garbage, 0), 0U);
}

}  // namespace
}  // namespace outrigger::net
