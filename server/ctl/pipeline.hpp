#pragma once

#include <cstdint>
#include <deque>

#include "ctl/connection.hpp"

namespace outrigger::ctl {

/// Chunks of a tensor that are sent before the reply to the first of them is read.
inline constexpr std::size_t chunks_in_flight = 8;

/// The bytes of a tensor that a request or a reply may have.
Result<std::uint64_t> chunk_of(const Connection& connection);

/// Sends `count` requests, each as send(i) makes it, and hands their replies to take(i, reply) in
/// their order. At most `in_flight` replies are awaited at a time.
template <typename Send, typename Take>
Result<void> pipeline(Connection& connection, std::uint64_t count, std::size_t in_flight,
                      const Send& send, const Take& take) {
  std::deque<std::uint64_t> sent;
  for (std::uint64_t i = 0, taken = 0; taken < count;) {
    if (i < count && sent.size() < in_flight) {
      sent.push_back(send(i++));
      continue;
    }
    OUTRIGGER_TRY(const Reply reply, connection.reply_to(sent.front()));
    sent.pop_front();
    OUTRIGGER_CHECK(take(taken++, reply));
  }
  return {};
}

}  // namespace outrigger::ctl
