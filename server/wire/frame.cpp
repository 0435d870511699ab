#include "wire/frame.hpp"

#include <algorithm>
#include <cassert>
#include <string>

namespace outrigger::wire {

namespace {
constexpr std::size_t first_bytes = 4096;
constexpr std::size_t growth = 4;
}  // namespace

bool FrameReader::take_header(std::span<const std::uint8_t>& bytes) {
  const std::size_t count = std::min(frame_header_bytes - received_, bytes.size());
  std::copy_n(bytes.begin(), count, header_.begin() + static_cast<std::ptrdiff_t>(received_));
  bytes = bytes.subspan(count);
  received_ += count;
  if (received_ < frame_header_bytes) return false;
  declared_ = 0;
  for (const std::uint8_t byte : header_) declared_ = declared_ << 8 | byte;
  return true;
}

/// Makes payload_ at least `wanted` bytes long, or as long as the growth limit allows for the bytes
/// that have come.
void FrameReader::grow(std::size_t wanted) {
  if (wanted <= payload_->size()) return;
  const std::size_t allowed = std::max(first_bytes, growth * (wanted - 1));
  const std::size_t size = std::min(declared_, allowed);
  payload_->reserve(size);  // resize() alone may take twice as much
  payload_->resize(size);
}

Result<std::shared_ptr<Frame>> FrameReader::take(std::span<const std::uint8_t>& bytes) {
  if (!payload_) {
    if (!take_header(bytes)) return nullptr;
    if (declared_ > frame_bytes_max_) {
      return fail(ErrorCode::bad_frame, "a frame declares " + std::to_string(declared_) +
                                            " bytes, at most " + std::to_string(frame_bytes_max_) +
                                            " are allowed");
    }
    payload_ = std::make_shared<Frame>();
  }
  const std::size_t count = std::min(declared_ - filled_, bytes.size());
  grow(filled_ + count);
  std::copy_n(bytes.begin(), count, payload_->begin() + static_cast<std::ptrdiff_t>(filled_));
  bytes = bytes.subspan(count);
  filled_ += count;
  return filled_ == declared_ ? finish() : nullptr;
}

std::span<std::uint8_t> FrameReader::space() {
  if (!payload_) return {};
  grow(filled_ + 1);
  return std::span(*payload_).subspan(filled_);
}

std::shared_ptr<Frame> FrameReader::filled(std::size_t count) {
  assert(payload_ && count <= payload_->size() - filled_);
  filled_ += count;
  return filled_ == declared_ ? finish() : nullptr;
}

std::shared_ptr<Frame> FrameReader::finish() {
  received_ = 0;
  filled_ = 0;
  return std::exchange(payload_, nullptr);
}

}  // namespace outrigger::wire
