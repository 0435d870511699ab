// The system has no more memory, at any moment: each allocation of a session fails once. Each
// request must get exactly one reply, and afterwards the session must work, with the state from
// before.

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "data/disk.hpp"
#include "engine/builder.hpp"
#include "engine/session/engine.hpp"
#include "net/connection.hpp"
#include "support/client.hpp"
#include "support/encode.hpp"
#include "support/reply.hpp"

namespace {

/// The number of allocations before the one that fails; negative if no allocation is to fail.
std::atomic<long> left_before_failure{-1};
/// True for the client's thread, whose allocations do not fail.
thread_local bool exempt = false;

bool fails_now() {
  if (exempt || left_before_failure.load(std::memory_order_relaxed) < 0) return false;
  if (left_before_failure.fetch_sub(1) != 0) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace

// These functions replace malloc for all callers in the process: operator new, and libraries.
extern "C" {
void* __libc_malloc(std::size_t bytes);                     // NOLINT
void* __libc_calloc(std::size_t count, std::size_t bytes);  // NOLINT
void* __libc_realloc(void* old, std::size_t bytes);         // NOLINT

void* malloc(std::size_t bytes) { return fails_now() ? nullptr : __libc_malloc(bytes); }
void* calloc(std::size_t count, std::size_t bytes) {
  return fails_now() ? nullptr : __libc_calloc(count, bytes);
}
void* realloc(void* old, std::size_t bytes) {
  return fails_now() ? nullptr : __libc_realloc(old, bytes);
}
}

namespace outrigger::engine::test {
namespace {

using outrigger::test::Payload;
using outrigger::test::Reply;
using outrigger::test::RunOptions;
using Handles = std::vector<std::uint64_t>;

/// Without the time that a disk takes: there is a checkpoint in each of thousands of rounds.
class QuickDisk : public data::Disk {
 public:
  Result<void> sync(int, const std::string&) override { return {}; }
  Result<void> sync_folder(const std::string&) override { return {}; }
};

/// A connection with a real engine, and the client's end of it.
class Daemon {
 public:
  Daemon() {
    EngineOptions options{2, 0, {}};
    options.compile.when = ops::Compile::When::always;
    engine = make_engine(options);
    DataOptions data;
    data.folder = std::filesystem::temp_directory_path() /
                  ("outrigger_no_memory_data_" + std::to_string(::getpid()));
    data.interval = std::chrono::milliseconds(0);
    folder_ = data.folder;
    if (!engine->keep_data(std::move(data), std::make_unique<QuickDisk>())) std::abort();
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
    fd_ = ends[0];
    const auto open = [this](std::shared_ptr<Outbox> outbox) {
      return open_session(engine, std::move(outbox));
    };
    net::Connection::start(io_, buffers_,
                           std::make_shared<net::DescriptorStream>(io_, ends[1], ::dup(ends[1])),
                           open, [](net::End) {});
    thread_ = std::thread([this] { io_.run(); });
    EXPECT_TRUE(ask(outrigger::test::encode_hello(next_id())).ok());
  }
  ~Daemon() {
    ::close(fd_);
    work_.reset();
    thread_.join();
    std::filesystem::remove_all(folder_);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  std::uint64_t next_id() { return ++last_id_; }

  void send(const Payload& payload) const {
    Payload frame;
    for (int shift = 24; shift >= 0; shift -= 8)
      frame.push_back(static_cast<std::uint8_t>(payload.size() >> shift));
    frame.insert(frame.end(), payload.begin(), payload.end());
    for (std::size_t sent = 0; sent < frame.size();) {
      const ssize_t count = ::write(fd_, frame.data() + sent, frame.size() - sent);
      if (count <= 0) return;
      sent += static_cast<std::size_t>(count);
    }
  }
  /// The next reply; its status is "none" if there is none in time.
  Reply receive() const {
    timeval patience{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::array<std::uint8_t, 4> header{};
    Reply none;
    none.status = "none";
    if (!fill(header.data(), header.size())) return none;
    std::size_t length = 0;
    for (const std::uint8_t byte : header) length = length << 8 | byte;
    Payload payload(length);
    return fill(payload.data(), length) ? outrigger::test::decode_reply(payload) : none;
  }
  Reply ask(const Payload& payload) const {
    send(payload);
    Reply reply = receive();
    while (reply.status.empty()) reply = receive();  // events
    return reply;
  }

  std::shared_ptr<Engine> engine;

 private:
  bool fill(std::uint8_t* to, std::size_t bytes) const {
    for (std::size_t got = 0; got < bytes;) {
      const ssize_t count = ::read(fd_, to + got, bytes - got);
      if (count <= 0) return false;
      got += static_cast<std::size_t>(count);
    }
    return true;
  }

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  net::ReadBuffers buffers_{Limits{}};
  std::thread thread_;
  std::string folder_;
  int fd_ = -1;
  std::uint64_t last_id_ = 0;
};

/// Requests of all kinds, with handles of its own. The number of a handle tells which request
/// made it.
class Script {
 public:
  Script(Daemon& daemon, std::uint64_t round)
      : daemon_(daemon), base_(round * 1000 + 1), round_(round) {
    path_ = std::filesystem::temp_directory_path() /
            ("outrigger_no_memory_" + std::to_string(::getpid()));
    using namespace outrigger::test;  // NOLINT(google-build-using-namespace): its encoders
    const Attrs axes{{"axes", List{0}}};
    const Program elementwise{
        {0, 1},
        {op("multiply", {v(0), v(1)}, 2), op("exp", {v(2)}, 3), op("add", {v(3), real(0.5)}, 4)},
        {4}};
    std::vector<float> numbers(64 * 64, 0.25F);
    const std::span<const std::uint8_t> data(reinterpret_cast<const std::uint8_t*>(numbers.data()),
                                             numbers.size() * sizeof(float));
    add(encode_upload(id(), h(0), "f32", {64, 64}, 0, data.first(8192)));
    add(encode_upload(id(), h(0), "f32", {64, 64}, 8192, data.subspan(8192)));
    add(encode_run(id(), elementwise, Handles{h(0), h(0)}, Handles{h(1)}));
    add(encode_prepare(id(), program(0), elementwise));
    add(encode_prepare(id(), program(1),
                       {{0}, {call(program(0), {0, 0}, 1), op("sum", {v(1)}, 2, axes)}, {1, 2}}));
    add(encode_call(id(), program(1), Handles{h(0)}, Handles{h(2), h(3)}));
    add(encode_call(id(), program(1), Handles{h(0)}, Handles{h(4), h(5)},
                    {.atomic = true, .profile = true}));
    add(encode_call(id(), program(0), Handles{h(4), h(1)}, Handles{h(6)}, {.donated = {h(4)}}));
    // The program writes in place and then fails: it needs `written` and the undo log.
    const Program writes{{0},
                         {in_place(op("add", {v(0), number(1)}, 1)), constant(2, 99, "s32", {1}),
                          op("take", {v(1), v(2)}, 3, {{"axis", Number{std::int64_t{0}}}})},
                         {3}};
    add(encode_run(id(), writes, Handles{h(2)}, Handles{h(7)}), true);
    add(encode_run(id(), writes, Handles{h(2)}, Handles{h(8)}, {.atomic = true}), true);
    // The length is large enough for the team, and differs in each round, so that it needs a new
    // plan.
    const auto length = static_cast<std::int64_t>(1000 + round % 500);
    const Program large{
        {},
        {iota(0, "f32", {96, length}), op("fft", {v(0)}, 1), op("sort", {v(0)}, 2),
         op("transpose", {v(0)}, 3), op("dot", {v(0), v(3)}, 4), op("sum", {v(4)}, 5, axes)},
        {1, 2, 5}};
    add(encode_run(id(), large, {}, Handles{h(9), h(10), h(11)}));
    const Program linear_algebra{{},
                                 {iota(0, "f32", {4, 4}), op("eye", {}, 1, typed("f32", {4, 4})),
                                  op("multiply", {v(1), real(50)}, 2), op("add", {v(0), v(2)}, 3),
                                  op("solve", {v(3), v(1)}, 4)},
                                 {4}};
    add(encode_run(id(), linear_algebra, {}, Handles{h(12)}));
    const Program counting{{},
                           {constant(0, 0, "s32", {}),
                            loop({v(0)}, {5}, Region{{1}, {op("less", {v(1), number(9)}, 2)}, {2}},
                                 Region{{3}, {op("add", {v(3), number(1)}, 4)}, {4}})},
                           {5}};
    add(encode_run(id(), counting, {}, Handles{h(13)}));
    add(encode_define_kernel(id(), kernel(), "components/6"));
    const Program components{{},
                             {constant(0, 1, "s32", {3, 2}), iota(1, "s32", {4}),
                              kernel_call({0, 1}, {2, 3}), in_place(kernel_call({0, 1}, {4}))},
                             {2, 3, 4}};
    add(encode_run(id(), components, {}, Handles{h(17), h(18), h(19)}));
    // The kernel reads the place 99 of four.
    const Program outside{
        {},
        {constant(0, 99, "s32", {3, 2}), iota(1, "s32", {4}), kernel_call({0, 1}, {2, 3})},
        {2}};
    add(encode_run(id(), outside, {}, Handles{h(20)}), true);
    add(encode_save(id(), h(1), path_ + ".npy"));
    add(encode_load(id(), h(14), path_ + ".npy"));
    add(encode_save_npz(id(), Handles{h(1)}, {"x"}, path_ + ".npz", true));
    add(encode_load(id(), h(15), path_ + ".npz"));
    add(encode_info(id(), h(1)));
    add(encode_simple(id(), "info"));
    add(encode_simple(id(), "ping"));
    add(encode_cancel(id(), 1));
    add(encode_download(id(), h(1), 0, 16384));
    add(encode_subscribe(id(), 1, ""));
    add(encode_publish(id(), h(1), "x"));
    add(encode_publish(id(), h(6), "x", std::nullopt, 60'000));
    add(encode_open(id(), h(16), "x", true));
    add(encode_names(id()));
    add(encode_simple(id(), "checkpoint"));
    add(encode_unpublish(id(), "x"));
    add(encode_unsubscribe(id(), 1));
    add(encode_forget(id(), program(1)));
    add(encode_release(id(), Handles{h(9), h(10), h(11)}));
  }
  ~Script() {
    std::filesystem::remove(path_ + ".npy");
    std::filesystem::remove(path_ + ".npz");
  }
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;

  /// Sends all requests and reads as many replies. Returns the number of requests that failed
  /// although they need not.
  std::size_t run(bool may_fail) {
    for (const Step& step : steps_) daemon_.send(step.payload);
    std::set<std::uint64_t> answered;
    std::size_t failed = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const Reply reply = daemon_.receive();
      if (reply.status == "none") {
        ADD_FAILURE() << "no reply, after " << i << " of " << steps_.size();
        return failed;
      }
      if (reply.status.empty()) {  // an event
        --i;
        continue;
      }
      EXPECT_TRUE(answered.insert(reply.id).second) << "two replies to " << reply.id;
      const auto step = std::find_if(steps_.begin(), steps_.end(),
                                     [&](const Step& s) { return s.id == reply.id; });
      EXPECT_NE(step, steps_.end()) << reply.text();
      if (step == steps_.end() || reply.ok() || (step->fails && reply.code() == "bad_index"))
        continue;
      ++failed;
      static const std::set<std::string> follows{
          "out_of_memory", "bad_handle", "unknown_program", "unknown_kernel", "failed_operand",
          "io_error",      "bad_file",   "bad_index",       "unknown_name"};
      EXPECT_TRUE(may_fail && follows.contains(reply.code())) << reply.text();
    }
    return failed;
  }

  /// Checks that nothing remains.
  void clean() {
    Handles all;
    for (std::uint64_t i = 0; i < 21; ++i) all.push_back(h(i));
    EXPECT_TRUE(daemon_.ask(outrigger::test::encode_release(id(), all)).ok());
    EXPECT_TRUE(daemon_.ask(outrigger::test::encode_unpublish(id(), "x")).ok());
    EXPECT_TRUE(daemon_.ask(outrigger::test::encode_unsubscribe(id(), 1)).ok());
    for (const std::uint64_t i : {0, 1})
      EXPECT_TRUE(daemon_.ask(outrigger::test::encode_forget(id(), program(i))).ok());
    EXPECT_TRUE(daemon_.ask(outrigger::test::encode_forget_kernel(id(), kernel())).ok());
    const Reply info = daemon_.ask(outrigger::test::encode_simple(id(), "info"));
    EXPECT_EQ(info.numbers.at("memory.used"), 0U);
    EXPECT_EQ(info.numbers.at("tensors"), 0U);
    EXPECT_EQ(info.numbers.at("programs"), 0U);
    EXPECT_EQ(info.numbers.at("kernels"), 0U);
    EXPECT_EQ(info.numbers.at("queue"), 0U);
  }

 private:
  struct Step {
    std::uint64_t id;
    Payload payload;
    bool fails;
  };
  std::uint64_t id() { return last_ = daemon_.next_id(); }
  std::uint64_t h(std::uint64_t n) const { return base_ + n; }
  std::uint64_t program(std::uint64_t n) const { return 2 * round_ + n + 1; }
  std::uint64_t kernel() const { return round_ + 1; }
  void add(Payload payload, bool fails = false) {
    steps_.push_back({last_, std::move(payload), fails});
  }
  Instruction kernel_call(Ids in, Ids out) const {
    Instruction made{"kernel", {in.begin(), in.end()}, std::move(out), {}, {}, false};
    made.attrs.emplace_back("kernel_id", Number{static_cast<std::int64_t>(kernel())});
    return made;
  }
  static Instruction call(std::uint64_t program_id, Ids in, ValueId out) {
    Instruction made = op("call", {in.begin(), in.end()}, out);
    made.attrs.emplace_back("program_id", Number{static_cast<std::int64_t>(program_id)});
    return made;
  }

  Daemon& daemon_;
  const std::uint64_t base_;
  const std::uint64_t round_;
  std::uint64_t last_ = 0;
  std::string path_;
  std::vector<Step> steps_;
};

TEST(NoMemory, AnyAllocationOfASessionMayFail) {
  exempt = true;
  Daemon daemon;
  std::uint64_t round = 0;
  // The first rounds load and make the data that exists once in the process: LAPACK, tables, the
  // team's threads.
  for (; round < 3; ++round) {
    Script script(daemon, round);
    ASSERT_EQ(script.run(false), 0U);
    script.clean();
  }
  std::size_t rounds_that_failed = 0;
  for (long n = 0;; ++n, ++round) {
    SCOPED_TRACE("allocation " + std::to_string(n));
    Script script(daemon, round);
    left_before_failure = n;
    const std::size_t failed = script.run(true);
    const bool reached = left_before_failure.exchange(-1) < 0;
    script.clean();
    if (testing::Test::HasFailure()) break;
    if (!reached) break;
    rounds_that_failed += failed > 0 ? 1 : 0;
    ASSERT_LT(n, 100'000) << "it never ends";
  }
  std::printf("  %llu rounds, %zu with a request that failed\n",
              static_cast<unsigned long long>(round), rounds_that_failed);
  EXPECT_GT(rounds_that_failed, 100U);
}

/// The address space of a process, in bytes.
std::uint64_t address_space(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t pages = 0;
  file >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

TEST(NoMemory, ADaemonWithoutAddressSpaceLives) {
  exempt = true;
  using outrigger::test::Client;
  using outrigger::test::DaemonClient;
  auto transport = std::make_unique<DaemonClient>(
      outrigger::test::EngineSettings{.threads = 2, .memory_limit = 0});
  const int pid = transport->pid();
  Client client(std::move(transport));
  const Handles first{client.new_handle()};
  ASSERT_TRUE(client.run(Program{{}, {iota(0, "f32", {4})}, {0}}, {}, first).ok());
  const std::uint64_t limit = address_space(pid) + (std::uint64_t{24} << 20);
  const rlimit most{limit, limit};
  ASSERT_EQ(::prlimit(pid, RLIMIT_AS, &most, nullptr), 0);
  std::set<std::string> codes;
  Handles made;
  // Makes tensors, programs, plans and errors until the address space is used up.
  for (int i = 0; i < 100; ++i) {
    const Handles one{client.new_handle()};
    const std::int64_t n = i % 3 == 0 ? 1 << 18 : 1 << 8;
    Program program{{}, {iota(0, "f32", {n})}, {0}};
    for (ValueId k = 0; k < 500; ++k) program.body.push_back(op("cumulative_sum", {v(k)}, k + 1));
    program.outputs = {500};
    codes.insert(client.run(program, {}, one).code());
    codes.insert(
        client.wait(client.prepare_later(1 + static_cast<std::uint64_t>(i), program)).code());
    made.push_back(one[0]);
  }
  EXPECT_TRUE(codes.contains("out_of_memory"));
  client.release(made);
  EXPECT_TRUE(client.ping().ok());
  const Handles last{client.new_handle()};
  EXPECT_TRUE(client.run(Program{{}, {iota(0, "f32", {4})}, {0}}, {}, last).ok());
  EXPECT_EQ(client.info().numbers.at("tensors"), 2U);
}

}  // namespace
}  // namespace outrigger::engine::test
