#pragma once

namespace outrigger {

/// Several functions as one, for std::visit: the type of the alternative selects the function.
template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace outrigger
