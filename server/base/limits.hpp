#pragma once

#include <cstdint>

namespace outrigger {

/// Every limit on what a client can make the daemon hold or do. The handshake tells them.
struct Limits {
  // Wire, checked before memory is taken.
  /// The decoder takes 16 bytes for each msgpack value, and a value has at least one byte.
  std::uint32_t frame_bytes_max = 1U << 20;
  /// Regions and calls of programs inside each other. The decoder, the planner and the executor
  /// follow them by recursion, with some 8 KiB for each on the stack, which may have 2 MiB. The
  /// clauses of a long cond are regions inside each other.
  static constexpr std::uint32_t nesting_max = 128;
  /// Levels of msgpack values. A region costs four levels; a request around them, and the operands
  /// and attributes of the innermost instruction, cost some more.
  std::uint32_t depth_max = 4 * nesting_max + 16;

  /// Of a run, about 49 days: what is longer counts as this much, and no clock overflows.
  static constexpr std::uint64_t deadline_ms_max = 0xffffffff;

  // Flow.
  std::uint32_t requests_window = 4096;
  std::uint64_t bytes_window = 16ULL << 20;
  /// Replies that wait to be written; above it, the session's requests are not read on.
  std::uint64_t replies_bytes_max = 32ULL << 20;

  // Sockets.
  /// A frame before the reply to hello, and the token in it.
  static constexpr std::uint32_t first_frames_bytes_max = 4096;
  static constexpr std::uint32_t token_bytes_max = 1024;

  // Sessions.
  std::uint64_t handles_max = 1ULL << 20;
  std::uint32_t programs_max = 1024;
  std::uint32_t plans_per_program_max = 16;
  std::uint32_t instructions_max = 1U << 18;  ///< of a program, calls expanded
  /// A program in msgpack that is prepared from a tensor.
  std::uint64_t program_bytes_max = 16ULL << 20;
  /// A program with all that it calls, as data.
  static constexpr std::uint64_t program_data_max = 64ULL << 20;
  /// Bytes of all that is kept only to save work later (tensor/kept.hpp): this share of the memory
  /// limit, within these bounds; the upper one without a limit.
  static constexpr std::uint64_t kept_share = 8;
  static constexpr std::uint64_t kept_bytes_min = 16ULL << 20;
  static constexpr std::uint64_t kept_bytes_max = 256ULL << 20;
  /// Bytes that failed handles may take beyond the memory limit, so that their causes are still
  /// told.
  static constexpr std::uint64_t failures_bytes_beyond = 1ULL << 20;
  /// Attributes of one instruction.
  std::uint32_t attrs_max = 64;
  /// Results of one request, and what the reply takes for each at most.
  std::uint32_t results_max = 1U << 17;
  static constexpr std::uint64_t result_bytes_max = 192;
  /// A reply: results_max results, or frame_bytes_max bytes of data.
  static constexpr std::uint32_t reply_bytes_max = 32U << 20;
  static constexpr std::uint32_t npz_members_max = 4096;
  std::uint32_t uploads_max = 64;
  /// Steps that the reply to a profiled run tells of, and names of ops for each.
  static constexpr std::uint32_t profiled_steps_max = 256;
  static constexpr std::uint32_t profiled_ops_max = 32;

  // Tensors.
  static constexpr std::uint32_t rank_max = 16;
};

}  // namespace outrigger
