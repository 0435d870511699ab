// Each golden case as a micro benchmark: the time of a call in a session, by op and dtype. The
// inputs are tiny, so that the overhead of each op dominates.
//
//   cases_bench OUT.json [BEFORE.json]     BEFORE: an earlier OUT, for comparison

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <limits>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/client.hpp"
#include "support/golden.hpp"

namespace outrigger::bench {
namespace {

using test::Case;
using test::Client;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t program_id = std::uint64_t{1} << 40;
constexpr int repetitions_min = 4;
constexpr int repetitions_max = 12;
constexpr double case_us_max = 400;
constexpr std::size_t shown = 20;
/// From this ratio on, a row counts as slower than before. Smaller ratios are noise of a few
/// microseconds.
constexpr double slower = 1.5;

/// All cases of an op whose first operand has that dtype.
struct Row {
  int cases = 0;
  double fastest_us = std::numeric_limits<double>::infinity();
  double total_us = 0;

  void add(double us) {
    ++cases;
    fastest_us = std::min(fastest_us, us);
    total_us += us;
  }
};

using Key = std::pair<std::string, std::string>;  // op, dtype
using Rows = std::map<Key, Row>;

/// A case of one op, or a program by the first word of its name.
Key key_of(const Case& test) {
  const std::string op = test.op.empty() ? test.name.substr(0, test.name.find('/')) : test.op;
  if (!test.args.empty()) return {op, test.args.front().dtype};
  return {op, test.expected.empty() ? "" : test.expected.front().dtype};
}

/// The microseconds of one call of the prepared program, with its reply.
double call_once(Client& client, std::span<const std::uint64_t> args, std::size_t results) {
  std::vector<std::uint64_t> handles(results);
  for (std::uint64_t& handle : handles) handle = client.new_handle();
  const std::uint64_t id = client.new_id();
  const test::Payload payload = test::encode_call(id, program_id, args, handles);
  const auto start = Clock::now();
  const auto reply = client.request(id, payload);
  const std::chrono::duration<double, std::micro> took = Clock::now() - start;
  if (!reply.ok()) throw std::runtime_error(reply.text());
  client.release(handles);
  return took.count();
}

/// The microseconds of the fastest call of a case.
double measure(Client& client, const Case& test) {
  for (const auto& [id, program] : test.prepared) client.wait(client.prepare_later(id, program));
  client.wait(client.prepare_later(program_id, test.program));
  std::vector<std::uint64_t> args;
  for (const test::Data& arg : test.args) args.push_back(client.upload(arg));
  // The first call makes the plan.
  call_once(client, args, test.program.outputs.size());
  double fastest = std::numeric_limits<double>::infinity();
  double spent = 0;
  for (int i = 0; i < repetitions_max && (i < repetitions_min || spent < case_us_max); ++i) {
    const double us = call_once(client, args, test.program.outputs.size());
    fastest = std::min(fastest, us);
    spent += us;
  }
  client.release(args);
  return fastest;
}

Rows measure_all() {
  Client client(test::open_session_transport({.threads = 1}));
  Rows rows;
  for (const std::string& family : test::golden_families()) {
    for (const Case& test : test::read_golden(family)) {
      if (!test.error.empty()) continue;
      try {
        rows[key_of(test)].add(measure(client, test));
      } catch (const std::exception& error) {
        throw std::runtime_error(test.name + ": " + error.what());
      }
    }
  }
  Case nothing;
  rows[{"(nothing)", ""}].add(measure(client, nothing));
  return rows;
}

/// Writes one row on each line, as read() expects it.
void write(const Rows& rows, const char* path) {
  std::ofstream out(path);
  out << "[\n";
  std::size_t left = rows.size();
  for (const auto& [key, row] : rows) {
    std::array<char, 200> line{};
    std::snprintf(
        line.data(), line.size(),
        R"({"op": "%s", "dtype": "%s", "cases": %d, "fastest_us": %.2f, "mean_us": %.2f})",
        key.first.c_str(), key.second.c_str(), row.cases, row.fastest_us, row.total_us / row.cases);
    out << line.data() << (--left > 0 ? ",\n" : "\n");
  }
  out << "]\n";
}

std::map<Key, double> read(const char* path) {
  std::map<Key, double> fastest;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto text = [&](const std::string& name) {
      const std::string before = "\"" + name + "\": \"";
      const std::size_t at = line.find(before);
      if (at == std::string::npos) return std::string();
      return line.substr(at + before.size(),
                         line.find('"', at + before.size()) - at - before.size());
    };
    const std::size_t at = line.find("\"fastest_us\": ");
    if (at == std::string::npos) continue;
    fastest[{text("op"), text("dtype")}] = std::stod(line.substr(at + 14));
  }
  return fastest;
}

void print_slowest(const Rows& rows) {
  std::vector<std::pair<Key, Row>> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.second.fastest_us > b.second.fastest_us; });
  std::printf(
      "golden cases, us of the fastest call of the fastest case; a call of nothing: %.2f\n\n",
      rows.at({"(nothing)", ""}).fastest_us);
  std::printf("%-24s %-10s %6s %12s %10s\n", "slowest", "dtype", "cases", "fastest us", "mean us");
  for (std::size_t i = 0; i < std::min(shown, sorted.size()); ++i) {
    const auto& [key, row] = sorted[i];
    std::printf("%-24s %-10s %6d %12.2f %10.2f\n", key.first.c_str(), key.second.c_str(), row.cases,
                row.fastest_us, row.total_us / row.cases);
  }
}

void print_slower(const Rows& rows, const std::map<Key, double>& before) {
  std::printf("\nslower than before by %.1f times or more:\n", slower);
  bool any = false;
  for (const auto& [key, row] : rows) {
    const auto old = before.find(key);
    if (old == before.end() || row.fastest_us < old->second * slower) continue;
    any = true;
    std::printf("%-24s %-10s %10.2f us, was %10.2f us\n", key.first.c_str(), key.second.c_str(),
                row.fastest_us, old->second);
  }
  if (!any) std::printf("none\n");
}

}  // namespace
}  // namespace outrigger::bench

int main(int argc, char** argv) {
  using namespace outrigger::bench;
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: cases_bench OUT.json [BEFORE.json]\n");
    return 2;
  }
  try {
    const auto before = argc == 3 ? read(argv[2]) : std::map<Key, double>{};
    const Rows rows = measure_all();
    write(rows, argv[1]);
    print_slowest(rows);
    if (argc == 3) print_slower(rows, before);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cases_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
