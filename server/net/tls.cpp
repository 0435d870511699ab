#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <spdlog/spdlog.h>

namespace outrigger::net {

namespace {

namespace ssl = boost::asio::ssl;

/// The most that a record carries.
constexpr std::size_t record_bytes_max = 16U << 10;

tl::unexpected<Error> failed(const std::string& path, const boost::system::error_code& error) {
  return fail(ErrorCode::bad_file, path + ": " + error.message());
}

/// The first of the thread's queue, which is emptied. Empty if the peer has just left.
std::string last_error() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return {};
  const char* reason = ERR_reason_error_string(error);
  return reason == nullptr ? std::string() : reason;
}

void warn_if_expired(SSL_CTX* context, const std::string& path) {
  const X509* certificate = SSL_CTX_get0_certificate(context);
  if (certificate != nullptr && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
    spdlog::warn("{}: the certificate has expired", path);
}

/// The next bytes of the pieces, as many as fit a record.
class Gathered {
 public:
  explicit Gathered(std::span<const iovec> pieces) : pieces_(pieces) {}

  std::span<const std::uint8_t> next() {
    skip_empty();
    if (pieces_.empty()) return {};
    const auto first = rest_of_first();
    // Where one piece fills the record, it need not be copied.
    if (first.size() >= record_bytes_max || pieces_.size() == 1)
      return first.first(std::min(first.size(), record_bytes_max));
    std::size_t filled = 0;
    std::size_t skipped = skipped_;
    for (const iovec& piece : pieces_) {
      const std::size_t count = std::min(piece.iov_len - skipped, buffer_.size() - filled);
      std::memcpy(buffer_.data() + filled, static_cast<const char*>(piece.iov_base) + skipped,
                  count);
      filled += count;
      skipped = 0;
      if (filled == buffer_.size()) break;
    }
    return std::span(buffer_).first(filled);
  }

  void consume(std::size_t bytes) {
    skipped_ += bytes;
    while (!pieces_.empty() && skipped_ >= pieces_[0].iov_len) {
      skipped_ -= pieces_[0].iov_len;
      pieces_ = pieces_.subspan(1);
    }
  }

 private:
  void skip_empty() { consume(0); }
  std::span<const std::uint8_t> rest_of_first() const {
    return {static_cast<const std::uint8_t*>(pieces_[0].iov_base) + skipped_,
            pieces_[0].iov_len - skipped_};
  }

  std::span<const iovec> pieces_;
  std::size_t skipped_ = 0;
  std::array<std::uint8_t, record_bytes_max> buffer_;
};

}  // namespace

Result<std::shared_ptr<ssl::context>> make_tls_context(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  boost::system::error_code error;
  SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION);
  // Tickets would let a client in again after its certificate has expired, and cost each a write.
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(native, 1);
  SSL_CTX_set_mode(native, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
  // OpenSSL would ask the terminal for the password of a key that has one.
  context->set_password_callback([](std::size_t, ssl::context::password_purpose) { return ""; },
                                 error);
  ERR_clear_error();
  if (context->use_certificate_chain_file(files.certificate, error); error)
    return failed(files.certificate, error);
  if (context->use_private_key_file(files.key, ssl::context::pem, error); error)
    return failed(files.key, error);
  if (SSL_CTX_check_private_key(native) != 1)
    return fail(ErrorCode::bad_file, files.key + ": not the key of " + files.certificate);
  warn_if_expired(native, files.certificate);
  if (!files.client_ca.empty()) {
    if (context->load_verify_file(files.client_ca, error); error)
      return failed(files.client_ca, error);
    SSL_CTX_set_client_CA_list(native, SSL_load_client_CA_file(files.client_ca.c_str()));
    context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, error);
  }
  ERR_clear_error();
  return context;
}

TlsStream::TlsStream(Descriptor socket, ssl::context& context)
    : socket_(std::move(socket)), ssl_(SSL_new(context.native_handle())) {
  socket_.native_non_blocking(true);
  if (ssl_ == nullptr || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1)
    throw std::bad_alloc();
  SSL_set_accept_state(ssl_.get());
}

/// The result of an operation that gave no bytes: -1 with errno, or 0 at the end of the input.
ssize_t TlsStream::stopped(int result, Wait& wait) {
  const int system_error = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      wait = Wait::wait_read;
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_WANT_WRITE:
      wait = Wait::wait_write;
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      over_ = true;
      errno = EPIPE;
      return 0;
    case SSL_ERROR_SYSCALL:
      failure_ = system_error == 0 ? last_error() : std::strerror(system_error);
      break;
    default:
      failure_ = last_error();
  }
  over_ = true;
  errno = EPROTO;
  return -1;
}

int TlsStream::handshake() {
  if (established_) return 1;
  ERR_clear_error();
  errno = 0;
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) {
    established_ = true;
    // OpenSSL may already hold bytes that came with the end of the handshake.
    more_ = true;
    return 1;
  }
  if (stopped(done, wait_) < 0 && errno == EAGAIN) return -1;
  if (!failure_.empty()) failure_ = "TLS handshake failed: " + failure_;
  over_ = false;  // what follows is read and dropped
  raw_ = true;
  errno = EPROTO;
  return -1;
}

ssize_t TlsStream::read(std::span<std::uint8_t> into) {
  if (raw_) return ::read(socket_.native_handle(), into.data(), into.size());
  std::size_t total = 0;
  more_ = false;
  while (total < into.size()) {
    ERR_clear_error();
    errno = 0;
    const auto room = static_cast<int>(into.size() - total);
    const int count = SSL_read(ssl_.get(), into.data() + total, room);
    if (count <= 0) {
      const ssize_t end = stopped(count, read_wait_);
      if (total == 0) return end;
      break;  // with over_ set, the next call tells
    }
    total += static_cast<std::size_t>(count);
    read_wait_ = Wait::wait_read;
    if (SSL_has_pending(ssl_.get()) == 0) return static_cast<ssize_t>(total);
  }
  more_ = total == into.size();
  return static_cast<ssize_t>(total);
}

/// OpenSSL requires the same bytes again after a write that could not go on.
ssize_t TlsStream::write(std::span<const iovec> pieces) {
  Gathered gathered(pieces);
  ssize_t total = 0;
  for (;;) {
    const auto bytes = gathered.next();
    if (bytes.empty()) return total;
    ERR_clear_error();
    errno = 0;
    const int count = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    if (count <= 0) {
      const ssize_t end = stopped(count, write_wait_);
      return total > 0 ? total : std::min<ssize_t>(end, -1);
    }
    gathered.consume(static_cast<std::size_t>(count));
    total += count;
  }
}

void TlsStream::end_output() {
  if (established_) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  raw_ = true;
  ::shutdown(socket_.native_handle(), SHUT_WR);
}

void TlsStream::close(bool reset) {
  // A peer must be able to tell the end of a session from a connection that was cut.
  if (established_ && !raw_ && !over_ && !reset) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
  close_socket(socket_, reset);
}

}  // namespace outrigger::net
