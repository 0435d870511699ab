#include "options.hpp"

#include <sstream>

#include <CLI/CLI.hpp>

#include "base/version.hpp"

namespace outrigger {

const std::string_view about =
    "Outrigger's daemon: holds tensors and carries out programs of ops on them for other\n"
    "programs, in a process of its own, so that a crash here is not a crash there.\n"
    "\n"
    "Without --listen, the Elixir library `outrigger` starts it as a port and talks to it in\n"
    "binary frames over standard input and output; it ends when its standard input does. With\n"
    "--listen, it is a server for many clients. protocol/PROTOCOL.md describes the frames for\n"
    "other clients. Logs go to standard error.";

namespace {

void declare_engine(CLI::App& app, Options& options) {
  app.add_option("--memory-limit", options.memory_limit,
                 "What tensors and temporaries may take together, e.g. 2GiB, 500MB, 50% (of the\n"
                 "machine's or container's memory), or 0 for no limit")
      ->capture_default_str();
  app.add_option("--threads", options.threads,
                 "Threads for computing; 0: as many as there are cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--log-level", options.log_level, "trace, debug, info, warning, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  app.add_option("--log-file", options.log_file, "Append logs to this file instead");
  app.add_option("--compile", options.compile,
                 "Compile elementwise passes to machine code: auto (those that pay), always, or\n"
                 "never (to look for bugs), which also interprets kernels; the results are the\n"
                 "same bit for bit")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->envname("OUTRIGGER_COMPILE")
      ->capture_default_str();
  app.add_flag("--describe-ops", options.describe_ops,
               "Print the catalogue of ops as JSON and exit");
}

/// Options of sockets. Each is an error without --listen: it would have no effect.
class SocketOptions {
 public:
  SocketOptions(CLI::App& app, Options& options) : app_(app) {
    listen_ = app.add_option("--listen", options.listen,
                             "Serve sockets at this address instead: unix:/run/outrigger.sock,\n"
                             "tcp://127.0.0.1:7171, tls://[::]:7171; may be given several times");
    listen_->allow_extra_args(false)->group(group);
    add("--token-file", options.token_file,
        "Clients need a token of this file: a line for each with a name, rights and the\n"
        "token. The environment variable OUTRIGGER_TOKENS has the same form");
    CLI::Option* certificate =
        add("--tls-cert", options.tls_certificate, "The server's certificate chain, PEM");
    CLI::Option* key = add("--tls-key", options.tls_key, "The certificate's private key, PEM");
    certificate->needs(key);
    key->needs(certificate);
    add("--tls-client-ca", options.tls_client_ca,
        "Clients need a certificate that one of these has signed, PEM")
        ->needs(certificate);
    flag("--insecure", options.insecure,
         "Allow addresses that other machines can reach without tokens or without TLS");
    add("--max-clients", options.clients_max, "Connections at a time")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    seconds("--handshake-timeout", options.handshake_timeout_s, 0.001,
            "Seconds from the connection to `hello`");
    seconds("--idle-timeout", options.idle_timeout_s, 0,
            "Seconds without a request after which a connection ends; 0: none");
    seconds("--send-timeout", options.send_timeout_s, 0.001,
            "Seconds for which a client may take nothing of waiting replies");
    seconds("--grace", options.grace_s, 0,
            "Seconds for requests to end after SIGTERM; then they are cancelled");
    add("--files", options.files,
        "Requests may load and save files of this folder, if their token has the right files;\n"
        "may be given several times. Without it, they reach no file")
        ->allow_extra_args(false);
    flag("--no-sandbox", options.no_sandbox,
         "Keep all rights of the user. Without it, the process opens no file but its own, starts\n"
         "no program and connects to nobody, as far as the kernel can see to it");
    CLI::Option* http =
        add("--http", options.http,
            "Serve /metrics, /healthz, /readyz and a status page over HTTP at this address:\n"
            "127.0.0.1:9464, [::1]:9464");
    app_.add_flag("--http-open", options.http_open,
                  "Allow an address of --http that other machines can reach. Whoever reaches it\n"
                  "sees the names of tokens, the addresses of clients, and what they do")
        ->needs(http)
        ->group(group);
    seconds("--slow-time", options.slow_s, 0,
            "Requests that run for so many seconds, or longer, come into the slow log");
    CLI::Option* data =
        add("--data", options.data,
            "Keep published tensors in this folder: they are there again after a restart, as\n"
            "they were at the last checkpoint");
    seconds("--checkpoint-interval", options.checkpoint_interval_s, 0,
            "Seconds between a change and the checkpoint that has it; 0: checkpoints only when\n"
            "a client asks for one, and at SIGTERM")
        ->needs(data);
  }

  CLI::Option* listen() { return listen_; }

 private:
  static constexpr const char* group = "Sockets";
  static constexpr double seconds_max = 1e7;

  template <typename T>
  CLI::Option* add(const char* name, T& value, const char* text) {
    return app_.add_option(name, value, text)->needs(listen_)->group(group);
  }
  void flag(const char* name, bool& value, const char* text) {
    app_.add_flag(name, value, text)->needs(listen_)->group(group);
  }
  CLI::Option* seconds(const char* name, double& value, double min, const char* text) {
    return add(name, value, text)->check(CLI::Range(min, seconds_max))->capture_default_str();
  }

  CLI::App& app_;
  CLI::Option* listen_;
};

void declare(CLI::App& app, Options& options) {
  CLI::Option* stdio = app.add_flag("--stdio", options.stdio,
                                    "Serve one session over standard input and output, which is\n"
                                    "the default");
  declare_engine(app, options);
  app.add_flag("--no-parent-death", options.no_parent_death,
               "Do not ask the kernel to end this process with the one that started it");
  app.set_version_flag("--version", server_name);
  SocketOptions sockets(app, options);
  sockets.listen()->excludes(stdio);
}

/// A misspelt name in the file is an error, as it is on the command line.
void declare_file(CLI::App& app) {
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.set_config("--config", "", "Read options from this file (TOML): the names above without --");
  for (const char* not_there : {"--describe-ops", "--version", "--help", "--config"})
    app.get_option(not_there)->configurable(false);
}

}  // namespace

std::optional<Printed> read_options(int argc, const char* const* argv, Options& options) {
  CLI::App app{std::string(about), "outriggerd"};
  declare(app, options);
  declare_file(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& result) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(result, out, err);
    return Printed{code, out.str(), err.str()};
  }
  return std::nullopt;
}

}  // namespace outrigger
