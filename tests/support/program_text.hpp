#pragma once

#include <string>

#include "base/program.hpp"

namespace outrigger::test {

/// For failure messages.
std::string to_text(const Program& program, int indent = 0);

}  // namespace outrigger::test
