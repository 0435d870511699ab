// Bytes from a client → frames → requests. For all inputs, there is no crash, and the decoder's
// memory stays within its limit.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "wire/frame.hpp"
#include "wire/program.hpp"
#include "wire/request.hpp"
#include "wire/value.hpp"

namespace {

using namespace outrigger;

const Limits limits;

void demand(bool condition) {
  if (!condition) std::abort();
}

void decode(std::span<const std::uint8_t> payload) {
  static wire::Decoder decoder(limits);
  const auto request = decoder.decode(payload);
  if (request) {
    demand(request->id != 0);
  } else {
    const wire::Refusal* const refusal = &request.error();
    demand((refusal->id == 0) == (refusal->error.code == ErrorCode::bad_frame));
    demand(!refusal->error.text.empty() && refusal->error.text.size() < 1024);
  }
}

void check_memory(std::span<const std::uint8_t> payload) {
  wire::ValueParser parser(limits);
  static_cast<void>(parser.parse(payload));
  demand(parser.memory_bytes() <= sizeof(wire::Node) * payload.size());
}

/// Decodes the same bytes as an uploaded program.
void decode_program(std::span<const std::uint8_t> bytes) {
  const auto count = wire::count_program_values(bytes, limits);
  if (!count) return demand(count.error().code == ErrorCode::bad_request);
  demand(*count <= bytes.size());
  std::vector<wire::Node> nodes(*count);
  const auto program = wire::decode_program(bytes, nodes, limits);
  demand(program || program.error().code != ErrorCode::bad_frame);
}

void receive(std::span<const std::uint8_t> stream, std::size_t piece) {
  wire::FrameReader reader(limits);
  std::size_t received = 0;
  while (!stream.empty()) {
    auto bytes = stream.first(std::min(piece, stream.size()));
    stream = stream.subspan(bytes.size());
    received += bytes.size();
    while (!bytes.empty()) {
      const auto frame = reader.take(bytes);
      if (!frame) return;
      if (*frame) decode(**frame);
    }
    demand(reader.space().size() <= std::max<std::size_t>(4096, 4 * received));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span input(data, size);
  decode(input);
  check_memory(input);
  decode_program(input);
  if (size > 0) receive(input.subspan(1), 1U + data[0]);
  return 0;
}
