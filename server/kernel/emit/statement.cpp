#include <algorithm>

#include "kernel/emit/function.hpp"

namespace outrigger::kernel {
namespace {

/// Products of a turn and a step up to this one do not overflow.
constexpr std::int64_t small_step = std::int64_t{1} << 40;

}  // namespace

bool FunctionEmitter::too_long() const {
  if (module_.out.text.size() + w_.size() <= module_bytes_max) return false;
  module_.out.too_long = true;
  return true;
}

void FunctionEmitter::block(std::uint32_t number) {
  for (const std::uint32_t at : kernel_.kernel.blocks[number]) {
    if (too_long()) return;
    statement(nodes()[at]);
  }
}

void FunctionEmitter::statement(const Node& n) {
  switch (n.what) {
    case What::set: {
      const std::string value = expression(n.operands[0]);
      w_.line("store ", ir_type(kernel_.kernel.slots[n.at]), " ", value, ", ptr ", slots_[n.at]);
      bounds_.set(n.at, n.operands[0]);
      return;
    }
    case What::store: {
      const std::string value = expression(n.operands[0]);
      const std::string address = element(n.at, n.operands, 1, n.line);
      w_.line("store ", ir_type(kernel_.tensors[n.at].type), " ", value, ", ptr ", address,
              tensors_[n.at].metadata);
      return;
    }
    case What::if_:
      return condition(n);
    case What::while_:
      return while_loop(n);
    case What::for_:
      return for_loop(n);
    case What::break_:
      spend_turns(loops_.back());
      return w_.jump(loops_.back().exit);
    case What::continue_:
      return w_.jump(loops_.back().next);
    case What::return_: {
      const std::vector<std::string> values = expressions(n.operands, 0);
      for (const Loop& loop : loops_) spend_turns(loop);
      return give_back(values);
    }
    case What::raise: {
      Site site{.kind = Site::Kind::raised, .line = n.line, .at = n.at};
      std::vector<std::string> cells;
      for (const std::uint32_t operand : n.operands) {
        site.types.push_back(type_of(operand));
        cells.push_back(as_cell(expression(operand), type_of(operand)));
      }
      return fail(std::move(site), cells);
    }
    default: {
      const std::vector<std::string> results = call(nodes()[n.operands[0]]);
      for (std::size_t i = 1; i < n.operands.size(); ++i) {
        const std::uint32_t slot = n.operands[i];
        w_.line("store ", ir_type(kernel_.kernel.slots[slot]), " ", results[i - 1], ", ptr ",
                slots_[slot]);
      }
    }
  }
}

void FunctionEmitter::condition(const Node& n) {
  if (straight_if(n)) return;
  const std::string yes = w_.label();
  const std::string no = w_.label();
  const std::string done = w_.label();
  w_.branch(expression(n.operands[0]), yes, no);
  w_.begin(yes);
  block(n.operands[1]);
  const bool first_ends = w_.ended();
  w_.jump(done);
  w_.begin(no);
  block(n.operands[2]);
  const bool both_end = first_ends && w_.ended();
  w_.jump(done);
  // No statement follows: the check has shown it.
  if (!both_end) w_.begin(done);
}

void FunctionEmitter::while_loop(const Node& n) {
  const std::string top = w_.label();
  const std::string body = w_.label();
  const std::string next = w_.label();
  const std::string exit = w_.label();
  Work work = work_of_block(kernel_.kernel, n.operands[0], module_.works);
  work += work_of_expression(kernel_.kernel, n.operands[1], module_.works);
  work += work_of_block(kernel_.kernel, n.operands[2], module_.works);
  if (counted_while(n, work)) return;
  w_.jump(top);
  w_.begin(top);
  block(n.operands[0]);
  w_.branch(expression(n.operands[1]), body, exit);
  w_.begin(body);
  loops_.push_back({.next = next, .exit = exit, .counter = {}, .begin = {}});
  block(n.operands[2]);
  loops_.pop_back();
  w_.jump(next);
  w_.begin(next);
  spend(std::to_string(work.cost + 2), n.line);
  w_.jump(top);
  w_.begin(exit);
}

/// The turns of a piece that is left before its end. The next look at the budget is elsewhere.
void FunctionEmitter::spend_turns(const Loop& loop) {
  if (loop.counter.empty()) return;
  std::string turn = w_.value("load ", loop.type, ", ptr ", loop.counter);
  if (!loop.begin.empty()) {
    const std::string begin = w_.value("load ", loop.type, ", ptr ", loop.begin);
    turn = w_.value("sub ", loop.type, " ", turn, ", ", begin);
  }
  if (loop.type != "i64") turn = w_.value("zext ", loop.type, " ", turn, " to i64");
  if (loop.step != 1) turn = w_.value("udiv i64 ", turn, ", ", loop.step);
  const std::string cost = w_.value("mul nuw nsw i64 ", turn, ", ", loop.cost);
  const std::string had = w_.value("load i64, ptr ", budget_);
  w_.line("store i64 ", w_.value("sub i64 ", had, ", ", cost), ", ptr ", budget_);
}

/// Looks at the interrupt if the budget is at its end.
void FunctionEmitter::spend(const std::string& cost, std::uint32_t line) {
  const std::string had = w_.value("load i64, ptr ", budget_);
  const std::string left = w_.value("sub i64 ", had, ", ", cost);
  w_.line("store i64 ", left, ", ptr ", budget_);
  const std::string enough = w_.value("icmp sgt i64 ", left, ", 0");
  const std::string on = w_.label();
  const std::string look = w_.cold([&] {
    const std::string run = load_pointer(FrameCell::run);
    const std::string poll = load_pointer(FrameCell::poll);
    const std::string ended = w_.value("call i32 ", poll, "(ptr ", run, ") #2");
    w_.line("store i64 ", frame_budget, ", ptr ", budget_);
    const std::string fine = w_.value("icmp eq i32 ", ended, ", 0");
    const std::string stop = w_.label();
    w_.branch(fine, on, stop);
    w_.begin(stop);
    fail({.kind = Site::Kind::interrupted, .line = line}, {});
  });
  w_.branch(enough, on, look, likely);
  w_.begin(on);
}

FunctionEmitter::Range FunctionEmitter::range(const Node& n, const std::string& exit) {
  Range range;
  range.first = expression(n.operands[0]);
  const std::string last = expression(n.operands[1]);
  range.step = expression(n.operands[2]);
  const Node& step = nodes()[n.operands[2]];
  if (step.what == What::number) range.step_number = static_cast<std::int64_t>(step.bits);
  const std::string enter = w_.label();
  // The distance of two numbers and the size of the step fit an unsigned integer.
  if (range.step_number != 0) {
    const bool up = range.step_number > 0;
    const std::string& least = up ? range.first : last;
    const std::string& most = up ? last : range.first;
    w_.branch(w_.value("icmp sle i64 ", least, ", ", most), enter, exit);
    w_.begin(enter);
    range.turns = w_.value("sub i64 ", most, ", ", least);
    const std::uint64_t size =
        up ? std::uint64_t(range.step_number) : std::uint64_t{0} - std::uint64_t(range.step_number);
    if (size != 1) range.turns = w_.value("udiv i64 ", range.turns, ", ", size);
    return range;
  }
  require(w_.value("icmp ne i64 ", range.step, ", 0"), {.kind = Site::Kind::step, .line = n.line},
          {});
  const std::string up = w_.value("icmp sgt i64 ", range.step, ", 0");
  const std::string least = w_.value("select i1 ", up, ", i64 ", range.first, ", i64 ", last);
  const std::string most = w_.value("select i1 ", up, ", i64 ", last, ", i64 ", range.first);
  w_.branch(w_.value("icmp sle i64 ", least, ", ", most), enter, exit);
  w_.begin(enter);
  const std::string distance = w_.value("sub i64 ", most, ", ", least);
  const std::string back = w_.value("sub i64 0, ", range.step);
  const std::string size = w_.value("select i1 ", up, ", i64 ", range.step, ", i64 ", back);
  range.turns = w_.value("udiv i64 ", distance, ", ", size);
  return range;
}

void FunctionEmitter::for_loop(const Node& n) {
  const Work work = work_of_block(kernel_.kernel, n.operands[3], module_.works);
  const std::string exit = w_.label();
  const Range own = range(n, exit);
  std::vector<Hoist> hoists;
  if (!work.loops && !module_.options.check_all) hoists = find_hoists(n);
  if (hoists.empty()) {
    turns(n, own, exit, work);
    w_.begin(exit);
    return;
  }
  // The second form fails where the interpreter fails.
  const std::string fine = w_.label();
  const std::string doubtful = w_.label();
  w_.branch(hoisted_condition(own, hoists), fine, doubtful, likely);
  w_.begin(fine);
  const Bounds before = bounds_;
  for (const Hoist& hoist : hoists) hoisted_.insert(hoist.expression);
  turns(n, own, exit, work);
  bounds_ = before;
  for (const Hoist& hoist : hoists) hoisted_.erase(hoist.expression);
  w_.begin(doubtful);
  turns(n, own, exit, work);
  w_.begin(exit);
}

/// A loop of pieces, with the turns of a piece inside. A piece has one turn if there is a loop in
/// the body.
void FunctionEmitter::turns(const Node& n, const Range& turns, const std::string& exit,
                            const Work& work) {
  const std::int64_t cost = work.cost + 1;
  const std::string base = w_.variable("i64", "0");
  const std::string left = w_.variable("i64", "0");
  const std::string turn = w_.variable("i64", "0");
  w_.line("store i64 ", turns.first, ", ptr ", base);
  w_.line("store i64 ", turns.turns, ", ptr ", left);
  const std::string piece = w_.label();
  const std::string body = w_.label();
  const std::string next = w_.label();
  const std::string more = w_.label();
  const std::string end = w_.label();
  const std::string further = w_.label();
  const std::int64_t most =
      work.loops ? 1 : std::clamp<std::int64_t>(frame_budget / cost, 1, piece_turns);

  w_.jump(piece);
  w_.begin(piece);
  const std::string begin = w_.value("load i64, ptr ", base);
  const std::string rest = w_.value("load i64, ptr ", left);
  // The turns of the piece after its first one.
  const std::string here = w_.value("call i64 @llvm.umin.i64(i64 ", rest, ", i64 ", most - 1, ")");
  w_.line("store i64 0, ptr ", turn);
  w_.jump(body);
  w_.begin(body);
  const std::string k = w_.value("load i64, ptr ", turn);
  const bool small =
      turns.step_number != 0 && turns.step_number < small_step && turns.step_number > -small_step;
  // A loop's numbers lie between its ends: they do not overflow.
  const std::string_view exact = small ? "nsw " : "";
  const std::string by =
      turns.step_number == 1 ? k : w_.value("mul ", exact, "i64 ", k, ", ", turns.step);
  const std::string i = w_.value("add ", exact, "i64 ", begin, ", ", by);
  w_.line("store i64 ", i, ", ptr ", slots_[n.at]);
  loops_.push_back({.next = next,
                    .exit = exit,
                    .counter = most > 1 ? turn : std::string(),
                    .begin = {},
                    .cost = cost});
  bounds_.enter(n);
  block(n.operands[3]);
  bounds_.leave();
  loops_.pop_back();
  w_.jump(next);
  w_.begin(next);
  const std::string last = w_.value("icmp eq i64 ", k, ", ", here);
  w_.branch(last, end, more);
  w_.begin(more);
  w_.line("store i64 ", w_.value("add nuw nsw i64 ", k, ", 1"), ", ptr ", turn);
  w_.jump(body);

  w_.begin(end);
  const std::string done = w_.value("add nuw nsw i64 ", here, ", 1");
  spend(w_.value("mul nuw nsw i64 ", done, ", ", cost), n.line);
  w_.branch(w_.value("icmp eq i64 ", rest, ", ", here), exit, further);
  w_.begin(further);
  const std::string distance = w_.value("mul i64 ", done, ", ", turns.step);
  w_.line("store i64 ", w_.value("add i64 ", begin, ", ", distance), ", ptr ", base);
  w_.line("store i64 ", w_.value("sub nuw i64 ", rest, ", ", done), ", ptr ", left);
  w_.jump(piece);
}

}  // namespace outrigger::kernel
