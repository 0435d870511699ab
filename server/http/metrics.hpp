#pragma once

#include <cstdint>
#include <string>

#include "engine/session/session.hpp"
#include "http/process_figures.hpp"

namespace outrigger::http {

/// In Prometheus' text format, version 0.0.4. `answers`: HTTP requests so far.
std::string metrics_text(const engine::Vitals& vitals, const ProcessFigures& process,
                         std::uint64_t answers);

}  // namespace outrigger::http
