#include "kernel/native/child.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "kernel/emit/emit.hpp"
#include "kernel/native/channel.hpp"
#include "kernel/native/llvm.hpp"

namespace outrigger::kernel {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OUTRIGGER_LARGE_ADDRESS_SPACE
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OUTRIGGER_LARGE_ADDRESS_SPACE
#endif

/// The sanitizers themselves take terabytes of addresses.
void limit_process([[maybe_unused]] rlim_t bytes) {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
#if !defined(OUTRIGGER_LARGE_ADDRESS_SPACE)
  if (bytes > 0) {
    const rlimit memory{bytes, bytes};
    ::setrlimit(RLIMIT_AS, &memory);
  }
#endif
}

}  // namespace

int run_compiler(int argc, char** argv) {
  constexpr int arguments = 5;
  if (argc != arguments) return EXIT_FAILURE;
  ::prctl(PR_SET_NAME, "kernel-compiler");
  const std::string library = argv[2];
  limit_process(std::strtoull(argv[3], nullptr, 10));
  // The daemon kills a compiler that takes too long. This is for the case that the daemon is gone.
  const auto seconds = static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10)) + 2;
  std::signal(SIGALRM, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);
  Channel channel(STDIN_FILENO, STDOUT_FILENO, [](int, short) { return true; });
  ::alarm(seconds);
  auto llvm = Llvm::load(library);
  if (!llvm) {
    channel.send(MessageKind::unavailable, llvm.error());
    return EXIT_FAILURE;
  }
  if (!channel.send(MessageKind::version, llvm->version())) return EXIT_FAILURE;
  ::alarm(0);
  Message message;
  while (channel.receive(message, 2 * module_bytes_max)) {
    ::alarm(seconds);
    const auto object = llvm->compile(message.as_text());
    const bool sent = object ? channel.send(MessageKind::object, *object)
                             : channel.send(MessageKind::refused, object.error());
    if (!sent) break;
    ::alarm(0);
  }
  return EXIT_SUCCESS;
}

}  // namespace outrigger::kernel
