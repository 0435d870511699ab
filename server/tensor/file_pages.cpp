#include "tensor/file_pages.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <system_error>
#include <utility>

namespace outrigger {
namespace {

constexpr std::size_t files_max = 4096;

/// The data that the handler of SIGBUS reads: it needs no lock, and it is never freed. A range is
/// free if its end is 0.
struct Range {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> broken{false};
};
std::array<Range, files_max> ranges;

/// The rest of the data for the file at the same index of the table.
struct File {
  int fd = -1;
  std::uint64_t end = 0;
  std::string name;
};
std::mutex mutex;
std::atomic<std::size_t> mapped{0};

std::array<File, files_max>& files() {
  static std::array<File, files_max> all;
  return all;
}

std::uintptr_t address_of(const std::byte* pages) {
  return reinterpret_cast<std::uintptr_t>(pages);
}

bool map_zeros(std::uintptr_t begin, std::size_t bytes) {
  return ::mmap(reinterpret_cast<void*>(begin), bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

void on_bus_error(int signal, siginfo_t* info, void*) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (Range& range : ranges) {
    if (address < range.begin.load() || address >= range.end.load()) continue;
    range.broken.store(true);
    const bool done = map_zeros(address / page_bytes() * page_bytes(), page_bytes());
    errno = saved_errno;
    if (done) return;
    break;
  }
  // The address belongs to no mapped file. The instruction runs again, and the default action ends
  // the process.
  ::signal(signal, SIG_DFL);
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, nullptr);
  });
}

/// The index of the file that is mapped at `pages`, or files_max. The caller holds the lock.
std::size_t find(const std::byte* pages) {
  if (mapped.load() == 0) return files_max;
  std::size_t i = 0;
  while (i < files_max &&
         (ranges[i].end.load() == 0 || ranges[i].begin.load() != address_of(pages)))
    ++i;
  return i;
}

tl::unexpected<Error> cannot_map(const std::string& name, int error) {
  return fail(ErrorCode::io_error,
              "cannot map " + name + ": " + std::system_category().message(error));
}

}  // namespace

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

Result<void> map_file_pages(std::byte* pages, std::size_t bytes, int fd, std::uint64_t offset,
                            std::string name) {
  install_handler();
  const std::lock_guard lock(mutex);
  std::size_t place = 0;
  while (place < files_max && ranges[place].end.load() != 0) ++place;
  if (place == files_max) {
    return fail(ErrorCode::limit_exceeded, "cannot map " + name + ": " + std::to_string(files_max) +
                                               " files are mapped already");
  }
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return cannot_map(name, errno);
  if (::mmap(pages, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, own,
             static_cast<off_t>(offset)) == MAP_FAILED) {
    const int error = errno;
    ::close(own);
    return cannot_map(name, error);
  }
  const std::uintptr_t begin = address_of(pages);
  files().at(place) = {own, offset + bytes, std::move(name)};
  ranges[place].broken.store(false);
  ranges[place].begin.store(begin);
  ranges[place].end.store(begin + (bytes + page_bytes() - 1) / page_bytes() * page_bytes());
  mapped.fetch_add(1);
  return {};
}

bool has_file_pages(const std::byte* pages) {
  if (mapped.load() == 0) return false;
  const std::lock_guard lock(mutex);
  return find(pages) != files_max;
}

Result<void> check_file_pages(const std::byte* pages) {
  if (mapped.load() == 0) return {};
  const std::lock_guard lock(mutex);
  const std::size_t place = find(pages);
  if (place == files_max) return {};
  const File& file = files().at(place);
  struct stat status {};
  // Within the last page of a file no signal reports a cut: the bytes behind the end are zeros.
  const bool whole = !ranges[place].broken.load() && ::fstat(file.fd, &status) == 0 &&
                     static_cast<std::uint64_t>(status.st_size) >= file.end;
  if (whole) return {};
  return fail(ErrorCode::io_error, file.name + " became shorter while it was in use");
}

bool unmap_file_pages(std::byte* pages) {
  if (mapped.load() == 0) return true;
  const std::lock_guard lock(mutex);
  const std::size_t place = find(pages);
  if (place == files_max) return true;
  Range& range = ranges[place];
  const bool done = map_zeros(range.begin.load(), range.end.load() - range.begin.load());
  range.begin.store(0);
  range.end.store(0);
  ::close(files().at(place).fd);
  files().at(place) = {};
  mapped.fetch_sub(1);
  return done;
}

}  // namespace outrigger
