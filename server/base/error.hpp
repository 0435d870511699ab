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

/// What went wrong, for programs. PROTOCOL.md section 7 tells what each means.
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
  bad_file,
  io_error,
  cancelled,
  deadline_exceeded,
  internal,
  // Of connections over sockets: the engine gives none of these.
  unauthorized,
  forbidden,
  too_many_clients,
  timeout,
  shutting_down,
};

/// The name on the wire, e.g. "bad_shape".
std::string_view name_of(ErrorCode code);

/// A user's mistake or a condition of the system: never a fault of ours, those assert. `fail` and
/// `located` cut its texts, so that an error takes some kilobytes at most beside `written`.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string text;
  /// Name of the op that failed; empty if no op did.
  std::string op = {};
  /// Position of the failing instruction: program index, then (region, index) for each nesting.
  std::vector<std::uint32_t> path = {};
  /// Handles whose contents had already changed.
  std::vector<std::uint64_t> written = {};
  /// Of failed_operand: why the operand could not be made. Never failed_operand itself.
  std::shared_ptr<const Error> cause = {};
};

/// Nothing or an Error. `return {}` with tl::expected itself would clear the room for an Error
/// first, which takes as long as an operation on scalars.
class Done : public tl::expected<void, Error> {
 public:
  using expected::expected;
  Done();
};
// Not within the class: only so is it not the trivial one, which clears.
inline Done::Done() = default;

template <typename T>
using Result = std::conditional_t<std::is_void_v<T>, Done, tl::expected<T, Error>>;

/// Bytes of an error's text and of its op's name.
inline constexpr std::size_t error_text_bytes_max = 4096;
inline constexpr std::size_t error_op_bytes_max = 64;

/// The first bytes of `text`, not ending inside of a UTF-8 character.
std::string_view cut(std::string_view text, std::size_t bytes_max);

/// An error whose text is cut to error_text_bytes_max, with \xNN for bytes that are no text.
tl::unexpected<Error> fail(ErrorCode code, std::string text);

/// The error with the place of the instruction and the name of its op, which also begins the text.
/// An error that has its op already stays as it is.
Error located(Error error, std::span<const std::uint32_t> path, std::string_view op);

/// The error of a request for which the system has no memory left.
Error no_memory();

/// Bytes that the error holds, those of its cause aside.
std::uint64_t held_bytes(const Error& error);

}  // namespace outrigger

#define OUTRIGGER_CONCAT_(a, b) a##b
#define OUTRIGGER_CONCAT(a, b) OUTRIGGER_CONCAT_(a, b)

/// Returns the error of `expr` (a Result) from this function, or goes on.
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
