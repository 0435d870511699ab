#pragma once

#include <cstdint>

namespace outrigger {

/// All limits on the resources that a client can make the daemon use. The handshake contains them.
struct Limits {
  // Limits of the wire. They are checked before memory is allocated.
  /// The decoder takes 16 bytes for each msgpack value, and a value has at least one byte.
  std::uint32_t frame_bytes_max = 1U << 20;
  /// The nesting of regions and of calls of programs. The decoder, the planner and the executor
  /// recurse once for each level, with about 8 KiB of stack each; the stack may be as small as 2
  /// MiB. The clauses of a long cond are nested regions.
  static constexpr std::uint32_t nesting_max = 128;
  /// Levels of msgpack values. A region costs four levels; a request around them, and the operands
  /// and attributes of the innermost instruction, cost some more.
  std::uint32_t depth_max = 4 * nesting_max + 16;

  /// The longest deadline of a run, about 49 days. A longer one is set to this value, so that no
  /// clock overflows.
  static constexpr std::uint64_t deadline_ms_max = 0xffffffff;

  // Limits of the flow of requests and replies.
  std::uint32_t requests_window = 4096;
  std::uint64_t bytes_window = 16ULL << 20;
  /// The replies that wait to be written. Above this limit, the daemon reads no more requests of
  /// the session.
  std::uint64_t replies_bytes_max = 32ULL << 20;

  // Limits of sockets.
  /// The bytes of a frame before the reply to hello, and of the token in it.
  static constexpr std::uint32_t first_frames_bytes_max = 4096;
  static constexpr std::uint32_t token_bytes_max = 1024;

  // Limits of a session.
  std::uint64_t handles_max = 1ULL << 20;
  std::uint32_t programs_max = 1024;
  std::uint32_t plans_per_program_max = 16;
  std::uint32_t kernels_max = 1024;
  std::uint32_t instructions_max = 1U << 18;  ///< in a program with its calls expanded
  /// A prepared program that comes as a tensor of msgpack bytes.
  std::uint64_t program_bytes_max = 16ULL << 20;
  /// A program as data, together with all programs that it calls.
  static constexpr std::uint64_t program_data_max = 64ULL << 20;
  /// The budget for data that is kept only to save work later (tensor/kept.hpp): this share of the
  /// memory limit, within these bounds. Without a memory limit it is the upper bound.
  static constexpr std::uint64_t kept_share = 8;
  static constexpr std::uint64_t kept_bytes_min = 16ULL << 20;
  static constexpr std::uint64_t kept_bytes_max = 256ULL << 20;
  /// The bytes that failed handles may take beyond the memory limit, so that the client still
  /// receives the causes.
  static constexpr std::uint64_t failures_bytes_beyond = 1ULL << 20;
  /// The attributes of one instruction.
  std::uint32_t attrs_max = 64;
  /// The results of one request, and the bytes of the reply for each of them.
  std::uint32_t results_max = 1U << 17;
  static constexpr std::uint64_t result_bytes_max = 192;
  /// A reply: the results of results_max, or frame_bytes_max bytes of data.
  static constexpr std::uint32_t reply_bytes_max = 32U << 20;
  static constexpr std::uint32_t npz_members_max = 4096;
  std::uint32_t uploads_max = 64;
  /// The steps in the reply to a profiled run, and the names of ops in each step.
  static constexpr std::uint32_t profiled_steps_max = 256;
  static constexpr std::uint32_t profiled_ops_max = 32;

  // Limits of names, for all sessions together.
  static constexpr std::uint32_t names_max = 1U << 16;
  static constexpr std::uint32_t name_bytes_max = 255;
  static constexpr std::uint32_t names_listed_max = 1000;
  /// The bytes of the reply for each name that is listed.
  static constexpr std::uint64_t listed_bytes_max = 1024;
  static constexpr std::uint32_t subscriptions_max = 64;  ///< of a session
  /// The names that were taken away last, for subscribers that have not heard of it yet.
  static constexpr std::uint32_t removals_kept = 1024;

  // Limits of tensors.
  static constexpr std::uint32_t rank_max = 16;
};

}  // namespace outrigger
