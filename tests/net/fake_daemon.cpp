// outriggerd with a fake session instead of an engine. With an argument, the session never answers,
// as during a program of 30 s.

#include <cstdio>

#include "net/descriptor.hpp"
#include "net/fake_session.hpp"
#include "net/process.hpp"
#include "net/serve_stdio.hpp"

int main(int argc, char** argv) {
  using namespace outrigger;
  net::wait_briefly(argv);
  const int out_fd = net::take_standard_output();
  net::set_signal_dispositions();
  net::die_with_parent();
  net::volunteer_for_oom_killer();
  std::puts("a stray line");
  std::fflush(stdout);
  Limits limits;
  limits.requests_window = 100;
  net::serve_stdio(limits, 0, out_fd, [argc](std::shared_ptr<engine::Outbox> outbox) {
    return std::make_shared<testing::FakeSession>(std::move(outbox), argc > 1);
  });
}
