#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outrigger {

/// The command line of the daemon; `outriggerd --help` and PROTOCOL.md, section 8, tell what each
/// option means.
struct Options {
  bool stdio = false;
  bool describe_ops = false;
  bool no_parent_death = false;
  std::string memory_limit = "80%";
  int threads = 0;
  std::string log_level = "warning";
  std::string log_file;
  std::string compile = "auto";

  std::vector<std::string> listen;  ///< empty: standard input and output
  bool insecure = false;
  bool no_sandbox = false;
  bool http_open = false;
  std::string token_file;
  std::string tls_certificate;
  std::string tls_key;
  std::string tls_client_ca;
  std::uint32_t clients_max = 256;
  double handshake_timeout_s = 10;
  double idle_timeout_s = 0;
  double send_timeout_s = 30;
  double grace_s = 10;
  std::vector<std::string> files;
  double slow_s = 1;
  std::string http;  ///< empty: no HTTP
  std::string data;  ///< empty: published tensors end with the process
  double checkpoint_interval_s = 60;
};

/// The output of a command line that does not start a daemon, for example of --help.
struct Printed {
  int code = 0;
  std::string output;
  std::string errors;
};

extern const std::string_view about;

/// Fills in `options`; otherwise gives what to print and the exit code.
std::optional<Printed> read_options(int argc, const char* const* argv, Options& options);

}  // namespace outrigger
