#pragma once

#include <chrono>
#include <string_view>

namespace outrigger::ctl {

/// Ends the process with status 1 and one line on the standard error output, unless it has ended
/// before. The whole of the work has one deadline: sockets may block, and so may the look-up of a
/// name, which has no timeout of its own. `about` begins the line.
void set_deadline(std::chrono::milliseconds time, std::string_view about);

/// Takes the deadline away.
void end_deadline();

/// Sets the step that the line names. `text` must be a literal.
void now_doing(const char* text);

}  // namespace outrigger::ctl
