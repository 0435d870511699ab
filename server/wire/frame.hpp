#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "base/limits.hpp"
#include "wire/buffer.hpp"

namespace outrigger::wire {

constexpr std::size_t frame_header_bytes = 4;

/// Splits a stream of bytes into the payloads of frames (PROTOCOL.md section 1). It does no I/O:
/// the owner reads the bytes, and the FrameReader assembles them.
///
/// Invariant: between calls the reader holds only the beginning of one frame, either
///   - some of its header: received_ < 4, payload_ is null; or
///   - its whole header, declared_ ≤ frame_bytes_max as it was then, and payload_ with filled_ <
///     declared_ bytes, whose memory is at most max(4 KiB, 4 × filled_), and at most declared_.
/// Therefore a peer makes it hold at most four times the bytes that were sent, however much the
/// header declares. Between frames the reader holds nothing.
class FrameReader {
 public:
  explicit FrameReader(const Limits& limits) : frame_bytes_max_(limits.frame_bytes_max) {}

  /// The limit holds from the next frame on.
  void set_frame_bytes_max(std::uint32_t bytes) { frame_bytes_max_ = bytes; }

  /// Takes bytes from the front of `bytes` until a payload is complete, and returns it; returns
  /// null if `bytes` becomes empty first. Fails with bad_frame if a header declares too much; the
  /// stream is then lost.
  Result<std::shared_ptr<Frame>> take(std::span<const std::uint8_t>& bytes);

  /// The memory for the next bytes of the payload. A direct write there saves a copy of a large
  /// payload. The span is empty if no payload is in progress. After a write of n > 0 bytes, call
  /// filled(n).
  std::span<std::uint8_t> space();
  /// Returns the payload if it is now complete.
  std::shared_ptr<Frame> filled(std::size_t count);

 private:
  bool take_header(std::span<const std::uint8_t>& bytes);
  void grow(std::size_t wanted);
  std::shared_ptr<Frame> finish();

  std::uint32_t frame_bytes_max_;
  std::array<std::uint8_t, frame_header_bytes> header_{};
  std::size_t received_ = 0;
  std::size_t declared_ = 0;
  std::size_t filled_ = 0;
  std::shared_ptr<Frame> payload_;
};

}  // namespace outrigger::wire
