#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "ctl/commands.hpp"
#include "ctl/connection.hpp"
#include "ctl/deadline.hpp"
#include "ctl/text.hpp"
#include "ctl/token.hpp"

namespace {

using namespace outrigger;  // NOLINT(google-build-using-namespace): this is the program

struct Options {
  std::string address;
  std::string token_file;
  ctl::TlsOptions tls;
  double timeout_s = 5;
  CLI::Option* timeout = nullptr;
  bool json = false;
};

void declare(CLI::App& app, Options& options) {
  app.set_version_flag("--version", "outriggerctl " OUTRIGGER_VERSION);
  app.add_option("--connect", options.address,
                 "The server's address: unix:/run/outrigger.sock, tcp://127.0.0.1:7171,\n"
                 "tls://compute.example:7171")
      ->envname("OUTRIGGER_ADDRESS");
  app.add_option("--token-file", options.token_file,
                 "A file with the token alone, or the server's list of tokens, whose first one is\n"
                 "taken. Otherwise the token is that of the environment variable OUTRIGGER_TOKEN,\n"
                 "or of the file that OUTRIGGER_TOKEN_FILE names");
  app.add_option("--tls-ca", options.tls.ca,
                 "Trust certificates that one of these has signed, PEM; without it, those that\n"
                 "the system trusts");
  app.add_option("--tls-name", options.tls.name,
                 "The name that the server's certificate must have, if it is not the address's");
  CLI::Option* certificate = app.add_option("--tls-cert", options.tls.certificate,
                                            "The client's own certificate chain, PEM");
  CLI::Option* key =
      app.add_option("--tls-key", options.tls.key, "The key of that certificate, PEM");
  certificate->needs(key);
  key->needs(certificate);
  options.timeout = app.add_option("--timeout", options.timeout_s,
                                   "Seconds for all of the work; without it, get, put, top, "
                                   "monitor and bench have\n5 s to connect and no limit afterwards")
                        ->check(CLI::Range(0.001, 1e6))
                        ->capture_default_str();
  app.add_flag("--json", options.json, "Print JSON");
  app.require_subcommand(1);
  // The options may stand before the command and behind it.
  app.fallthrough();
}

Result<void> carry_out(const Options& options, const ctl::Command& command) {
  ctl::Target target;
  if (options.address.empty()) {
    return fail(ErrorCode::bad_value,
                "no server is named: give --connect ADDRESS, or set OUTRIGGER_ADDRESS");
  }
  OUTRIGGER_TRY(target.endpoint, ctl::parse_endpoint(options.address));
  OUTRIGGER_TRY(target.token, ctl::find_token(options.token_file));
  target.tls = options.tls;
  target.timeout = std::chrono::ceil<std::chrono::milliseconds>(
      std::chrono::duration<double>(options.timeout_s));
  ctl::set_deadline(target.timeout, "outriggerctl: " + options.address);
  auto connection = ctl::Connection::open(target);
  if (command.lasting && options.timeout->empty()) ctl::end_deadline();
  const auto done = connection ? command.run(*connection) : tl::make_unexpected(connection.error());
  if (done) return {};
  return fail(done.error().code, options.address + ": " + done.error().text);
}

int run(int argc, char** argv) {
  Options options;
  ctl::Command chosen;
  CLI::App app{"Talks to a server of Outrigger, outriggerd.", "outriggerctl"};
  declare(app, options);
  ctl::add_ping(app, options.json, chosen);
  ctl::add_info(app, options.json, chosen);
  ctl::add_checkpoint(app, options.json, chosen);
  ctl::add_ls(app, options.json, chosen);
  ctl::add_get(app, options.json, chosen);
  ctl::add_put(app, options.json, chosen);
  ctl::add_top(app, options.json, chosen);
  ctl::add_slowlog(app, options.json, chosen);
  ctl::add_monitor(app, options.json, chosen);
  ctl::add_cancel(app, options.json, chosen);
  ctl::add_kick(app, options.json, chosen);
  ctl::add_bench(app, options.json, chosen);
  ctl::add_completion(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& result) {
    return app.exit(result);
  } catch (const CLI::ParseError& result) {
    // Not the numbers of CLI11: 1 is the one that a health check of a container may have.
    std::cerr << "outriggerctl: " << result.what() << "\nTry outriggerctl --help.\n";
    return EXIT_FAILURE;
  }
  const auto done = carry_out(options, chosen);
  if (!done) {
    std::cerr << "outriggerctl: " << ctl::printable(done.error().text) << '\n';
    return EXIT_FAILURE;
  }
  return std::fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "outriggerctl: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
