#include "base/error.hpp"

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
  }
  return "internal";
}

}  // namespace outrigger
