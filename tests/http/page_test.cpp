// The status page in a browser: headless Chromium draws the figures of a real daemon.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "http/page.hpp"
#include "net/caller.hpp"
#include "support/server_process.hpp"

namespace outrigger::http {
namespace {

using test::ServerProcess;
using test::TemporaryFolder;

struct Shown {
  std::string document;
  std::string log;
};

/// The document after some seconds, as Chromium has it then, and what the page did wrong. It
/// reaches no other host than 127.0.0.1.
Shown open_in_browser(const std::string& url, const TemporaryFolder& folder) {
  const std::string log = folder.file("log");
  const std::string command =
      "timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
      "--enable-logging=stderr --user-data-dir=" +
      folder.file("profile") +
      " --host-resolver-rules='MAP * ~NOTFOUND , EXCLUDE 127.0.0.1' --virtual-time-budget=6000 "
      "--dump-dom " +
      url + " 2>" + log;
  Shown out;
  FILE* pipe = ::popen(command.c_str(), "r");
  std::array<char, 4096> part{};
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe))
    out.document.append(part.data(), count);
  ::pclose(pipe);
  std::ifstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("CONSOLE") != std::string::npos) out.log += line + "\n";
  }
  return out;
}

TEST(StatusPage, ShowsTheFiguresOfTheDaemon) {
  if (std::system("command -v chromium >/dev/null") != 0) GTEST_SKIP() << "chromium is not there";
  const TemporaryFolder folder;
  const std::string evil = "<img/src=x/onerror=document.title=1>";
  const std::string token(32, 't');
  const std::string list = folder.write("tokens", evil + " all " + token + "\n");
  const ServerProcess server({"--listen", "tcp://127.0.0.1:0", "--http", "127.0.0.1:0",
                              "--slow-time", "0", "--token-file", list},
                             {}, 2);
  ASSERT_EQ(server.addresses().size(), 2U) << server.log();
  testing::Caller client(server.addresses()[0]);
  ASSERT_TRUE(client.auth(token).ok());
  ASSERT_TRUE(client.hello().ok());
  ASSERT_TRUE(client
                  .ask(test::encode_upload(client.new_id(), 1, "u8", {3}, 0,
                                           std::array<std::uint8_t, 3>{1, 2, 3}))
                  .ok());
  const auto [page, log] = open_in_browser(server.addresses()[1], folder);
  EXPECT_NE(page.find("class=\"state good\" role=\"status\">live<"), std::string::npos) << page;
  EXPECT_NE(page.find("<td class=\"right\">3 B</td>"), std::string::npos);
  EXPECT_NE(page.find("<td>upload</td>"), std::string::npos) << "requests by kind";
  EXPECT_NE(page.find("<polyline points=\""), std::string::npos);
  // The name of a token is text, and no element.
  EXPECT_NE(page.find("<td>&lt;img/src=x"), std::string::npos);
  EXPECT_EQ(page.find("<td><img"), std::string::npos);
  // Chromium logs what the page must not do: inline scripts, requests to other hosts, exceptions.
  EXPECT_EQ(log, "");
}

TEST(StatusPage, NamesNoOtherServer) {
  for (const std::string_view file : {page_html, page_css, page_js}) {
    std::string text(file);
    // The name of a dialect of XML, which nobody asks for.
    if (const auto at = text.find("http://www.w3.org/2000/svg"); at != std::string::npos)
      text.erase(at, 26);
    EXPECT_FALSE(text.empty());
    for (const char* mark : {"http:", "https:", "=\"//", "url(", "@import", "innerHTML"})
      EXPECT_EQ(text.find(mark), std::string::npos) << mark;
  }
}

}  // namespace
}  // namespace outrigger::http
