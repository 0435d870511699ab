// Sends each {packet, 4} frame back: the smallest cost of a round trip through a Port.

#include <unistd.h>

#include <cstdint>
#include <vector>

namespace {

bool read_all(std::uint8_t* to, std::size_t n) {
  while (n > 0) {
    const ssize_t got = ::read(STDIN_FILENO, to, n);
    if (got <= 0) return false;
    to += got;
    n -= static_cast<std::size_t>(got);
  }
  return true;
}

bool write_all(const std::uint8_t* from, std::size_t n) {
  while (n > 0) {
    const ssize_t put = ::write(STDOUT_FILENO, from, n);
    if (put <= 0) return false;
    from += put;
    n -= static_cast<std::size_t>(put);
  }
  return true;
}

}  // namespace

int main() {
  std::vector<std::uint8_t> frame(4);
  while (read_all(frame.data(), 4)) {
    const std::size_t length = std::size_t{frame[0]} << 24 | std::size_t{frame[1]} << 16 |
                               std::size_t{frame[2]} << 8 | std::size_t{frame[3]};
    frame.resize(4 + length);
    if (!read_all(frame.data() + 4, length) || !write_all(frame.data(), frame.size())) return 1;
  }
  return 0;
}
