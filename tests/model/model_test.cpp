// Random requests to a session, compared with a simple model of handles. A functional op never
// changes an operand. An in-place op changes its operand and the mutable views of it, and no other
// handle. A refused program changes nothing. A program that stops reports the handles that it has
// changed.
//
//   OUTRIGGER_SEED=…   one seed instead of the fixed ones and a new one
//   OUTRIGGER_STEPS=…  requests for each seed
//   OUTRIGGER_CHECK_EVERY=…  compare all handles after so many requests: 1 finds the request that
//   failed OUTRIGGER_TRACE=…  a file to which each request is written before it is sent, in case
//   the engine crashes

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <utility>

#include "model/generator.hpp"
#include "support/client.hpp"

namespace outrigger::test {
namespace {

constexpr std::size_t handles_max = 40;
/// The model does not distinguish +0 and -0.
constexpr Tolerance exact{.ulp = 0, .abs = 1e-9};

class ModelRun {
 public:
  ModelRun(std::unique_ptr<Transport> transport, std::uint64_t seed)
      : client_(std::move(transport)), random_(seed) {}

  void step() {
    const std::int64_t dice = between(random_, 1, 100);
    if (live_.empty() || dice <= 8) return upload();
    if (dice <= 70) return run({.may_fail = false, .ill_typed = false});
    if (dice <= 78) return run({.may_fail = true, .ill_typed = false});
    if (dice <= 82) return run({.may_fail = false, .ill_typed = true});
    if (dice <= 84) return use_missing_handle();
    if (dice <= 85) return reuse_handle();
    release();
  }

  /// Compares all live handles with the model.
  void check_all() {
    for (const auto& [handle, value] : live_) {
      const Data expected = to_data(value);
      const Data actual = client_.download(handle, expected.dtype, expected.shape);
      const auto text = difference(expected, actual, exact);
      ASSERT_FALSE(text) << "handle " << handle << ": " << *text << "\nlast request:\n" << last_;
    }
    ASSERT_EQ(client_.info().numbers.at("tensors"), live_.size()) << last_;
  }

  void release_all() {
    std::vector<std::uint64_t> handles;
    for (const auto& entry : live_) handles.push_back(entry.first);
    ASSERT_EQ(client_.release(handles).numbers.at("released"), handles.size());
    live_.clear();
    // A prepared program holds its constants.
    for (std::uint64_t program = 1; program <= last_program_; ++program) {
      const std::uint64_t id = client_.new_id();
      ASSERT_TRUE(client_.request(id, encode_forget(id, program)).ok());
    }
    ASSERT_EQ(client_.info().numbers.at("tensors"), 0U);
    ASSERT_EQ(client_.info().numbers.at("memory.used"), 0U) << "memory that nobody can reach";
  }

 private:
  void about(std::string text) {
    last_ = std::move(text);
    if (const char* path = std::getenv("OUTRIGGER_TRACE")) std::ofstream(path) << last_;
  }

  std::uint64_t random_handle() {
    auto at = live_.begin();
    std::advance(at, between(random_, 0, static_cast<std::int64_t>(live_.size()) - 1));
    return at->first;
  }

  void upload() {
    const Value value = random_value(random_, random_type(random_));
    about("upload " + value_text(to_data(value)));
    const std::uint64_t handle = client_.upload(to_data(value));
    live_[handle] = value;
    dense_.insert(handle);
  }

  void release() {
    const std::size_t count = live_.size() > handles_max ? live_.size() / 2 : 1;
    std::set<std::uint64_t> handles;
    for (std::size_t i = 0; i < count; ++i) handles.insert(random_handle());
    const std::vector<std::uint64_t> list(handles.begin(), handles.end());
    about("release");
    ASSERT_EQ(client_.release(list).numbers.at("released"), list.size());
    for (const std::uint64_t handle : list) live_.erase(handle);
  }

  void use_missing_handle() {
    const Program program{{0}, {}, {0}};
    const std::uint64_t missing = client_.new_handle();
    const std::uint64_t result = client_.new_handle();
    about("use of a missing handle");
    ASSERT_EQ(client_.run(program, std::array{missing}, std::array{result}).code(), "bad_handle");
    ASSERT_EQ(client_.run(program, std::array{result}, std::array{client_.new_handle()}).code(),
              "failed_operand");
    const std::uint64_t last = client_.new_handle() - 1;
    client_.release(std::array{result, last});
  }

  void reuse_handle() {
    const Program program{{0}, {}, {0}};
    const std::uint64_t handle = random_handle();
    about("a new result under a handle that exists");
    ASSERT_EQ(client_.run(program, std::array{handle}, std::array{handle}).code(), "handle_in_use");
  }

  void run(const GeneratorOptions& options) {
    std::vector<std::uint64_t> handles;
    std::vector<Value> args;
    std::vector<Argument> types;
    std::map<const Storage*, int> memory;
    for (std::int64_t n = between(random_, 1, 3); n > 0; --n) {
      handles.push_back(random_handle());
      args.push_back(live_.at(handles.back()));
      const auto number =
          memory.emplace(args.back().storage.get(), static_cast<int>(memory.size()));
      types.push_back({args.back().type, number.first->second, dense_.contains(handles.back())});
    }
    const Generated generated = random_program(random_, types, options);
    const bool atomic = chance(random_, 30);
    std::vector<std::uint64_t> results(generated.program.outputs.size());
    for (std::uint64_t& result : results) result = client_.new_handle();
    last_ = to_text(generated.program);
    for (std::size_t i = 0; i < args.size(); ++i) {
      last_ += "arg " + std::to_string(handles[i]) + " " + value_text(to_data(args[i]), 60) + "\n";
    }
    if (atomic) last_ += "atomic\n";
    about(std::string(last_));

    const Reply reply = send(generated.program, handles, results, {.atomic = atomic});
    if (options.ill_typed) return expect_refusal(generated, reply, results);
    const Answer answer = interpret(generated.program, args, atomic);
    if (answer.stop) return expect_stop(*answer.stop, answer, reply, handles, results);
    ASSERT_TRUE(reply.ok()) << reply.text() << "\n" << last_;
    ASSERT_EQ(reply.results.size(), results.size()) << last_;
    for (std::size_t i = 0; i < results.size(); ++i) {
      ASSERT_EQ(reply.results[i].handle, results[i]) << last_;
      ASSERT_EQ(reply.results[i].dtype, answer.outputs[i].type.dtype) << last_;
      ASSERT_EQ(reply.results[i].shape, answer.outputs[i].type.shape) << last_;
      live_[results[i]] = answer.outputs[i];
      if (generated.dense[i]) dense_.insert(results[i]);
    }
  }

  Reply send(const Program& program, std::span<const std::uint64_t> handles,
             std::span<const std::uint64_t> results, const RunOptions& options) {
    if (chance(random_, 70)) return client_.run(program, handles, results, options);
    const std::uint64_t program_id = ++last_program_;
    const std::uint64_t prepare = client_.new_id();
    client_.send(prepare, encode_prepare(prepare, program_id, program));
    const bool inside = chance(random_, 40);
    if (inside) about("inside of another program\n" + last_);
    const std::uint64_t call = client_.new_id();
    client_.send(call,
                 inside ? encode_run(call, around(program_id, program), handles, results, options)
                        : encode_call(call, program_id, handles, results, options));
    const Reply prepared = client_.wait(prepare);
    Reply reply = client_.wait(call);
    // A mistake in the form alone is reported here.
    if (!prepared.ok()) return prepared;
    if (inside && reply.error) {
      auto& index = reply.error->index;
      EXPECT_GE(index.size(), 2U) << last_;
      EXPECT_TRUE(index.at(0) == 0 && index.at(1) == 0) << last_;
      index.erase(index.begin(), index.begin() + 2);
    }
    return reply;
  }

  /// A program that only calls the prepared one.
  static Program around(std::uint64_t program_id, const Program& program) {
    Instruction call;
    call.op = "call";
    call.attrs.emplace_back("program_id", Number{static_cast<std::int64_t>(program_id)});
    ValueId next = 0;
    Program made;
    for (std::size_t i = 0; i < program.params.size(); ++i) made.params.push_back(next++);
    for (std::size_t i = 0; i < program.outputs.size(); ++i) made.outputs.push_back(next++);
    call.in.assign(made.params.begin(), made.params.end());
    call.out = made.outputs;
    made.body.push_back(std::move(call));
    return made;
  }

  void expect_refusal(const Generated& generated, const Reply& reply,
                      std::span<const std::uint64_t> results) {
    EXPECT_EQ(reply.code(), generated.code) << reply.text() << "\n" << last_;
    ASSERT_FALSE(reply.ok()) << last_;
    EXPECT_EQ(reply.error->index, std::vector<std::uint32_t>{generated.index})
        << reply.text() << "\n"
        << last_;
    EXPECT_TRUE(reply.error->written.empty()) << last_;
    client_.release(results);
    check_all();
  }

  void expect_stop(const Stop& stop, const Answer& answer, const Reply& reply,
                   std::span<const std::uint64_t> handles, std::span<const std::uint64_t> results) {
    EXPECT_EQ(reply.code(), stop.code) << reply.text() << "\n" << last_;
    ASSERT_FALSE(reply.ok()) << last_;
    EXPECT_EQ(reply.error->index, stop.index) << reply.text() << "\n" << last_;
    // Each named handle shares written memory, and all written arguments are named.
    const auto& written = reply.error->written;
    for (const std::uint64_t handle : written) {
      ASSERT_TRUE(live_.contains(handle)) << "written names " << handle << "\n" << last_;
      EXPECT_TRUE(answer.written.contains(live_.at(handle).storage.get()))
          << "written names handle " << handle << "\n"
          << last_;
    }
    std::set<const Storage*> named;
    for (const std::uint64_t handle : written) named.insert(live_.at(handle).storage.get());
    for (const std::uint64_t handle : handles) {
      const Storage* storage = live_.at(handle).storage.get();
      if (answer.written.contains(storage)) {
        EXPECT_TRUE(named.contains(storage)) << "written leaves out " << handle << "\n" << last_;
      }
    }
    client_.release(results);
    check_all();
  }

  Client client_;
  Random random_;
  std::map<std::uint64_t, Value> live_;
  std::set<std::uint64_t> dense_;
  std::uint64_t last_program_ = 0;
  std::string last_;
};

void run_model(std::unique_ptr<Transport> transport, std::uint64_t seed, std::uint64_t steps) {
  std::cout << "OUTRIGGER_SEED=" << seed << " OUTRIGGER_STEPS=" << steps << std::endl;
  ModelRun run(std::move(transport), seed);
  const std::uint64_t check_every = environment("OUTRIGGER_CHECK_EVERY", 20);
  for (std::uint64_t i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("OUTRIGGER_SEED=" + std::to_string(seed) + ", step " + std::to_string(i));
    run.step();
    if (i % check_every == 0 && !testing::Test::HasFailure()) run.check_all();
  }
  if (!testing::Test::HasFailure()) run.check_all();
  if (!testing::Test::HasFailure()) run.release_all();
}

TEST(Model, SessionAgrees) {
  for (const std::uint64_t seed : seeds()) {
    run_model(open_session_transport(), seed, environment("OUTRIGGER_STEPS", 10000));
    if (HasFailure()) return;
  }
}

TEST(Model, DaemonAgrees) {
  run_model(std::make_unique<DaemonClient>(), seeds().back(),
            environment("OUTRIGGER_STEPS", 10000) / 5);
}

}  // namespace
}  // namespace outrigger::test
