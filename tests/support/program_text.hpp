#pragma once

#include <string>

#include "base/program.hpp"

namespace outrigger::test {

/// The program as a text for failure messages.
std::string to_text(const Program& program, int indent = 0);

}  // namespace outrigger::test
