#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace outrigger {

/// The kind of an error, for programs. PROTOCOL.md section 7 describes each.
enum class ErrorCode : std::uint8_t {
  bad_frame,
  bad_request,
  bad_program,
  unknown_op,
  unknown_program,
  bad_attr,
  bad_dtype,
  bad_shape,
  bad_axis,
  bad_index,
  bad_value,
  bad_handle,
  handle_in_use,
  failed_operand,
  out_of_memory,
  limit_exceeded,
  unknown_name,
  version_conflict,
  bad_file,
  io_error,
  cancelled,
  deadline_exceeded,
  internal,
  forbidden,
  quota_exceeded,
  // Errors of connections over sockets. The engine gives none of these.
  unauthorized,
  too_many_clients,
  timeout,
  shutting_down,
  // Errors of kernels.
  bad_kernel,
  unknown_kernel,
  raised,
};

/// The name on the wire, e.g. "bad_shape".
std::string_view name_of(ErrorCode code);

/// A line in the source of a kernel.
struct SourcePlace {
  std::string file = {};
  std::uint32_t line = 0;  ///< 0: no place
};

struct ErrorDetail;

/// A mistake of the user or a condition of the system. A fault of our own is an assertion instead.
/// `fail` and `located` cut the texts of an error, so that it takes some kilobytes at most beside
/// `written`.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string text;
  /// The name of the op that failed; empty if no op failed.
  std::string op = {};
  /// The position of the failing instruction: the program's index, then (region, index) for each
  /// nesting.
  std::vector<std::uint32_t> path = {};
  /// The handles whose contents had changed before the error.
  std::vector<std::uint64_t> written = {};
  /// Null for most errors: an Error stays small, because each Result has space for one.
  std::shared_ptr<const ErrorDetail> detail = {};

  /// With failed_operand only: the error that prevented the operand from being made. Its code is
  /// never failed_operand. Null for other errors.
  const Error* cause() const;
  /// With an error of a kernel: the line that failed. Null for other errors.
  const SourcePlace* at() const;
};

/// The parts that few errors have.
struct ErrorDetail {
  std::shared_ptr<const Error> cause = {};
  SourcePlace at = {};
};

/// Nothing or an Error. `return {}` with tl::expected itself first clears the space of an Error,
/// which takes as long as an operation on scalars.
class Done : public tl::expected<void, Error> {
 public:
  using expected::expected;
  Done();
};
// A constructor that the class itself defaults is not user-provided: `{}` would clear the space.
inline Done::Done() = default;

template <typename T>
using Result = std::conditional_t<std::is_void_v<T>, Done, tl::expected<T, Error>>;

/// The limit for the text of an error and for the name of its op, in bytes.
inline constexpr std::size_t error_text_bytes_max = 4096;
inline constexpr std::size_t error_op_bytes_max = 64;
/// The same for the name of a file.
inline constexpr std::size_t error_file_bytes_max = 1024;

/// The longest prefix of `text` with at most `bytes_max` bytes that ends between two UTF-8
/// characters.
std::string_view cut(std::string_view text, std::size_t bytes_max);

/// An error whose text is cut to error_text_bytes_max, with \xNN for bytes that are no text.
tl::unexpected<Error> fail(ErrorCode code, std::string text);

/// The error with the place of the instruction and the name of its op. The text then begins with
/// that name. An error that already has an op does not change.
Error located(Error error, std::span<const std::uint32_t> path, std::string_view op);

/// An error of a kernel. Its op is the kernel's name, with which the text begins.
Error kernel_error(ErrorCode code, std::string_view kernel, std::string_view text,
                   std::span<const std::uint32_t> path, SourcePlace at = {});

/// Adds the place to the error, unless the line is 0.
void put_place(Error& error, SourcePlace at);

/// The error of a request that fails because the system has no more memory.
Error no_memory();

/// The bytes that the error holds, without those of its cause.
std::uint64_t held_bytes(const Error& error);

}  // namespace outrigger

#define OUTRIGGER_CONCAT_(a, b) a##b
#define OUTRIGGER_CONCAT(a, b) OUTRIGGER_CONCAT_(a, b)

/// Returns the error of `expr` (a Result) from this function if there is one.
#define OUTRIGGER_CHECK(expr)                                                                 \
  do {                                                                                        \
    if (auto check_ = (expr); !check_) return tl::make_unexpected(std::move(check_).error()); \
  } while (false)

/// Declares `decl` with the value of `expr` (a Result), or returns its error from this function.
#define OUTRIGGER_TRY(decl, expr) \
  OUTRIGGER_TRY_IMPL(OUTRIGGER_CONCAT(result_, __LINE__), decl, expr)
#define OUTRIGGER_TRY_IMPL(result, decl, expr)                        \
  auto result = (expr);                                               \
  if (!result) return tl::make_unexpected(std::move(result).error()); \
  decl = std::move(*result)
