#pragma once

namespace outrigger {

/// The name and the version in the handshake and in the output of --version.
inline constexpr const char* server_name = "outriggerd " OUTRIGGER_VERSION;

}  // namespace outrigger
