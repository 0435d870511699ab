// A session without a client, whose program shows that the engine works.

#include <array>
#include <bit>
#include <mutex>
#include <new>
#include <utility>

#include "base/last_memory.hpp"
#include "engine/session/queued_session.hpp"
#include "wire/value.hpp"

namespace outrigger::engine {
namespace {

/// The sum of 0, 1, … 1023 is exact in f32.
constexpr std::int64_t summed = 1024;
constexpr float sum = 523'776;

Program program_of_probe() {
  Instruction numbers;
  numbers.op = "iota";
  numbers.attrs = {{"type", std::string("f32")}, {"shape", std::vector<std::int64_t>{summed}}};
  numbers.out = {0};
  Instruction total;
  total.op = "sum";
  total.in = {ValueId{0}};
  total.out = {1};
  return {{}, {numbers, total}, {1}};
}

wire::Frame expected_data(std::uint64_t id) {
  auto [frame, offset] = wire::encode_data(id, sizeof sum);
  const auto bytes = std::bit_cast<std::array<std::uint8_t, sizeof sum>>(sum);
  std::copy(bytes.begin(), bytes.end(), frame.begin() + static_cast<std::ptrdiff_t>(offset));
  return std::move(frame);
}

std::optional<wire::Value> entry_of(std::optional<wire::Value> map, std::string_view key) {
  if (!map || !map->is(wire::Kind::map)) return std::nullopt;
  for (const auto& [name, value] : map->entries()) {
    if (name == key) return value;
  }
  return std::nullopt;
}

/// The code and the text of an error reply.
std::pair<std::string, std::string> error_in(const wire::Frame& frame) {
  constexpr std::size_t header_bytes = 4;
  wire::ValueParser parser{Limits{}};
  const auto reply = parser.parse(std::span(frame).subspan(header_bytes));
  const auto error = reply ? entry_of(*reply, "error") : std::nullopt;
  const auto text = [&](std::string_view key) {
    const auto value = entry_of(error, key);
    return value && value->is(wire::Kind::string) ? std::string(value->string()) : std::string();
  };
  return {text("code"), text("text")};
}

/// Collects the three replies of a run of the program.
class ProbeOutbox final : public Outbox {
 public:
  void expect(std::uint64_t first_id, Probe::Done done) {
    const std::lock_guard lock(mutex_);
    const wire::ResultType result{1, "f32", {}};
    expected_ = {wire::encode_results(first_id, std::span(&result, 1)), expected_data(first_id + 1),
                 wire::encode_released(first_id + 2, 1)};
    arrived_ = 0;
    outcome_ = Probe::Health::good;
    done_ = std::move(done);
  }

  /// The engine's thread calls it, also where nothing may be thrown.
  void send(wire::Frame frame) override {
    const LastMemory::Use use;
    Probe::Done done;
    Result<Probe::Health> outcome = Probe::Health::good;
    {
      const std::lock_guard lock(mutex_);
      if (!done_) return;  // the reply to hello
      if (frame != expected_[arrived_] && outcome_ && *outcome_ == Probe::Health::good)
        outcome_ = judge(frame);
      if (++arrived_ < expected_.size()) return;
      done = std::exchange(done_, nullptr);
      outcome = outcome_;
    }
    done(outcome);
  }

 private:
  static Result<Probe::Health> judge(const wire::Frame& frame) noexcept {
    try {
      return verdict_of(frame);
    } catch (const std::bad_alloc&) {
      return Probe::Health::no_memory;
    }
  }
  static Result<Probe::Health> verdict_of(const wire::Frame& frame) {
    const auto [code, text] = error_in(frame);
    if (code == name_of(ErrorCode::out_of_memory)) return Probe::Health::no_memory;
    if (code == name_of(ErrorCode::deadline_exceeded))
      return fail(ErrorCode::deadline_exceeded, "the engine did not get to it in time");
    if (code.empty()) return fail(ErrorCode::internal, "the engine has computed a wrong sum");
    return fail(ErrorCode::internal, code + ": " + text);
  }

  std::mutex mutex_;
  std::array<wire::Frame, 3> expected_;
  std::size_t arrived_ = 0;
  Result<Probe::Health> outcome_ = Probe::Health::good;
  Probe::Done done_;
};

class EngineProbe final : public Probe {
 public:
  explicit EngineProbe(std::shared_ptr<Engine> engine)
      : engine_(std::move(engine)),
        session_(std::make_shared<QueuedSession>(*engine_, engine_->probes(), outbox_,
                                                 SessionOptions{}, true)) {
    submit(wire::Hello{1, "probe"});
  }
  EngineProbe(const EngineProbe&) = delete;
  EngineProbe& operator=(const EngineProbe&) = delete;
  ~EngineProbe() override { session_->close(); }

  void start(std::chrono::milliseconds deadline, Done done) override {
    outbox_->expect(last_id_ + 1, std::move(done));
    wire::Run run;
    run.program = program_of_probe();
    run.results = {1};
    run.deadline_ms = static_cast<std::uint64_t>(deadline.count());
    submit(std::move(run));
    submit(wire::Download{1, 0, sizeof sum});
    submit(wire::Release{{1}});
  }

 private:
  template <typename Body>
  void submit(Body body) {
    session_->submit(wire::Request{++last_id_, std::move(body)}, nullptr);
  }

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<ProbeOutbox> outbox_ = std::make_shared<ProbeOutbox>();
  std::shared_ptr<QueuedSession> session_;
  std::uint64_t last_id_ = 0;
};

}  // namespace

std::unique_ptr<Probe> make_probe(const std::shared_ptr<Engine>& engine) {
  return std::make_unique<EngineProbe>(engine);
}

}  // namespace outrigger::engine
