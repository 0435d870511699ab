#include "conformance/runner.hpp"

#include <array>
#include <utility>
#include <variant>

#include "ops/op.hpp"

namespace outrigger::test {
namespace {

using Failure = std::optional<std::string>;

Client::Download download_later(Client& client, const Reply::Result& result) {
  return client.download_later(result.handle, result.dtype, result.shape);
}

Failure compare_all(std::span<const Data> expected, std::span<const Data> actual,
                    const Tolerance& tolerance, const std::string& what) {
  if (expected.size() != actual.size()) {
    return what + ": expected " + std::to_string(expected.size()) + " tensors, got " +
           std::to_string(actual.size());
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (auto text = difference(expected[i], actual[i], tolerance)) {
      return what + " " + std::to_string(i) + ": " + *text;
    }
  }
  return std::nullopt;
}

/// Small arguments are printed, so that the message is sufficient to understand the failure.
std::string with_args(const std::string& text, std::span<const Data> args) {
  std::string out = text;
  for (const Data& arg : args) out += "\n  with " + value_text(arg, 20);
  return out;
}

Failure check_error(Client& client, const Case& test, const Outcome& outcome,
                    std::uint64_t failed_handle) {
  const Reply& reply = outcome.reply;
  if (reply.status != "error") return "expected error " + test.error + ", got " + reply.status;
  if (reply.code() != test.error) return "expected " + test.error + ", got " + reply.text();
  if (reply.error->text.empty()) return "an error without a text";
  if (!reply.error->written.empty()) return "an error that names written handles";
  if (!test.op.empty()) {
    if (reply.error->op != test.op) return "names op \"" + reply.error->op + "\": " + reply.text();
    if (reply.error->index != std::vector<std::uint32_t>{0})
      return "names another index: " + reply.text();
  }
  if (failed_handle != 0) {
    const Reply info = client.info(failed_handle);
    if (info.code() != "failed_operand") return "the result's handle answers " + info.text();
    client.release(std::array{failed_handle});
  }
  if (!client.ping().ok()) return "no answer to a ping after the error";
  return std::nullopt;
}

struct Uploaded {
  std::vector<std::uint64_t> handles;
  std::vector<std::uint64_t> requests;
};

Uploaded upload_all(Client& client, std::span<const Data> args) {
  Uploaded out;
  for (const Data& arg : args) {
    out.handles.push_back(client.new_handle());
    out.requests.push_back(client.upload_later(out.handles.back(), arg));
  }
  return out;
}

std::vector<std::uint64_t> new_handles(Client& client, std::size_t count) {
  std::vector<std::uint64_t> handles(count);
  for (std::uint64_t& handle : handles) handle = client.new_handle();
  return handles;
}

Outcome carry_out(Client& client, const Program& program, std::span<const Data> args,
                  std::span<const std::uint64_t> results) {
  const Uploaded uploaded = upload_all(client, args);
  const std::uint64_t run = client.run_later(program, uploaded.handles, results);
  for (const std::uint64_t request : uploaded.requests) client.wait(request);
  Outcome outcome;
  outcome.reply = client.wait(run);
  // Each wait costs a round trip: all requests are on their way before the first wait.
  std::vector<Client::Download> downloads;
  for (const Reply::Result& result : outcome.reply.results)
    downloads.push_back(download_later(client, result));
  for (std::size_t i = 0; i < args.size(); ++i) {
    downloads.push_back(client.download_later(uploaded.handles[i], args[i].dtype, args[i].shape));
  }
  std::vector<std::uint64_t> done = uploaded.handles;
  if (outcome.reply.ok()) done.insert(done.end(), results.begin(), results.end());
  const std::uint64_t released = client.release_later(done);
  for (std::size_t i = 0; i < downloads.size(); ++i) {
    const bool is_output = i < outcome.reply.results.size();
    (is_output ? outcome.outputs : outcome.args).push_back(client.wait(downloads[i]));
  }
  client.wait(released);
  return outcome;
}

Instruction instruction(std::string op, std::vector<Operand> in, ValueId out) {
  Instruction made;
  made.op = std::move(op);
  made.in = std::move(in);
  made.out = {out};
  return made;
}

/// The position of the written operand among the program's arguments; nothing if it is not an
/// argument.
std::optional<std::size_t> written_argument(const Case& test) {
  if (test.op.empty()) return std::nullopt;
  const ops::OpRow* row = ops::find_op(test.op);
  const Instruction& made = test.program.body.front();
  if (row == nullptr || row->in_place < 0) return std::nullopt;
  const auto position = static_cast<std::size_t>(row->in_place);
  if (position >= made.in.size()) return std::nullopt;
  const auto* id = std::get_if<ValueId>(&made.in[position]);
  if (id == nullptr) return std::nullopt;
  return *id;
}

/// True for a case of the in-place form itself. check_in_place makes the in-place form of the other
/// cases.
bool is_in_place(const Case& test) {
  return !test.op.empty() && test.program.body.front().in_place;
}

bool is_view(const std::string& op) {
  const ops::OpRow* row = ops::find_op(op);
  return row != nullptr && row->kind == ops::Kind::view;
}

}  // namespace

Outcome carry_out(Client& client, const Program& program, std::span<const Data> args) {
  const auto results = new_handles(client, program.outputs.size());
  Outcome outcome = carry_out(client, program, args, results);
  if (!outcome.reply.ok()) client.release(results);
  return outcome;
}

Failure check_case(Client& client, const Case& test) {
  const auto results = new_handles(client, test.program.outputs.size());
  const Outcome outcome = carry_out(client, test.program, test.args, results);
  if (!outcome.reply.ok() && test.error.empty()) client.release(results);
  std::vector<Data> after = test.args;
  if (const auto written = written_argument(test);
      written && is_in_place(test) && outcome.reply.ok())
    after[*written] = test.expected.front();
  if (auto text = compare_all(after, outcome.args, {}, "argument afterwards")) return text;
  if (!test.error.empty()) {
    auto text = check_error(client, test, outcome, results.empty() ? 0 : results.front());
    client.release(results);
    return text;
  }
  if (!outcome.reply.ok()) return with_args(outcome.reply.text(), test.args);
  if (auto text = compare_all(test.expected, outcome.outputs, test.tolerance, "result")) {
    return with_args(*text, test.args);
  }
  return std::nullopt;
}

Failure check_fused(Client& client, const Case& test) {
  if (test.op.empty() || !test.error.empty() || test.expected.size() != 1) return std::nullopt;
  // The ids 0 … n-1 are parameters. Two instructions for each of them follow, then the op, then the
  // instructions after it.
  const auto params = static_cast<ValueId>(test.args.size());
  Program fused;
  fused.params = test.program.params;
  for (ValueId i = 0; i < params; ++i) {
    fused.body.push_back(instruction("negate", {i}, params + 2 * i));
    fused.body.push_back(instruction("negate", {params + 2 * i}, params + 2 * i + 1));
  }
  // Complex numbers have no order.
  const std::string compare = test.expected.front().dtype[0] == 'c' ? "equal" : "greater";
  const ValueId result = 3 * params;
  Instruction op = test.program.body.front();
  for (Operand& operand : op.in) {
    if (auto* id = std::get_if<ValueId>(&operand)) *id = params + 2 * *id + 1;
  }
  ValueId next = result;
  for (ValueId& id : op.out) id = next++;
  fused.outputs = op.out;
  fused.body.push_back(std::move(op));
  const std::vector<Instruction> after{instruction("add", {result, result}, next),
                                       instruction("multiply", {next, result}, next + 1),
                                       instruction(compare, {next + 1, result}, next + 2)};
  fused.body.insert(fused.body.end(), after.begin(), after.end());
  fused.outputs.push_back(next + 1);
  fused.outputs.push_back(next + 2);
  const Outcome together = carry_out(client, fused, test.args);
  if (!together.reply.ok()) return "fused: " + together.reply.text();

  Outcome alone = carry_out(client, test.program, test.args);
  if (!alone.reply.ok()) return "alone: " + alone.reply.text();
  std::vector<Data> separate = std::move(alone.outputs);
  const auto run_alone = [&](const std::string& name, const Data& x, const Data& y) {
    const Program program{{0, 1}, {instruction(name, {ValueId{0}, ValueId{1}}, 2)}, {2}};
    return carry_out(client, program, std::array{x, y}).outputs.at(0);
  };
  const Data sum = run_alone("add", separate[0], separate[0]);
  separate.push_back(run_alone("multiply", sum, separate[0]));
  separate.push_back(run_alone(compare, separate.back(), separate[0]));
  if (auto text = compare_all(separate, together.outputs, {}, "fused result")) {
    return with_args(*text, test.args);
  }
  return compare_all(test.args, together.args, {}, "argument after the fused program");
}

Failure check_in_place(Client& client, const Case& test) {
  const auto written = written_argument(test);
  if (!written || !test.error.empty() || is_in_place(test)) return std::nullopt;
  const Data& before = test.args[*written];
  const Data& expected = test.expected.front();
  const bool view = is_view(test.op);
  // A byte that holds an integer below 8 bits has another meaning in another dtype.
  const auto packed = [](const std::string& dtype) {
    return dtype == "u2" || dtype == "u4" || dtype == "s2" || dtype == "s4";
  };
  const bool reinterprets =
      view && before.dtype != expected.dtype && (packed(before.dtype) || packed(expected.dtype));
  const bool allowed =
      (view && !reinterprets) || (before.dtype == expected.dtype && before.shape == expected.shape);

  Program program = test.program;
  program.body.front().in_place = true;
  const Uploaded uploaded = upload_all(client, test.args);
  const std::uint64_t copy = client.new_handle();
  const std::uint64_t result = client.new_handle();
  const std::uint64_t kept =
      client.run_later({{0}, {}, {0}}, std::array{uploaded.handles[*written]}, std::array{copy});
  const std::uint64_t run = client.run_later(program, uploaded.handles, std::array{result});
  for (const std::uint64_t request : uploaded.requests) client.wait(request);
  if (const Reply reply = client.wait(kept); !reply.ok())
    return "copy of a handle: " + reply.text();
  const Reply reply = client.wait(run);

  const auto check = [&]() -> Failure {
    std::vector<Data> after = test.args;
    if (!allowed) {
      if (reply.code() != "bad_dtype" && reply.code() != "bad_shape") {
        return "in place: expected bad_dtype or bad_shape, got " + reply.text();
      }
    } else {
      if (!reply.ok()) return "in place: " + reply.text();
      const Data got = client.wait(download_later(client, reply.results.at(0)));
      if (auto text = difference(expected, got, test.tolerance)) return "in place: " + *text;
      if (!view) after[*written] = got;
    }
    for (std::size_t i = 0; i < after.size(); ++i) {
      const Data now = client.download(uploaded.handles[i], after[i].dtype, after[i].shape);
      if (auto text = difference(after[i], now)) {
        return "in place: argument " + std::to_string(i) + " afterwards: " + *text;
      }
    }
    if (auto text = difference(before, client.download(copy, before.dtype, before.shape))) {
      return "in place: another handle of the value sees the write: " + *text;
    }
    return std::nullopt;
  };
  Failure text = check();
  if (text) text = with_args(*text, test.args);
  client.release(uploaded.handles);
  client.release(std::array{copy, result});
  return text;
}

Failure check_aliased(Client& client, const Case& test) {
  const auto written = written_argument(test);
  if (!written || !test.error.empty() || is_view(test.op)) return std::nullopt;
  const Data& value = test.args[*written];
  const auto type = [](const Data& data) { return std::pair(data.dtype, data.shape); };
  if (type(value) != type(test.expected.front())) return std::nullopt;
  std::vector<Data> args = test.args;
  std::size_t aliases = 0;
  for (Data& arg : args) {
    if (type(arg) == type(value)) {
      arg = value;
      ++aliases;
    }
  }
  if (aliases < 2) return std::nullopt;
  const Outcome apart = carry_out(client, test.program, args);
  if (!apart.reply.ok()) return std::nullopt;  // e.g. because indices are now out of bounds

  Program program = test.program;
  program.body.front().in_place = true;
  Uploaded uploaded = upload_all(client, args);
  const auto own = uploaded.handles;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (type(args[i]) == type(value)) uploaded.handles[i] = own[*written];
  }
  const std::uint64_t result = client.new_handle();
  const Reply reply = client.run(program, uploaded.handles, std::array{result});
  Failure text;
  if (!reply.ok()) {
    text = "aliased: " + reply.text();
  } else {
    const Data got = client.wait(download_later(client, reply.results.at(0)));
    text = difference(apart.outputs.at(0), got);
    if (text) text = with_args("aliased: " + *text, args);
  }
  client.release(own);
  client.release(std::array{result});
  return text;
}

}  // namespace outrigger::test
