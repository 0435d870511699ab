// Any input to a live session: each request gets exactly one terminal reply, the session still
// answers, and its end frees its memory. The first byte decides if the rest is a stream of frames
// from a socket, or choices for requests with programs of any ops.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "engine/session/engine.hpp"
#include "engine/session/session.hpp"
#include "fuzz/random_program.hpp"
#include "support/encode.hpp"
#include "support/kernel_units.hpp"
#include "tensor/packing.hpp"
#include "wire/frame.hpp"
#include "wire/request.hpp"
#include "wire/value.hpp"

namespace {

using namespace outrigger;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Limits limits;
constexpr std::uint64_t memory_limit = std::uint64_t{32} << 20;
constexpr std::uint64_t run_ms = 50;
constexpr std::uint64_t last_id = std::uint64_t{1} << 62;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "session_fuzz: %s\n", what);
  std::abort();
}

class Mailbox : public engine::Outbox {
 public:
  void send(wire::Frame frame) override {
    wire::ValueParser parser(limits);
    const auto reply = parser.parse(std::span(frame).subspan(4));
    if (!reply) fail("a reply that is not msgpack");
    std::uint64_t id = 0;
    bool status = false;
    bool event = false;
    for (const auto [key, value] : reply->entries()) {
      if (key == "id") id = value.natural();
      if (key == "status") status = true;
      if (key == "event") event = true;
    }
    if (status == event) fail("neither a reply nor an event");
    if (event) return;
    {
      const std::lock_guard lock(mutex_);
      ++replies_[id];
      ++count_;
    }
    arrived_.notify_one();
  }

  /// Waits until each id has as many replies as requests.
  bool wait(const std::map<std::uint64_t, int>& requests, std::size_t count) {
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, seconds(60), [&] { return count_ >= count; });
    return replies_ == requests;
  }
  bool has(std::uint64_t id) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, seconds(20), [&] { return replies_.contains(id); });
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::uint64_t, int> replies_;
  std::size_t count_ = 0;
};

const std::shared_ptr<engine::Engine>& the_engine() {
  // It is never destroyed: its thread must not outlive the static objects of main.
  static const auto* const made =
      new std::shared_ptr(engine::make_engine(engine::EngineOptions{1, memory_limit, limits}));
  return *made;
}

/// The folder of the sessions' files: a path in the input is replaced by one of a few paths in it.
class Files {
 public:
  std::string path_for(const std::string& path) {
    used_ = true;
    return folder() + "/" + std::to_string(path.size() % 4) + ".npy";
  }
  /// An input does not see the files of another input.
  void clear() {
    if (!used_) return;
    for (const auto& entry : std::filesystem::directory_iterator(folder()))
      std::filesystem::remove(entry);
    used_ = false;
  }

 private:
  static const std::string& folder() {
    static const std::string made = [] {
      std::string name = std::filesystem::temp_directory_path() / "session_fuzz.XXXXXX";
      if (::mkdtemp(name.data()) == nullptr) fail("no folder for files");
      return name;
    }();
    static const int at_end = std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(folder(), ignored);
    });
    static_cast<void>(at_end);
    return made;
  }

  bool used_ = false;
};

/// One session, with a count of its requests and replies.
class Client {
 public:
  Client() : session_(engine::open_session(the_engine(), mailbox_)) {}

  bool finished() const { return session_->finished(); }

  void submit(wire::Request request, std::shared_ptr<const wire::Frame> frame) {
    if (auto* load = std::get_if<wire::Load>(&request.body))
      load->path = files_.path_for(load->path);
    if (auto* save = std::get_if<wire::Save>(&request.body))
      save->path = files_.path_for(save->path);
    if (auto* save = std::get_if<wire::SaveNpz>(&request.body))
      save->path = files_.path_for(save->path);
    if (auto* run = std::get_if<wire::Run>(&request.body))
      run->deadline_ms = std::min(run->deadline_ms.value_or(run_ms), run_ms);
    if (const auto* publish = std::get_if<wire::Publish>(&request.body))
      published_.insert(publish->name);
    said_bye_ = said_bye_ || std::holds_alternative<wire::Bye>(request.body);
    owe(request.id);
    session_->submit(std::move(request), std::move(frame));
  }
  template <typename Body>
  std::uint64_t submit(Body body) {
    submit(wire::Request{++id_, std::move(body)}, std::make_shared<const wire::Frame>(64));
    return id_;
  }
  void refuse(const wire::Refusal& refusal) {
    owe(refusal.id);
    session_->refuse(refusal);
  }

  /// Compares the counts, and closes the session.
  void finish() {
    if (!said_bye_) {
      if (!mailbox_->wait(owed_, count_)) fail("not exactly one terminal reply for each request");
      session_->submit(wire::Request{last_id, wire::Ping{}}, nullptr);
      if (!mailbox_->has(last_id)) fail("no answer to ping");
      if (session_->pending_requests() != 0 || session_->pending_bytes() != 0)
        fail("requests pending after the last reply");
    }
    session_->close();
    session_.reset();
    unpublish();
    const auto until = std::chrono::steady_clock::now() + seconds(20);
    while (the_engine()->memory().used() > 0) {
      if (std::chrono::steady_clock::now() > until) fail("memory in use after close");
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    files_.clear();
  }

 private:
  /// Published tensors outlive the session: another one takes them away.
  void unpublish() const {
    if (published_.empty()) return;
    const auto session = engine::open_session(the_engine(), std::make_shared<Mailbox>());
    session->submit(wire::Request{1, wire::Hello{1, "fuzz"}}, nullptr);
    std::uint64_t id = 1;
    for (const std::string& name : published_)
      session->submit(wire::Request{++id, wire::Unpublish{name}}, nullptr);
    while (session->pending_requests() != 0)
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    session->close();
  }

  void owe(std::uint64_t id) {
    ++owed_[id];
    ++count_;
  }

  Files files_;
  std::set<std::string> published_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  std::shared_ptr<engine::Session> session_;
  std::map<std::uint64_t, int> owed_;
  std::size_t count_ = 0;
  bool said_bye_ = false;
  std::uint64_t id_ = 0;
};

void raw_frames(std::span<const std::uint8_t> bytes, bool greet) {
  Client client;
  if (greet) client.submit(wire::Request{last_id - 1, wire::Hello{1, "fuzz"}}, nullptr);
  wire::FrameReader reader(limits);
  wire::Decoder decoder(limits);
  bool broken = false;
  while (!bytes.empty() && !broken && !client.finished()) {
    const auto frame = reader.take(bytes);
    if (!frame) break;
    if (!*frame) continue;
    auto request = decoder.decode(**frame);
    if (request) {
      client.submit(std::move(*request), *frame);
    } else {
      broken = request.error().id == 0;
      client.refuse(request.error());
    }
  }
  client.finish();
}

/// Requests of every kind around random programs.
class Requests {
 public:
  explicit Requests(std::span<const std::uint8_t> bytes) : choices_(bytes) {}

  void send() {
    client_.submit(wire::Hello{1, "fuzz"});
    for (int i = 0; i < 3; ++i) create();
    define();
    for (int i = 0; i < 24 && !choices_.empty(); ++i) next();
    client_.finish();
  }

 private:
  std::uint64_t fresh() { return choices_.once_in(64) ? handle() : ++last_handle_; }
  std::uint64_t handle() {
    return choices_.once_in(64) ? choices_.byte() : 1 + choices_.below(last_handle_);
  }

  std::string some_path() { return std::string(choices_.below(4), '/'); }

  void create() {
    constexpr std::array<std::int64_t, 6> dims{3, 4, 1, 2, 12, 0};
    std::vector<std::int64_t> shape(choices_.below(3));
    for (std::int64_t& dim : shape) dim = dims.at(choices_.below(dims.size()));
    const DType dtype = all_dtypes.at(choices_.below(dtype_count));
    auto frame = std::make_shared<wire::Frame>(
        static_cast<std::size_t>(packed_byte_count({dtype, Dims(shape.begin(), shape.end())})));
    for (std::size_t i = 0; i < frame->size(); ++i)
      (*frame)[i] = i % size_of(dtype) == 0 ? choices_.byte() % 8 : 0;
    const std::span<const std::uint8_t> data(frame->data(), frame->size());
    const std::size_t cut =
        choices_.once_in(16) ? choices_.below(frame->size() + 1) : frame->size();
    wire::Upload upload{fresh(), std::string(name_of(dtype)), shape, 0, data.first(cut)};
    client_.submit(wire::Request{++upload_id_, upload}, frame);
    if (cut == frame->size()) return;
    upload.offset = choices_.once_in(4) ? choices_.below(16) : cut;
    upload.data = data.subspan(cut);
    client_.submit(wire::Request{++upload_id_, upload}, frame);
  }

  wire::Run around_program() {
    wire::Run run;
    const std::size_t params = choices_.below(4);
    for (std::size_t i = 0; i < params; ++i) run.args.push_back(handle());
    run.program = ProgramMaker(choices_, callees_).make(params);
    const std::size_t results =
        choices_.once_in(32) ? choices_.below(5) : run.program->outputs.size();
    for (std::size_t i = 0; i < results; ++i) run.results.push_back(fresh());
    run.atomic = choices_.below(4) == 0;
    return run;
  }

  /// Sends the program in the frame, or as the data of a tensor in two parts, of which one byte may
  /// be changed.
  void prepare(std::uint64_t id, Program program) {
    if (choices_.below(4) != 0)
      return static_cast<void>(client_.submit(wire::Prepare{id, std::move(program)}));
    auto frame = std::make_shared<wire::Frame>(test::encode_program(program));
    const std::size_t size = frame->size();
    if (choices_.once_in(4)) (*frame)[choices_.below(size)] = choices_.byte();
    const std::span<const std::uint8_t> data(frame->data(), size);
    const std::size_t cut = choices_.below(size);
    const std::uint64_t handle = fresh();
    wire::Upload upload{handle, "u8", {static_cast<std::int64_t>(size)}, 0, data.first(cut)};
    client_.submit(wire::Request{++upload_id_, upload}, frame);
    upload.offset = cut;
    upload.data = data.subspan(cut);
    if (!choices_.once_in(16)) client_.submit(wire::Request{++upload_id_, upload}, frame);
    client_.submit(wire::Prepare{id, {}, handle});
    client_.submit(wire::Release{{handle}});
  }

  /// Defines one of a few kernels, of which a node may be changed.
  void define() {
    constexpr std::array makers{test::bump_unit, test::at_unit, test::copy_unit, test::double_unit,
                                test::endless_unit};
    kernel::Unit unit = makers.at(choices_.below(makers.size()))();
    if (choices_.below(2) == 0) {
      std::vector<kernel::Node>& nodes = unit.kernels[0].nodes;
      change(nodes.at(choices_.below(nodes.size())));
    }
    client_.submit(wire::DefineKernel{1 + choices_.below(3), std::move(unit)});
  }

  /// The node keeps the form that the decoder has checked.
  void change(kernel::Node& node) {
    using kernel::What;
    constexpr auto first = static_cast<std::size_t>(What::add);
    constexpr auto last = static_cast<std::size_t>(What::atan2);
    const auto what = static_cast<std::size_t>(node.what);
    if (what >= first && what <= last && choices_.below(2) == 0)
      node.what = static_cast<What>(first + choices_.below(last - first + 1));
    else if (node.what == What::number && node.type == kernel::Type::s64)
      node.bits = std::uint64_t{choices_.byte()} << choices_.below(57);
    else if (!node.operands.empty() && choices_.below(2) == 0)
      node.operands.at(choices_.below(node.operands.size())) = choices_.byte() % 16;
    else if (node.what != What::raise)
      node.at = choices_.byte() % 4;
  }

  /// A request about names. There are three of them.
  void names() {
    const std::string name(1 + choices_.below(3), 'n');
    const auto version = [this]() -> std::optional<std::uint64_t> {
      if (!choices_.once_in(4)) return std::nullopt;
      return choices_.below(4);
    };
    switch (choices_.below(9)) {
      case 0:
        client_.submit(wire::Unpublish{name, version()});
        break;
      case 8:
        client_.submit(wire::Checkpoint{});
        break;
      case 1:
        client_.submit(wire::Subscribe{1 + choices_.below(3), name, choices_.below(2) == 0});
        break;
      case 2:
        client_.submit(wire::Unsubscribe{1 + choices_.below(3)});
        break;
      case 3:
        client_.submit(wire::ListNames{name, std::nullopt, 1 + choices_.below(3)});
        break;
      case 4:
      case 5:
        client_.submit(wire::Open{fresh(), name, version(), choices_.below(2) == 0});
        break;
      default:
        client_.submit(wire::Publish{
            handle(), name, version(),
            choices_.once_in(8) ? std::optional(choices_.below(20) + 1) : std::nullopt});
    }
  }

  void next() {
    switch (choices_.below(18)) {
      case 0:
        create();
        break;
      case 1:
        client_.submit(wire::Release{{handle(), handle()}});
        break;
      case 2:
        client_.submit(wire::Download{handle(), choices_.below(32), choices_.below(256)});
        break;
      case 3:
        client_.submit(wire::Info{handle()});
        break;
      case 4:
        client_.submit(wire::Info{});
        break;
      case 5:
        client_.submit(wire::Cancel{last_run_});
        break;
      case 6:
        client_.submit(wire::Forget{choices_.below(3)});
        break;
      case 7: {
        wire::Run run = around_program();
        const std::uint64_t id = 1 + choices_.below(3);
        callees_[id] = {run.program->params.size(), run.program->outputs.size()};
        prepare(id, std::move(*run.program));
        run.program = {};
        run.program_id = id;
        client_.submit(run);
        for (std::uint64_t& result : run.results) result = fresh();
        client_.submit(std::move(run));
        break;
      }
      case 8:
        client_.submit(wire::Save{handle(), some_path()});
        break;
      case 9:
        client_.submit(wire::Load{fresh(), some_path(), std::nullopt});
        break;
      case 10:
        client_.submit(wire::SaveNpz{{handle(), handle()},
                                     {std::string(choices_.below(3), 'a'), "b"},
                                     some_path(),
                                     choices_.below(2) == 0});
        break;
      case 11:
        names();
        break;
      case 12:
        define();
        break;
      case 13:
        client_.submit(wire::ForgetKernel{1 + choices_.below(3)});
        break;
      default:
        last_run_ = client_.submit(around_program());
    }
  }

  using ProgramMaker = fuzz::ProgramMaker;
  fuzz::Choices choices_;
  Client client_;
  ProgramMaker::Callees callees_;
  std::uint64_t last_handle_ = 0;
  std::uint64_t last_run_ = 0;
  std::uint64_t upload_id_ = 1 << 20;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::span rest(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      raw_frames(rest, false);
      break;
    case 1:
      raw_frames(rest, true);
      break;
    default:
      Requests(rest).send();
  }
  return 0;
}
