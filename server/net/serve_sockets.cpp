#include "net/serve_sockets.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include "base/last_memory.hpp"

namespace outrigger::net {

namespace {

/// Beside the clients' sockets: listeners, logs, files that requests load and save.
constexpr rlim_t other_descriptors = 128;

/// As many descriptors as the clients need, if the system allows it.
void raise_descriptor_limit(std::uint32_t clients, std::uint32_t others) {
  rlimit limit{};
  const rlim_t wanted = clients + others + other_descriptors;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    spdlog::warn("{} clients may need {} file descriptors, the system allows {}", clients, wanted,
                 limit.rlim_cur);
  }
}

void tell(const std::vector<Address>& addresses, const std::vector<std::string>& others) {
  const auto logger = spdlog::stderr_logger_mt("listening");
  logger->set_level(spdlog::level::info);
  for (const Address& address : addresses) logger->info("listening on {}", address.text());
  for (const std::string& address : others) logger->info("listening on {}", address);
  logger->flush();
}

/// The engine may be busy still, and its sessions refer to it: the process ends as it is.
[[noreturn]] void end_process(bool done) {
  spdlog::default_logger()->flush();
  ::_exit(done ? EXIT_SUCCESS : EXIT_FAILURE);
}

}  // namespace

Result<void> check_exposure(const ServerOptions& options, bool insecure) {
  for (const Address& address : options.addresses) {
    const bool safe = address.transport == Transport::tls && !options.tokens.empty();
    if (address.local() && address.transport != Transport::unix_socket && options.tokens.empty())
      spdlog::warn("every user of this machine can use {}: there are no tokens", address.text());
    if (address.local() || safe) continue;
    const std::string text = "other machines can reach " + address.text() +
                             (address.transport == Transport::tls ? "" : ", which is no tls://") +
                             (options.tokens.empty() ? ", and there are no tokens" : "");
    if (!insecure) return fail(ErrorCode::bad_value, text + " (--insecure allows it)");
    spdlog::warn("--insecure: {}", text);
  }
  return {};
}

Result<void> serve_sockets(const Limits& limits, ServerOptions options, const OpenSession& open,
                           const LastWork& last_work) {
  const auto on_bound = std::move(options.on_bound);
  raise_descriptor_limit(options.clients_max, options.other_descriptors);
  const std::vector<std::string> others = options.others;
  boost::asio::io_context io(1);
  Server server(io, limits, std::move(options), open);
  OUTRIGGER_CHECK(server.listen());
  if (on_bound) on_bound();
  boost::asio::signal_set signals(io, SIGTERM, SIGINT, SIGHUP);
  std::function<void()> wait = [&] {
    signals.async_wait([&](const boost::system::error_code& error, int signal) {
      if (error) return;
      wait();
      if (signal == SIGHUP)
        return spdlog::warn("SIGHUP does nothing: files are read when the server starts");
      server.stop([&] {
        last_work([&io](bool done) {
          with_last_memory([&] { boost::asio::post(io, [done] { end_process(done); }); });
        });
      });
    });
  };
  wait();
  tell(server.addresses(), others);
  io.run();
  spdlog::critical("the I/O loop ended by itself");
  std::abort();
}

}  // namespace outrigger::net
