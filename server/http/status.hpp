#pragma once

#include <string>

#include "engine/session/session.hpp"
#include "http/process_figures.hpp"

namespace outrigger::http {

/// The figures of the status page, as JSON.
std::string status_json(const engine::Vitals& vitals, const ProcessFigures& process);

}  // namespace outrigger::http
