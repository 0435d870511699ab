#include "ctl/pipeline.hpp"

#include "ctl/told.hpp"

namespace outrigger::ctl {

namespace {

/// The part of a frame that is not data.
constexpr std::uint64_t around_data = 1024;

}  // namespace

Result<std::uint64_t> chunk_of(const Connection& connection) {
  const Told limits(Told(connection.hello().value()).at("limits"));
  const auto frame = limits.natural("frame_bytes_max");
  if (!frame || *frame <= around_data)
    return fail(ErrorCode::bad_frame, "the server has not told how long a frame may be");
  return *frame - around_data;
}

}  // namespace outrigger::ctl
