// Answers without a network: paths, hosts, the text of metrics.

#include "http/answers.hpp"

#include <string>

#include <gtest/gtest.h>

#include "http/json.hpp"
#include "http/metrics.hpp"
#include "http/server.hpp"
#include "http/status.hpp"

namespace outrigger::http {
namespace {

TEST(HttpAddress, IsANumberAndAPort) {
  for (const char* text : {"127.0.0.1:9464", "[::1]:0", "0.0.0.0:80", "http://127.0.0.1:1"})
    EXPECT_TRUE(parse_http_address(text)) << text;
  for (const char* text :
       {"", ":9464", "127.0.0.1", "localhost:9464", "unix:/tmp/s", "tcp://127.0.0.1:1",
        "https://127.0.0.1:1", "127.0.0.1:99999", "::1:80", "127.0.0.1:1/metrics"}) {
    const auto refused = parse_http_address(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_NE(refused.error().text.find("e.g. 127.0.0.1:9464"), std::string::npos);
  }
  EXPECT_EQ(http_text(*parse_http_address("[::1]:9464")), "http://[::1]:9464");
}

TEST(HttpHost, OfAnotherSiteIsForeign) {
  for (const char* host : {"localhost", "localhost:9464", "127.0.0.1", "127.0.0.1:9464", "[::1]",
                           "[::1]:9464", "192.0.2.1:80", ""})
    EXPECT_FALSE(is_foreign_host(host)) << host;
  for (const char* host : {"evil.example", "evil.example:9464", "localhost.evil.example",
                           "127.0.0.1.evil.example", "[evil]:80", ":"})
    EXPECT_TRUE(is_foreign_host(host)) << host;
}

TEST(HttpPath, EndsBeforeTheQuery) {
  EXPECT_EQ(path_of("/metrics?x=1"), "/metrics");
  EXPECT_EQ(path_of("/metrics"), "/metrics");
  EXPECT_EQ(path_of("?"), "");
}

TEST(HttpJson, HasCommasBetweenItemsOnly) {
  JsonWriter out;
  out.begin_object();
  out.entry("a\"\\\n", std::uint64_t{1});
  out.key("b");
  out.begin_array();
  out.text("x");
  out.boolean(true);
  out.nil();
  out.real(0.5);
  out.begin_object();
  out.end_object();
  out.end_array();
  out.entry("c", "d");
  out.end_object();
  EXPECT_EQ(out.take(), R"({"a\"\\\u000a":1,"b":["x",true,null,0.5,{}],"c":"d"})");
}

engine::Vitals vitals() {
  engine::Vitals out;
  out.hello.server = "outriggerd 0.1.0";
  out.hello.isa = "x86-64-v3";
  out.info.compiler = "avx2";
  out.info.memory_used = 4096;
  wire::KindStats run{"run", 5, 1, 700, {}};
  run.buckets[0] = 1;
  run.buckets[4] = 2;
  run.buckets[27] = 1;
  out.stats.kinds = {run, {"ping", 3, 0, 0, {}}};
  out.stats.ops = {{"add", 7}};
  wire::TenantInfo tenant;
  tenant.token = "a\"\\\n\xff";
  tenant.bytes = 9;
  out.info.tenants = {tenant};
  return out;
}

bool has_line(const std::string& text, const std::string& line) {
  return text.find("\n" + line + "\n") != std::string::npos;
}

TEST(HttpMetrics, AHistogramCountsUpToEachBound) {
  const std::string text = metrics_text(vitals(), {}, 12);
  const std::string bucket = "outrigger_request_duration_seconds_bucket{kind=\"run\",le=";
  EXPECT_TRUE(has_line(text, bucket + "\"1e-06\"} 1")) << text;
  EXPECT_TRUE(has_line(text, bucket + "\"8e-06\"} 1"));
  EXPECT_TRUE(has_line(text, bucket + "\"1.6e-05\"} 3"));
  EXPECT_TRUE(has_line(text, bucket + "\"67.108864\"} 3"));
  EXPECT_TRUE(has_line(text, bucket + "\"+Inf\"} 4"));
  EXPECT_TRUE(has_line(text, "outrigger_request_duration_seconds_count{kind=\"run\"} 4"));
  EXPECT_TRUE(has_line(text, "outrigger_request_duration_seconds_sum{kind=\"run\"} 0.0007"));
  EXPECT_EQ(text.find("_bucket{kind=\"ping\""), std::string::npos) << "it has no times";
  EXPECT_TRUE(has_line(text, "outrigger_requests_total{kind=\"ping\"} 3"));
  EXPECT_TRUE(has_line(text, "outrigger_op_instructions_total{op=\"add\"} 7"));
  EXPECT_TRUE(has_line(text, "outrigger_http_requests_total 12"));
  EXPECT_EQ(text.find("checkpoint"), std::string::npos) << "there is no data folder";
}

TEST(HttpMetrics, ALabelIsEscaped) {
  const std::string text = metrics_text(vitals(), {}, 0);
  EXPECT_TRUE(has_line(text, R"(outrigger_token_memory_bytes{token="a\"\\\\x0a\\xff"} 9)"))
      << text.substr(text.find("token_memory"), 300);
}

}  // namespace
}  // namespace outrigger::http
