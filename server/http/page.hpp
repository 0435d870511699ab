#pragma once

#include <string_view>

namespace outrigger::http {

// The files of server/http/page; the build makes a source of them.
extern const std::string_view page_html;
extern const std::string_view page_css;
extern const std::string_view page_js;

}  // namespace outrigger::http
