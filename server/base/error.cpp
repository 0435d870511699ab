#include "base/error.hpp"

#include <algorithm>

#include "base/text.hpp"

namespace outrigger {

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::bad_frame:
      return "bad_frame";
    case ErrorCode::bad_request:
      return "bad_request";
    case ErrorCode::bad_program:
      return "bad_program";
    case ErrorCode::unknown_op:
      return "unknown_op";
    case ErrorCode::unknown_program:
      return "unknown_program";
    case ErrorCode::bad_kernel:
      return "bad_kernel";
    case ErrorCode::unknown_kernel:
      return "unknown_kernel";
    case ErrorCode::bad_attr:
      return "bad_attr";
    case ErrorCode::bad_dtype:
      return "bad_dtype";
    case ErrorCode::bad_shape:
      return "bad_shape";
    case ErrorCode::bad_axis:
      return "bad_axis";
    case ErrorCode::bad_index:
      return "bad_index";
    case ErrorCode::bad_value:
      return "bad_value";
    case ErrorCode::raised:
      return "raised";
    case ErrorCode::bad_handle:
      return "bad_handle";
    case ErrorCode::handle_in_use:
      return "handle_in_use";
    case ErrorCode::failed_operand:
      return "failed_operand";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::limit_exceeded:
      return "limit_exceeded";
    case ErrorCode::unknown_name:
      return "unknown_name";
    case ErrorCode::version_conflict:
      return "version_conflict";
    case ErrorCode::bad_file:
      return "bad_file";
    case ErrorCode::io_error:
      return "io_error";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::deadline_exceeded:
      return "deadline_exceeded";
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::unauthorized:
      return "unauthorized";
    case ErrorCode::forbidden:
      return "forbidden";
    case ErrorCode::quota_exceeded:
      return "quota_exceeded";
    case ErrorCode::too_many_clients:
      return "too_many_clients";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::shutting_down:
      return "shutting_down";
  }
  return "internal";
}

std::string_view cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  // A character has three bytes at most after its first one.
  const std::size_t bytes_min = bytes_max - std::min<std::size_t>(bytes_max, 3);
  while (bytes_max > bytes_min && (static_cast<unsigned char>(text[bytes_max]) & 0xc0U) == 0x80U) {
    --bytes_max;
  }
  return text.substr(0, bytes_max);
}

namespace {

/// A new string: the old one would hold on to what was cut.
std::string shown(std::string_view text, std::size_t bytes_max) {
  return std::string(cut(as_text(cut(text, bytes_max)), bytes_max));
}

}  // namespace

tl::unexpected<Error> fail(ErrorCode code, std::string text) {
  if (text.size() > error_text_bytes_max || !is_text(text)) {
    text = shown(text, error_text_bytes_max);
  }
  return tl::make_unexpected(Error{code, std::move(text)});
}

Error located(Error error, std::span<const std::uint32_t> path, std::string_view op) {
  if (!error.op.empty()) return error;
  error.op = shown(op, error_op_bytes_max);
  error.path.assign(path.begin(), path.end());
  const std::string text = error.op + ": " + error.text;
  error.text = std::string(cut(text, error_text_bytes_max));
  return error;
}

Error kernel_error(ErrorCode code, std::string_view kernel, std::string_view text,
                   std::span<const std::uint32_t> path, SourcePlace at) {
  Error error = fail(code, std::string(kernel).append(": ").append(text)).value();
  error.op = shown(kernel, error_op_bytes_max);
  error.path.assign(path.begin(), path.end());
  put_place(error, std::move(at));
  return error;
}

void put_place(Error& error, SourcePlace at) {
  if (at.line == 0) return;
  error.detail = std::make_shared<const ErrorDetail>(
      ErrorDetail{.at = {shown(at.file, error_file_bytes_max), at.line}});
}

const Error* Error::cause() const { return detail ? detail->cause.get() : nullptr; }

const SourcePlace* Error::at() const {
  return detail && detail->at.line != 0 ? &detail->at : nullptr;
}

Error no_memory() {
  return Error{ErrorCode::out_of_memory, "the system has no memory left; the request was given up"};
}

std::uint64_t held_bytes(const Error& error) {
  return sizeof(Error) + error.text.capacity() + error.op.capacity() +
         error.path.capacity() * sizeof(std::uint32_t) +
         error.written.capacity() * sizeof(std::uint64_t) +
         (error.at() == nullptr ? 0 : sizeof(ErrorDetail) + error.at()->file.capacity());
}

}  // namespace outrigger
