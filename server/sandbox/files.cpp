#include "sandbox/files.hpp"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <tuple>

namespace outrigger::sandbox {
namespace {

// linux/landlock.h of Debian 12 has only the first version of these.
constexpr std::uint32_t version_query = 1;
constexpr int rule_path_beneath = 1;
constexpr std::uint64_t execute = 1U << 0;
constexpr std::uint64_t write_file = 1U << 1;
constexpr std::uint64_t read_file = 1U << 2;
constexpr std::uint64_t read_folder = 1U << 3;
constexpr std::uint64_t remove_folder = 1U << 4;
constexpr std::uint64_t remove_file = 1U << 5;
constexpr std::uint64_t make_folder = 1U << 7;
constexpr std::uint64_t make_file = 1U << 8;
constexpr std::uint64_t make_socket = 1U << 9;
constexpr std::uint64_t move = 1U << 13;        // version 2
constexpr std::uint64_t truncate = 1U << 14;    // version 3
constexpr std::uint64_t connect_tcp = 1U << 1;  // version 4

constexpr std::uint64_t reading = read_file | read_folder;
constexpr std::uint64_t writing = reading | write_file | remove_folder | remove_file | make_folder |
                                  make_file | make_socket | move | truncate;
/// The rights that a rule for a file may name; the others are for folders.
constexpr std::uint64_t of_files = execute | write_file | read_file | truncate;

struct RulesetAttr {
  std::uint64_t files;
  std::uint64_t network;
};
struct [[gnu::packed]] PathAttr {
  std::uint64_t allowed;
  std::int32_t folder;
};

/// All rights that a version of Landlock knows are taken away.
std::uint64_t known_rights(long version) {
  std::uint64_t all = (1U << 13) - 1;
  if (version >= 2) all |= move;
  if (version >= 3) all |= truncate;
  return all;
}

tl::unexpected<Error> failed(const char* what) {
  return fail(ErrorCode::internal,
              std::string(what) + ": " + std::system_category().message(errno));
}

class Ruleset {
 public:
  Ruleset(int fd, std::uint64_t known) : fd_(fd), known_(known) {}
  Ruleset(const Ruleset&) = delete;
  Ruleset& operator=(const Ruleset&) = delete;
  ~Ruleset() { ::close(fd_); }

  Result<void> allow(const std::string& path, std::uint64_t rights) const {
    const int target = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    if (target < 0) return {};
    struct stat status {};
    const bool folder = ::fstat(target, &status) == 0 && S_ISDIR(status.st_mode);
    const PathAttr rule{rights & known_ & (folder ? ~std::uint64_t{0} : of_files), target};
    const long done = ::syscall(SYS_landlock_add_rule, fd_, rule_path_beneath, &rule, 0);
    const int error = errno;
    ::close(target);
    errno = error;
    if (done != 0) return failed(path.c_str());
    return {};
  }

  Result<void> enforce() const {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("no_new_privs");
    if (::syscall(SYS_landlock_restrict_self, fd_, 0) != 0) return failed("Landlock");
    return {};
  }

 private:
  int fd_;
  std::uint64_t known_;
};

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

/// The folders of the libraries that this process has loaded, and the program that loads them.
struct Libraries {
  std::vector<std::string> folders;
  std::string interpreter;
};

int add_library(dl_phdr_info* info, std::size_t, void* to) {
  auto& libraries = *static_cast<Libraries*>(to);
  const std::string name = info->dlpi_name;
  if (name.find('/') != std::string::npos) libraries.folders.push_back(folder_of(name));
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type == PT_INTERP) {
      const auto address = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
      // NOLINTNEXTLINE(performance-no-int-to-ptr): the loader tells addresses as integers
      libraries.interpreter = reinterpret_cast<const char*>(address);
    }
  }
  return 0;
}

/// Libraries that are loaded at their first use lie in the first folders. The others tell the C
/// library, OpenMP and OpenBLAS of processors and memory, and the log of the time zone.
constexpr const char* system_paths[] = {"/usr/lib",
                                        "/usr/lib64",
                                        "/lib",
                                        "/lib64",
                                        "/etc/ld.so.cache",
                                        "/etc/localtime",
                                        "/usr/share/zoneinfo",
                                        "/proc/self",
                                        "/proc/meminfo",
                                        "/proc/cpuinfo",
                                        "/proc/stat",
                                        "/proc/sys/vm",
                                        "/sys/fs/cgroup",
                                        "/sys/devices/system",
                                        "/sys/kernel/mm",
                                        "/dev/urandom",
                                        "/dev/random"};

}  // namespace

Result<std::string> restrict_files(const Paths& paths) {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, version_query);
  if (version < 1) return failed("this kernel has no Landlock");
  const std::uint64_t known = known_rights(version);
  const RulesetAttr attr{known, version >= 4 ? connect_tcp : 0};
  const std::size_t size = version >= 4 ? sizeof attr : sizeof attr.files;
  const long fd = ::syscall(SYS_landlock_create_ruleset, &attr, size, 0);
  if (fd < 0) return failed("Landlock");
  const Ruleset rules(static_cast<int>(fd), known);
  Libraries libraries;
  ::dl_iterate_phdr(add_library, &libraries);
  for (const char* path : system_paths) OUTRIGGER_CHECK(rules.allow(path, reading));
  for (const std::string& path : libraries.folders) OUTRIGGER_CHECK(rules.allow(path, reading));
  OUTRIGGER_CHECK(rules.allow("/dev/null", read_file | write_file));
  for (const std::string& path : paths.read) OUTRIGGER_CHECK(rules.allow(path, reading));
  for (const std::string& path : paths.write) OUTRIGGER_CHECK(rules.allow(path, writing));
  if (!paths.program.empty()) {
    OUTRIGGER_CHECK(rules.allow(paths.program, read_file | execute));
    OUTRIGGER_CHECK(rules.allow(libraries.interpreter, read_file | execute));
  }
  OUTRIGGER_CHECK(rules.enforce());
  return "Landlock " + std::to_string(version);
}

}  // namespace outrigger::sandbox
