#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "base/version.hpp"
#include "engine/session/session.hpp"
#include "net/byte_size.hpp"
#include "net/descriptor.hpp"
#include "net/process.hpp"
#include "net/serve_stdio.hpp"
#include "ops/catalogue.hpp"
#include "ops/pass/compile/status.hpp"

namespace {

using namespace outrigger;  // NOLINT(google-build-using-namespace): this is the program

constexpr std::string_view about =
    "Outrigger's daemon: holds tensors and runs programs of ops on them for another program.\n"
    "It is a separate process, so that a crash of the daemon does not crash that program.\n"
    "\n"
    "A client starts the daemon, for example the Elixir library `outrigger`. Both exchange\n"
    "binary frames over standard input and output; protocol/PROTOCOL.md describes them.\n"
    "Logs go to standard error. The daemon ends when its standard input is closed.";

struct Options {
  bool stdio = true;
  bool describe_ops = false;
  bool no_parent_death = false;
  std::string memory_limit = "80%";
  int threads = 0;
  std::string log_level = "warning";
  std::string log_file;
  std::string compile = "auto";
};

void declare(CLI::App& app, Options& options) {
  app.add_flag("--stdio", options.stdio,
               "Serve one session over standard input and output (the default)");
  app.add_option("--memory-limit", options.memory_limit,
                 "Limit for tensors and temporaries together, e.g. 2GiB, 500MB, 50% (of the\n"
                 "machine's or container's memory), or 0 for no limit")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Threads for computation; 0: the number of cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "trace, debug, info, warning, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  app.add_option("--log-file", options.log_file, "Append logs to this file");
  app.add_option(
         "--compile", options.compile,
         "Compile elementwise passes to machine code: auto (passes that run often), always,\n"
         "or never (to find bugs); the results are the same bit for bit")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->envname("OUTRIGGER_COMPILE")
      ->capture_default_str();
  app.add_flag("--describe-ops", options.describe_ops,
               "Print the catalogue of ops as JSON and exit");
  app.add_flag("--no-parent-death", options.no_parent_death,
               "Do not ask the kernel to end this process with the one that started it");
  app.set_version_flag("--version", server_name);
}

void start_logging(const Options& options) {
  const auto logger = options.log_file.empty()
                          ? spdlog::stderr_logger_mt("outriggerd")
                          : spdlog::basic_logger_mt("outriggerd", options.log_file);
  spdlog::set_default_logger(logger);
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %l outriggerd[%P] %v");
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  spdlog::flush_on(spdlog::level::info);
}

ops::Compile compile_option(std::string_view text) {
  using When = ops::Compile::When;
  ops::Compile compile;
  if (text == "never") compile.when = When::never;
  if (text == "always") compile.when = When::always;
  const std::string_view refused = ops::executable_memory_refused();
  if (compile.when == When::never)
    spdlog::info("passes are interpreted: --compile never");
  else if (compile.isa == ops::Isa::none)
    spdlog::info("passes are interpreted: this processor has no AVX2");
  else if (!refused.empty())
    spdlog::warn("passes are interpreted: the system refuses executable memory: {}", refused);
  else
    spdlog::info("passes are compiled for {}", ops::compiler_name(compile));
  return compile;
}

/// Prints to the original standard output, which otherwise carries frames.
void print(int out_fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(out_fd, text.data(), text.size());
    if (count < 0 && errno != EINTR) std::exit(EXIT_FAILURE);
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
}

[[noreturn]] void refuse(std::string_view problem) {
  std::cerr << "outriggerd: " << problem << "\nTry outriggerd --help.\n";
  std::exit(net::exit_usage);
}

[[noreturn]] void serve(const Options& options, int out_fd) {
  if (!options.no_parent_death) net::die_with_parent();
  const auto memory = net::parse_byte_size(options.memory_limit, net::available_memory_bytes());
  if (!memory) refuse("--memory-limit: " + memory.error().text);
  if (const char* problem = net::stdio_problem(STDIN_FILENO, out_fd)) {
    std::cerr << about << "\n\n";
    refuse(problem);
  }
  if (!net::volunteer_for_oom_killer()) spdlog::warn("cannot raise oom_score_adj");
  net::restrict_umask();
  spdlog::info("serving on standard input and output, memory limit {} bytes", *memory);

  engine::EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.memory_limit = *memory;
  engine_options.compile = compile_option(options.compile);
  const auto engine = engine::make_engine(engine_options);
  engine::keep_last_memory(engine);
  net::serve_stdio(engine_options.limits, STDIN_FILENO, out_fd,
                   [&engine](std::shared_ptr<engine::Outbox> outbox) {
                     return engine::open_session(engine, std::move(outbox));
                   });
}

int run(int argc, char** argv, int out_fd) {
  Options options;
  CLI::App app{std::string(about), "outriggerd"};
  declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& result) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(result, out, err);
    print(out_fd, out.str());
    std::cerr << err.str();
    return code == 0 ? EXIT_SUCCESS : net::exit_usage;
  }
  if (options.describe_ops) {
    print(out_fd, ops::describe_ops_json() + "\n");
    return EXIT_SUCCESS;
  }
  start_logging(options);
  serve(options, out_fd);
}

}  // namespace

int main(int argc, char** argv) {
  net::wait_briefly(argv);
  const int out_fd = net::take_standard_output();
  if (out_fd < 0) {
    std::cerr << "outriggerd: standard output: " << std::strerror(errno) << '\n';
    return EXIT_FAILURE;
  }
  net::set_signal_dispositions();
  try {
    return run(argc, argv, out_fd);
  } catch (const std::exception& error) {
    std::cerr << "outriggerd: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
