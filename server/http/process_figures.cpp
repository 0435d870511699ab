#include "http/process_figures.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>

namespace outrigger::http {

namespace {

std::uint64_t count_descriptors() {
  struct Close {
    void operator()(DIR* folder) const { ::closedir(folder); }
  };
  const std::unique_ptr<DIR, Close> folder(::opendir("/proc/self/fd"));
  if (!folder) return 0;
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(folder.get())) count += entry->d_name[0] != '.' ? 1 : 0;
  // That of the folder itself does not count.
  return count == 0 ? 0 : count - 1;
}

/// The time when the system was started, in seconds since 1970.
double boot_seconds() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return 0;
}

/// The fields of /proc/self/stat behind the name, of which the first is the third of proc(5).
void read_stat(ProcessFigures& out) {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return;
  std::istringstream fields(text.substr(name_end + 1));
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::string field;
  for (int number = 3; fields >> field; ++number) {
    if (number == 14 || number == 15) out.cpu_seconds += std::stod(field) / ticks;
    if (number == 22) out.start_seconds = boot_seconds() + std::stod(field) / ticks;
    if (number == 23) out.virtual_bytes = std::stoull(field);
    if (number != 24) continue;
    out.resident_bytes = std::stoull(field) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return;
  }
}

}  // namespace

ProcessFigures process_figures() {
  ProcessFigures out;
  read_stat(out);
  out.descriptors = count_descriptors();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) out.descriptors_max = limit.rlim_cur;
  return out;
}

}  // namespace outrigger::http
