#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ops/support/context.hpp"

namespace outrigger::kernel {

struct Message;

struct CompilerOptions {
  /// The program that compiles, which is started with `compiler_option`; empty: none.
  std::string program = {};
  /// LLVM; empty: kernels are interpreted, for the reason.
  std::string library = {};
  std::string reason = {};
  /// Limits of the program: its address space, the time for a unit, and its time without work.
  std::uint64_t memory = std::uint64_t{2} << 30;
  std::chrono::milliseconds time{10'000};
  std::chrono::milliseconds idle{60'000};
  /// A call waits so long for its code, and is then interpreted: others need the engine.
  std::chrono::milliseconds wait{2'000};
  /// Any thread calls it with what a person should know.
  std::function<void(const std::string& text)> log = [](const std::string&) {};
};

/// A module on its way through the compiler.
class CompilerJob {
 public:
  explicit CompilerJob(std::string text) : text_(std::move(text)) {}

  enum class State : std::uint8_t { waiting, done, failed };
  /// Returns when the job is at its end, the interrupt is raised, or the time is over: then it
  /// still waits.
  State wait(const ops::Interrupt& interrupt, std::chrono::milliseconds time);
  /// The object, once. The job is done.
  std::vector<std::uint8_t> take_object();

 private:
  friend class Compiler;
  void finish(State state, std::vector<std::uint8_t> object);

  std::mutex mutex_;
  std::condition_variable ended_;
  State state_ = State::waiting;
  std::vector<std::uint8_t> object_;
  std::string text_;
};

/// Compiles modules in a process of its own, one at a time, on a thread that waits for it. The
/// process is started at the first need. LLVM has no budget and cannot be cancelled, and its faults
/// are aborts: they end that process only. Its module is then interpreted.
class Compiler {
 public:
  explicit Compiler(CompilerOptions options);
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  /// False if all kernels are interpreted.
  bool available() const;
  std::shared_ptr<CompilerJob> submit(std::string text);
  std::chrono::milliseconds wait_time() const { return options_.wait; }
  /// A module has become code, or has not for a reason. For describe() and the log.
  void count_code();
  void count_failure(const std::string& reason);

  /// "llvm 19.1.7"; "llvm 19" before its first use; "interpreted".
  std::string name() const;
  /// The name, with the reason or what was compiled.
  std::string describe() const;

 private:
  class Child;
  void work();
  void run(Child& child, CompilerJob& job);
  bool compile_in(Child& child, CompilerJob& job, Message& message, std::string& problem);
  void give_up(const std::string& reason);
  bool stops() const;

  const CompilerOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<CompilerJob>> queue_;
  std::uint64_t queued_bytes_ = 0;  ///< of the texts in the queue
  bool stopping_ = false;
  std::string version_;
  std::string unavailable_;  ///< why all kernels are interpreted
  std::uint64_t compiled_ = 0;
  std::uint64_t failed_ = 0;
  std::string last_failure_;
  std::thread thread_;
};

}  // namespace outrigger::kernel
