// The commands of outriggerctl that list, read and write published tensors.

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/run_ctl.hpp"
#include "support/server_process.hpp"

namespace outrigger::ctl {
namespace {

using test::ServerProcess;
using test::TemporaryFolder;

const std::string data = OUTRIGGER_SOURCE_DIR "/tests/files/data/";

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> out;
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

class CtlTensors : public testing::Test {
 protected:
  CtlTensors() : server_({"--listen", "unix:" + folder_.file("s"), "--threads", "1"}) {}

  /// outriggerctl with these words, for the server.
  Ended run(const std::string& words) {
    return ctl(words + " --connect " + server_.addresses().at(0));
  }

  const TemporaryFolder folder_;
  const ServerProcess server_;
};

TEST_F(CtlTensors, AnArrayGoesInAndComesOutAgain) {
  // NumPy wrote these files in C order and little-endian: the same bytes come back.
  for (const std::string& name : {std::string("f8_little"), std::string("c8_little"),
                                  std::string("i2_little"), std::string("empty")}) {
    const Ended put = run("put " + data + name + ".npy " + name);
    EXPECT_EQ(put.status, 0) << put.output;
    EXPECT_TRUE(put.output.starts_with("version ")) << put.output;
    const Ended get = run("get " + name + " " + folder_.file(name));
    EXPECT_EQ(get.status, 0) << get.output;
    EXPECT_EQ(get.output, "");
    const std::string written = contents(folder_.file(name));
    const std::string given = contents(data + name + ".npy");
    // The headers may have other spaces.
    const auto elements = [](const std::string& file) { return file.substr(file.find('\n') + 1); };
    EXPECT_EQ(elements(written), elements(given)) << name;
  }
  // Other orders of axes and bytes arrive as the same elements.
  EXPECT_EQ(run("put " + data + "f8_big.npy x").status, 0);
  EXPECT_EQ(run("get x " + folder_.file("x")).status, 0);
  EXPECT_EQ(contents(folder_.file("x")), contents(folder_.file("f8_little")));
}

TEST_F(CtlTensors, MoreThanAFrameGoesInChunks) {
  std::string header = "{'descr': '<u4', 'fortran_order': False, 'shape': (1000003,), }";
  header.append(127 - 10 - header.size(), ' ') += '\n';
  std::string file = std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header;
  ASSERT_EQ(file.size(), 128U);
  for (std::uint32_t i = 0; i < 1'000'003; ++i) {
    const std::uint32_t x = i * 2654435761U;
    file.append(reinterpret_cast<const char*>(&x), 4);
  }
  const std::string path = folder_.write("large.npy", file);
  const Ended put = run("put " + path + " large");
  EXPECT_EQ(put.status, 0) << put.output;
  EXPECT_EQ(run("get large " + folder_.file("back")).status, 0);
  const std::string back = contents(folder_.file("back"));
  EXPECT_EQ(back.substr(back.find('\n') + 1), file.substr(128));
}

TEST_F(CtlTensors, ListsNames) {
  EXPECT_EQ(run("ls").output, "NAME  TYPE  SIZE  VERSION  ENDS IN  TOKEN\n");
  EXPECT_EQ(run("ls --json").output, "[]\n");
  ASSERT_EQ(run("put " + data + "f8_little.npy weights/a --ttl 1000").status, 0);
  ASSERT_EQ(run("put " + data + "empty.npy other").status, 0);
  const auto all = lines(run("ls").output);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_TRUE(all[1].starts_with("other      ")) << all[1];
  EXPECT_TRUE(all[2].starts_with("weights/a  f64[")) << all[2];
  EXPECT_NE(all[2].find("16 min"), std::string::npos) << all[2];
  EXPECT_EQ(lines(run("ls weights/").output).size(), 2U);
  EXPECT_EQ(ctl("ls --json --connect " + server_.addresses()[0] +
                " | python3 -c 'import json, sys; "
                "print([x[\"name\"] for x in json.load(sys.stdin)])'")
                .output,
            "['other', 'weights/a']\n");
}

TEST_F(CtlTensors, ListsMoreNamesThanAReplyHas) {
  // The server gives 1,000 names at a time: the test publishes one tensor under 2,001 names.
  const Ended published =
      ctl("--version; cd " OUTRIGGER_SOURCE_DIR
          "/tests/clients && exec /usr/bin/python3 -B -c '"
          "import client, numpy, sys\n"
          "c = client.connect(sys.argv[1])\n"
          "h = c.upload(numpy.arange(3))\n"
          "for i in range(2001): c.request(\"publish\", handle=h.handle, name=str(i).zfill(5))\n"
          "' " +
          server_.addresses()[0]);
  ASSERT_EQ(published.status, 0) << published.output;
  EXPECT_EQ(lines(run("ls").output).size(), 2002U);
}

TEST_F(CtlTensors, RefusalsSayWhy) {
  EXPECT_TRUE(fails_with(run("get none " + folder_.file("x")), "unknown_name"));
  EXPECT_TRUE(fails_with(run("put " + folder_.file("none") + " x"), "No such file"));
  EXPECT_TRUE(fails_with(run("put " OUTRIGGER_SOURCE_DIR "/README.md x"), "README.md"));
  ASSERT_EQ(run("put " + data + "f8_little.npy x").status, 0);
  EXPECT_TRUE(fails_with(run("put " + data + "f8_little.npy x --expect 0"), "version_conflict"));
  EXPECT_TRUE(fails_with(run("get x " + folder_.file("y") + " --expect 77"), "version_conflict"));
  EXPECT_EQ(contents(folder_.file("y")), "");
  EXPECT_TRUE(fails_with(run("get x /nowhere/y"), "/nowhere"));
}

TEST_F(CtlTensors, BenchPrintsItsFigures) {
  const Ended table = run("bench --calls 50 --size 4");
  EXPECT_EQ(table.status, 0) << table.output;
  EXPECT_EQ(lines(table.output).size(), 5U) << table.output;
  const Ended json = ctl("bench --calls 50 --size 4 --json --connect " + server_.addresses()[0] +
                         " | python3 -c 'import json, sys; told = json.load(sys.stdin); "
                         "print(len(told), all(x > 0 for x in told.values()))'");
  EXPECT_EQ(json.output, "8 True\n");
}

TEST(CtlCompletion, CompletesCommandsAndOptions) {
  const auto completed = [](const std::string& words, const std::string& position) {
    return ctl("completion bash >/dev/null; exec bash -c 'source <(" OUTRIGGERCTL_PATH
               " completion bash); COMP_WORDS=(outriggerctl " +
               words + "); COMP_CWORD=" + position + "; _outriggerctl; echo \"${COMPREPLY[@]}\"'")
        .output;
  };
  EXPECT_EQ(completed("pi", "1"), "ping\n");
  EXPECT_EQ(completed("get --exp", "2"), "--expect\n");
  EXPECT_EQ(completed("put --tt", "2"), "--ttl\n");
  EXPECT_EQ(completed("ping --tls-c", "2"), "--tls-ca --tls-cert\n");
  EXPECT_EQ(ctl("completion fish").status, 1);
}

}  // namespace
}  // namespace outrigger::ctl
