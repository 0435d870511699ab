#pragma once

#include "base/error.hpp"

namespace outrigger::sandbox {

/// From now on, no thread of this process makes a system call that a server with bound sockets does
/// not need: no new socket, no connection to others, no program (but if `may_execute`), no
/// debugger, no mount. Such a call fails with EPERM, an unknown one with ENOSYS. Threads and
/// processes that are started later have the same limits. Errors: internal, with the reason.
Result<void> restrict_calls(bool may_execute);

}  // namespace outrigger::sandbox
