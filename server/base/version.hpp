#pragma once

namespace outrigger {

/// Name and version, as the handshake and --version tell them.
inline constexpr const char* server_name = "outriggerd " OUTRIGGER_VERSION;

}  // namespace outrigger
