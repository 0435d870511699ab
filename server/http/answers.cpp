#include "http/answers.hpp"

#include <boost/asio/ip/address.hpp>

#include "http/metrics.hpp"
#include "http/page.hpp"
#include "http/process_figures.hpp"
#include "http/status.hpp"

namespace outrigger::http {

namespace {

constexpr std::string_view html_type = "text/html; charset=utf-8";
constexpr std::string_view css_type = "text/css; charset=utf-8";
constexpr std::string_view js_type = "text/javascript; charset=utf-8";
constexpr std::string_view json_type = "application/json";
constexpr std::string_view metrics_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

bool is_foreign_host(std::string_view host) {
  // Browsers always name a host.
  if (host.empty()) return false;
  // A port follows the last colon, unless that is within brackets.
  const std::size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
    host = host.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host == "localhost") return false;
  boost::system::error_code error;
  boost::asio::ip::make_address(std::string(host), error);
  return static_cast<bool>(error);
}

Answer answer_to(std::string_view path, const Sources& sources, std::uint64_t answers) {
  if (path == "/") return {200, html_type, std::string(page_html)};
  if (path == "/status.css") return {200, css_type, std::string(page_css)};
  if (path == "/status.js") return {200, js_type, std::string(page_js)};
  if (path == "/status.json")
    return {200, json_type, status_json(sources.vitals(), process_figures())};
  if (path == "/metrics")
    return {200, metrics_type, metrics_text(sources.vitals(), process_figures(), answers)};
  if (path == "/readyz") {
    if (sources.ready()) return {.body = "ready\n"};
    return {.status = 503, .body = "not ready: the server starts or stops\n"};
  }
  return {.status = 404, .body = "There are /, /metrics, /healthz, /readyz and /status.json.\n"};
}

Answer answer_of(const Result<engine::Probe::Health>& outcome) {
  if (!outcome) return {.status = 503, .body = "not healthy: " + outcome.error().text + "\n"};
  const bool good = *outcome == engine::Probe::Health::good;
  return {.body = good ? "healthy\n" : "healthy, but there is no memory left for a program\n"};
}

}  // namespace outrigger::http
