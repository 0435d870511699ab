#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/sanitizer.hpp"
#include "engine/session/session.hpp"
#include "files/places.hpp"
#include "http/server.hpp"
#include "kernel/native/child.hpp"
#include "net/byte_size.hpp"
#include "net/descriptor.hpp"
#include "net/process.hpp"
#include "net/serve_sockets.hpp"
#include "net/serve_stdio.hpp"
#include "net/tls.hpp"
#include "ops/catalogue.hpp"
#include "ops/pass/compile/status.hpp"
#include "options.hpp"
#include "sandbox/calls.hpp"
#include "sandbox/files.hpp"

namespace {

using namespace outrigger;  // NOLINT(google-build-using-namespace): this is the program

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

engine::KernelOptions kernel_options(std::string_view compile) {
  engine::KernelOptions kernels;
  kernels.program = "/proc/self/exe";
  kernels.log = [](const std::string& text) { spdlog::warn("{}", text); };
  if (compile == "never")
    kernels.reason = "--compile never";
  else
    kernels.library = engine::find_llvm();
  if (kernels.library.empty())
    spdlog::info("kernels are interpreted: {}",
                 kernels.reason.empty() ? "there is no libllvm19" : kernels.reason);
  else
    spdlog::info("kernels are compiled by {}", kernels.library);
  return kernels;
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

/// Not because of how it was asked to.
[[noreturn]] void give_up(std::string_view problem) {
  std::cerr << "outriggerd: " << problem << '\n';
  std::exit(EXIT_FAILURE);
}

engine::EngineOptions engine_options(const Options& options) {
  const auto memory = net::parse_byte_size(options.memory_limit, net::available_memory_bytes());
  if (!memory) refuse("--memory-limit: " + memory.error().text);
  engine::EngineOptions out;
  out.threads = options.threads;
  out.memory_limit = *memory;
  out.compile = compile_option(options.compile);
  out.slow =
      std::chrono::ceil<std::chrono::microseconds>(std::chrono::duration<double>(options.slow_s));
  out.kernels = kernel_options(options.compile);
  return out;
}

/// An engine that lives to the process's end.
std::shared_ptr<engine::Engine> start_engine(const engine::EngineOptions& options) {
  auto engine = engine::make_engine(options);
  engine::keep_last_memory(engine);
  return engine;
}

[[noreturn]] void serve_stdio(const Options& options, int out_fd) {
  if (!options.no_parent_death) net::die_with_parent();
  const auto settings = engine_options(options);
  if (const char* problem = net::stdio_problem(STDIN_FILENO, out_fd)) {
    std::cerr << about << "\n\n";
    refuse(problem);
  }
  if (!net::volunteer_for_oom_killer()) spdlog::warn("cannot raise oom_score_adj");
  net::restrict_umask();
  spdlog::info("serving on standard input and output, memory limit {} bytes",
               settings.memory_limit);
  const auto engine = start_engine(settings);
  net::serve_stdio(settings.limits, STDIN_FILENO, out_fd,
                   [&engine](std::shared_ptr<engine::Outbox> outbox) {
                     return engine::open_session(engine, std::move(outbox));
                   });
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
}

void read_tokens(const Options& options, net::Tokens& tokens) {
  if (!options.token_file.empty()) {
    const auto done = net::add_token_file(tokens, options.token_file);
    if (!done) give_up("--token-file: " + done.error().text);
    if (tokens.empty()) give_up("--token-file: " + options.token_file + " has no token");
  }
  const char* list = std::getenv("OUTRIGGER_TOKENS");
  if (list == nullptr) return;
  const auto done = net::add_token_variable(tokens, list);
  if (!done) give_up(done.error().text);
  // Processes that this one starts need not know them.
  ::unsetenv("OUTRIGGER_TOKENS");
}

net::ServerOptions server_options(const Options& options) {
  net::ServerOptions out;
  bool tls = false;
  for (const std::string& text : options.listen) {
    auto address = net::parse_address(text);
    if (!address) refuse("--listen: " + address.error().text);
    tls = tls || address->transport == net::Transport::tls;
    out.addresses.push_back(*std::move(address));
  }
  if (tls && options.tls_certificate.empty()) refuse("tls:// needs --tls-cert and --tls-key");
  if (!tls && !options.tls_certificate.empty())
    refuse("--tls-cert is for addresses that begin with tls://, and there is none");
  read_tokens(options, out.tokens);
  const auto safe = net::check_exposure(out, options.insecure);
  if (!safe) refuse(safe.error().text);
  if (tls) {
    auto context =
        net::make_tls_context({options.tls_certificate, options.tls_key, options.tls_client_ca});
    if (!context) give_up(context.error().text);
    out.tls = *std::move(context);
  }
  out.clients_max = options.clients_max;
  out.handshake_timeout = milliseconds(options.handshake_timeout_s);
  out.idle_timeout = milliseconds(options.idle_timeout_s);
  out.send_timeout = milliseconds(options.send_timeout_s);
  out.grace = milliseconds(options.grace_s);
  return out;
}

void log_checkpoint(bool is_error, const std::string& text) {
  spdlog::log(is_error ? spdlog::level::err : spdlog::level::info, text);
}

void keep_data(const Options& options, const std::shared_ptr<engine::Engine>& engine) {
  if (options.data.empty()) return;
  const auto done = engine::keep_data(
      engine, {options.data, milliseconds(options.checkpoint_interval_s), log_checkpoint});
  if (!done) give_up("--data: " + done.error().text);
}

std::string folder_of(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  return folder.empty() ? "." : folder;
}

/// The files of a server, and the calls that it makes once its addresses are bound.
void enter_sandbox(const Options& options, const engine::KernelOptions& kernels,
                   net::ServerOptions& sockets) {
  if (options.no_sandbox) return spdlog::warn("--no-sandbox: this process keeps all rights");
  // A sanitizer stops threads by ptrace and starts a program that names addresses.
  if (has_sanitizer) return;
  // The compiler of kernels is this program. It has the same limits.
  const bool compiles = !kernels.library.empty();
  sandbox::Paths paths;
  if (compiles) paths.program = kernels.program;
  paths.write = options.files;
  for (const net::Address& address : sockets.addresses) {
    if (address.transport == net::Transport::unix_socket)
      paths.write.push_back(folder_of(address.path));
  }
  if (!options.data.empty()) {
    // There is no rule for a folder that does not exist. keep_data() tells of errors.
    ::mkdir(options.data.c_str(), 0700);
    paths.write.push_back(options.data);
  }
  if (const auto done = sandbox::restrict_files(paths))
    spdlog::info("{} restricts this process to its files", *done);
  else
    spdlog::warn("the process could open files of others: {}", done.error().text);
  sockets.on_bound = [compiles] {
    if (const auto done = sandbox::restrict_calls(compiles); !done)
      spdlog::warn("the process could make system calls that it does not need: {}",
                   done.error().text);
  };
}

/// Everyone who reaches the address sees names of tokens, addresses of clients, and their work.
http::HttpOptions http_options(const Options& options) {
  http::HttpOptions out;
  auto address = http::parse_http_address(options.http);
  if (!address) refuse("--http: " + address.error().text);
  out.address = *std::move(address);
  if (out.address.local()) return out;
  const std::string text = http::http_text(out.address);
  if (!options.http_open)
    refuse("other machines can reach " + text + ", which has no password (--http-open allows it)");
  spdlog::warn("--http-open: everyone who reaches {} sees what the clients do", text);
  return out;
}

std::unique_ptr<http::HttpServer> serve_http(const Options& options,
                                             const std::shared_ptr<engine::Engine>& engine,
                                             net::ServerOptions& sockets) {
  if (options.http.empty()) return nullptr;
  const auto ready = std::make_shared<std::atomic<bool>>(false);
  sockets.tell_ready = [ready](bool now) { *ready = now; };
  auto settings = http_options(options);
  sockets.other_descriptors = static_cast<std::uint32_t>(settings.connections_max) + 1;
  auto server = http::HttpServer::start(
      std::move(settings), {[engine] { return engine::vitals(engine); },
                            [ready] { return ready->load(); }, engine::make_probe(engine)});
  if (!server) give_up("--http: " + server.error().text);
  sockets.others.push_back(http::http_text((*server)->address()));
  return *std::move(server);
}

/// A server lives on without the process that started it, and is no more in the way of others than
/// they are when memory runs out.
[[noreturn]] void serve_sockets(const Options& options) {
  const auto settings = engine_options(options);
  net::restrict_umask();
  auto sockets = server_options(options);
  const auto confined = files::allow_only(options.files);
  if (!confined) give_up("--files: " + confined.error().text);
  enter_sandbox(options, settings.kernels, sockets);
  const auto engine = start_engine(settings);
  keep_data(options, engine);
  auto http = serve_http(options, engine, sockets);
  const auto failed = net::serve_sockets(
      settings.limits, std::move(sockets),
      [&engine](std::shared_ptr<engine::Outbox> outbox, engine::SessionOptions session) {
        return engine::open_session(engine, std::move(outbox), std::move(session));
      },
      [&engine](std::function<void(bool)> done) {
        engine::checkpoint(engine, [done = std::move(done)](const Result<void>& outcome) {
          done(outcome.has_value());
        });
      });
  http.reset();
  give_up(failed.error().text);
}

int run(int argc, char** argv, int out_fd) {
  Options options;
  if (const auto printed = read_options(argc, argv, options)) {
    print(out_fd, printed->output);
    std::cerr << printed->errors;
    return printed->code == 0 ? EXIT_SUCCESS : net::exit_usage;
  }
  if (options.describe_ops) {
    print(out_fd, ops::describe_ops_json() + "\n");
    return EXIT_SUCCESS;
  }
  start_logging(options);
  if (options.listen.empty()) serve_stdio(options, out_fd);
  serve_sockets(options);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == kernel::compiler_option) return kernel::run_compiler(argc, argv);
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
