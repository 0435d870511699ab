#include "files/places.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "files/file.hpp"

namespace outrigger::files {
namespace {

/// A folder below which files may be opened.
struct Place {
  std::string prefix;  ///< its path, with one `/` at the end
  int fd;
};

// Values of the process, as its working directory is: a new way to a file cannot forget them.
bool confined = false;
std::vector<Place> allowed_places;

void close_places() {
  for (const Place& place : allowed_places) ::close(place.fd);
  allowed_places.clear();
}

std::string list_of_places() {
  std::string text;
  for (const Place& place : allowed_places)
    text += (text.empty() ? "" : ", ") + in_quotes(place.prefix);
  return text;
}

tl::unexpected<Error> outside(const std::string& path) {
  if (allowed_places.empty()) {
    return fail(ErrorCode::forbidden,
                in_quotes(path) + ": this server allows no files; its option --files allows the " +
                    "files of a folder");
  }
  return fail(ErrorCode::forbidden, in_quotes(path) + " is not in a folder that this server " +
                                        "allows (--files): " + list_of_places());
}

}  // namespace

Result<void> allow_only(const std::vector<std::string>& folders) {
  close_places();
  confined = true;
  for (const std::string& folder : folders) {
    OUTRIGGER_CHECK(check_path(folder));
    const int fd = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return io_failure("open", in_quotes(folder), errno);
    std::string prefix = folder;
    while (prefix.size() > 1 && prefix.back() == '/') prefix.pop_back();
    if (prefix != "/") prefix += '/';
    allowed_places.push_back({std::move(prefix), fd});
  }
  return {};
}

void allow_all() {
  close_places();
  confined = false;
}

bool is_confined() { return confined; }

Result<int> open_in_place(const std::string& path, int flags, const char* verb) {
  if (!is_confined()) {
    const int fd = ::open(path.c_str(), flags);
    if (fd < 0) return io_failure(verb, in_quotes(path), errno);
    return fd;
  }
  for (const Place& place : allowed_places) {
    if (!path.starts_with(place.prefix)) continue;
    const std::string_view below = std::string_view(path).substr(place.prefix.size());
    const std::string inside(below.empty() ? "." : below);
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    // The kernel gives up (EAGAIN) while somebody renames folders on the way.
    long fd = -1;
    do {
      fd = ::syscall(SYS_openat2, place.fd, inside.c_str(), &how, sizeof how);
    } while (fd < 0 && errno == EAGAIN);
    if (fd >= 0) return static_cast<int>(fd);
    // EXDEV is a way out of the folder; it may lie in another folder that is allowed.
    if (errno != EXDEV) return io_failure(verb, in_quotes(path), errno);
  }
  return outside(path);
}

}  // namespace outrigger::files
