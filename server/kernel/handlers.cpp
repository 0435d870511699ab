#include <array>
#include <cassert>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernel/arithmetic.hpp"
#include "kernel/code.hpp"

namespace outrigger::kernel {
namespace {

using Cell = std::uint64_t;

template <typename T>
struct Tag {
  using type = T;
};

template <typename F>
auto with_type(Type type, F&& f) {
  switch (type) {
    case Type::u8:
      return f(Tag<std::uint8_t>{});
    case Type::u16:
      return f(Tag<std::uint16_t>{});
    case Type::u32:
      return f(Tag<std::uint32_t>{});
    case Type::u64:
      return f(Tag<std::uint64_t>{});
    case Type::s8:
      return f(Tag<std::int8_t>{});
    case Type::s16:
      return f(Tag<std::int16_t>{});
    case Type::s32:
      return f(Tag<std::int32_t>{});
    case Type::f32:
      return f(Tag<float>{});
    case Type::f64:
      return f(Tag<double>{});
    default:
      assert(type == Type::s64);
      return f(Tag<std::int64_t>{});
  }
}

/// Finds a template's instance for a `What` between two of them.
template <What first, What last, typename Make>
Handler instance(What what, const Make& make) {
  constexpr auto begin = static_cast<std::size_t>(first);
  constexpr std::size_t count = static_cast<std::size_t>(last) - begin + 1;
  return [&]<std::size_t... n>(std::index_sequence<n...>) {
    const std::array<Handler, count> all{
        make(std::integral_constant<What, static_cast<What>(begin + n)>{})...};
    return all.at(static_cast<std::size_t>(what) - begin);
  }
  (std::make_index_sequence<count>{});
}

constexpr bool divides(What what) { return what == What::quotient || what == What::remainder; }

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OUTRIGGER_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OUTRIGGER_SANITIZED
#endif

/// Carries out the instruction and those behind it, up to the next turn of a loop, and returns the
/// instruction to go on with. With optimisation the call is a jump. Without it, the stack would
/// grow with the instructions of a turn: then the run's loop carries out each instruction.
inline const Instruction* go(const Instruction* i, [[maybe_unused]] Cell* r,
                             [[maybe_unused]] Frame& frame) {
#if defined(__OPTIMIZE__) && !defined(OUTRIGGER_SANITIZED)
  return i->run(i, r, frame);
#else
  return i;
#endif
}

template <What what, typename T>
const Instruction* run_unary(const Instruction* i, Cell* r, Frame& frame) {
  r[i->dst] = unary<what, T>(r[i->a]);
  return go(i + 1, r, frame);
}

const Instruction* run_not(const Instruction* i, Cell* r, Frame& frame) {
  r[i->dst] = r[i->a] ^ 1;
  return go(i + 1, r, frame);
}

template <What what, typename T>
const Instruction* run_binary(const Instruction* i, Cell* r, Frame& frame) {
  if constexpr (divides(what)) {
    if (r[i->b] == 0) [[unlikely]]
      return frame.fail(FailureCode::bad_value, zero_divisor_text, i->line);
  }
  r[i->dst] = binary<what, T>(r[i->a], r[i->b]);
  return go(i + 1, r, frame);
}

template <typename T>
const Instruction* run_function(const Instruction* i, Cell* r, Frame& frame) {
  const T x = value_of<T>(r[i->a]);
  const T y = value_of<T>(r[i->b]);
  T result;
  const std::array<const void*, 2> in{&x, &y};
  frame.code.compiled.functions[i->c](&result, in.data(), 1);
  r[i->dst] = cell_of(result);
  // Its locals keep the call from being a jump.
  return i + 1;
}

template <typename To, typename From>
const Instruction* run_conversion(const Instruction* i, Cell* r, Frame& frame) {
  r[i->dst] = convert<To, From>(r[i->a]);
  return go(i + 1, r, frame);
}

/// Jumps; with `back`, a loop has come to its next turn.
template <bool back>
const Instruction* jumped(const Instruction* i, Cell* r, Frame& frame) {
  if constexpr (back) {
    const auto turn = static_cast<std::size_t>(i->jump < 0 ? -i->jump : 0);
    return spend(frame, turn, i->line) ? i + i->jump : nullptr;
  } else {
    return go(i + i->jump, r, frame);
  }
}

template <What what, typename T, bool when, bool back>
const Instruction* run_branch(const Instruction* i, Cell* r, Frame& frame) {
  if (compare<what, T>(r[i->a], r[i->b]) != when) return go(i + 1, r, frame);
  return jumped<back>(i, r, frame);
}

template <bool when, bool back>
const Instruction* run_condition(const Instruction* i, Cell* r, Frame& frame) {
  if ((r[i->a] != 0) != when) return go(i + 1, r, frame);
  return jumped<back>(i, r, frame);
}

template <bool back>
const Instruction* run_jump(const Instruction* i, Cell* r, Frame& frame) {
  return jumped<back>(i, r, frame);
}

const Instruction* run_move(const Instruction* i, Cell* r, Frame& frame) {
  r[i->dst] = r[i->a];
  return go(i + 1, r, frame);
}

template <typename T>
Cell read(const std::byte* at) {
  T element;
  std::memcpy(&element, at, sizeof element);
  return cell_of(element);
}

/// The element of an instruction with one or two indices; null if one is outside. A negative index
/// is a large one.
template <std::size_t rank>
std::byte* element_at(const Instruction* i, const Cell* r, const Window& window) {
  const Cell first = r[i->b];
  if (first >= window.first.n) [[unlikely]]
    return nullptr;
  std::byte* at = window.data + static_cast<std::int64_t>(first) * window.first.step;
  if constexpr (rank == 2) {
    const Cell second = r[i->c];
    const Axis& axis = window.axes[1];
    if (second >= axis.n) [[unlikely]]
      return nullptr;
    at += static_cast<std::int64_t>(second) * axis.step;
  }
  return at;
}

/// Names the index that is outside.
const Instruction* outside(const Instruction* i, const Cell* r, Frame& frame) {
  const auto& indices = frame.code.compiled.lists[static_cast<std::size_t>(i->jump)];
  const std::size_t axis = r[i->b] >= frame.windows[i->a].first.n ? 0 : 1;
  return frame.bad_index(i->a, indices[axis], axis, i->line);
}

template <typename T, std::size_t rank>
const Instruction* run_load(const Instruction* i, Cell* r, Frame& frame) {
  const std::byte* at = nullptr;
  if constexpr (rank <= 2) {
    at = element_at<rank>(i, r, frame.windows[i->a]);
    if (at == nullptr) [[unlikely]]
      return outside(i, r, frame);
  } else {
    at =
        element(frame, i->a, frame.code.compiled.lists[static_cast<std::size_t>(i->jump)], i->line);
    if (at == nullptr) return nullptr;
  }
  r[i->dst] = read<T>(at);
  return go(i + 1, r, frame);
}

/// The low bytes of a cell are the element: the machine is little-endian.
template <typename T, std::size_t rank>
const Instruction* run_store(const Instruction* i, Cell* r, Frame& frame) {
  static_assert(std::endian::native == std::endian::little);
  std::byte* at = nullptr;
  if constexpr (rank <= 2) {
    at = element_at<rank>(i, r, frame.windows[i->a]);
    if (at == nullptr) [[unlikely]]
      return outside(i, r, frame);
  } else {
    at =
        element(frame, i->a, frame.code.compiled.lists[static_cast<std::size_t>(i->jump)], i->line);
    if (at == nullptr) return nullptr;
  }
  std::memcpy(at, &r[i->dst], sizeof(T));
  return go(i + 1, r, frame);
}

const Instruction* run_begin_range(const Instruction* i, Cell* r, Frame& frame) {
  const auto first = static_cast<std::int64_t>(r[i->dst]);
  const auto end = static_cast<std::int64_t>(r[i->a]);
  const auto step = static_cast<std::int64_t>(r[i->b]);
  if (step == 0) return frame.fail(FailureCode::bad_value, zero_step_text, i->line);
  if (step > 0 ? first > end : first < end) return go(i + i->jump, r, frame);
  // The distance of two numbers and the size of the step fit an unsigned integer.
  r[i->c] = step > 0 ? (r[i->a] - r[i->dst]) / r[i->b]
                     : (r[i->dst] - r[i->a]) / (std::uint64_t{0} - r[i->b]);
  return go(i + 1, r, frame);
}

const Instruction* run_next(const Instruction* i, Cell* r, Frame& frame) {
  if (r[i->c] == 0) return go(i + 1, r, frame);
  --r[i->c];
  r[i->dst] = r[i->a] += r[i->b];
  return jumped<true>(i, r, frame);
}

const Instruction* run_call(const Instruction* i, Cell* r, Frame& frame) {
  const CallSite& site = frame.code.compiled.calls[i->a];
  if (!call(frame, site, i->line)) return nullptr;
  for (std::size_t k = 0; k < site.results.size(); ++k) r[site.results[k]] = frame.run.results[k];
  return go(i + 1, r, frame);
}

const Instruction* run_give_back(const Instruction* i, Cell* r, Frame& frame) {
  std::vector<Cell>& results = frame.run.results;
  results.clear();
  for (const Typed& value : frame.code.compiled.lists[i->a]) results.push_back(r[value.reg]);
  return nullptr;
}

const Instruction* run_fail(const Instruction* i, Cell* r, Frame& frame) {
  std::string text = frame.code.head.texts[i->a];
  const char* before = ": ";
  for (const Typed& value : frame.code.compiled.lists[i->b]) {
    text += before + text_of(r[value.reg], value.type);
    before = ", ";
  }
  return frame.fail(FailureCode::raised, std::move(text), i->line);
}

template <template <typename, std::size_t> typename Access>
Handler access(Type type, std::size_t rank) {
  return with_type(type, [rank](auto tag) -> Handler {
    using T = typename decltype(tag)::type;
    if (rank == 1) return Access<T, 1>::run;
    if (rank == 2) return Access<T, 2>::run;
    return Access<T, 3>::run;
  });
}

template <typename T, std::size_t rank>
struct Load {
  static constexpr Handler run = run_load<T, rank>;
};
template <typename T, std::size_t rank>
struct Store {
  static constexpr Handler run = run_store<T, rank>;
};

}  // namespace

Handler unary_handler(What what, Type type) {
  if (what == What::logical_not) return run_not;
  return with_type(type, [what](auto tag) {
    using T = typename decltype(tag)::type;
    return instance<What::negate, What::is_nan>(
        what, [](auto one) -> Handler { return run_unary<decltype(one)::value, T>; });
  });
}

Handler binary_handler(What what, Type type) {
  return with_type(type, [what](auto tag) {
    using T = typename decltype(tag)::type;
    return instance<What::add, What::greater_equal>(
        what, [](auto one) -> Handler { return run_binary<decltype(one)::value, T>; });
  });
}

Handler function_handler(Type type) {
  return type == Type::f32 ? Handler(run_function<float>) : Handler(run_function<double>);
}

Handler conversion_handler(Type from, Type to) {
  return with_type(from, [to](auto from_tag) {
    using From = typename decltype(from_tag)::type;
    return with_type(to, [](auto to_tag) -> Handler {
      return run_conversion<typename decltype(to_tag)::type, From>;
    });
  });
}

Handler branch_handler(What what, Type type, bool when, bool back) {
  return with_type(type, [=](auto tag) {
    using T = typename decltype(tag)::type;
    return instance<What::equal, What::greater_equal>(what, [=](auto one) -> Handler {
      constexpr What w = decltype(one)::value;
      if (back) return when ? run_branch<w, T, true, true> : run_branch<w, T, false, true>;
      return when ? run_branch<w, T, true, false> : run_branch<w, T, false, false>;
    });
  });
}

Handler condition_handler(bool when, bool back) {
  if (back) return when ? run_condition<true, true> : run_condition<false, true>;
  return when ? run_condition<true, false> : run_condition<false, false>;
}

Handler jump_handler(bool back) { return back ? run_jump<true> : run_jump<false>; }
Handler move_handler() { return run_move; }
Handler load_handler(Type type, std::size_t rank) { return access<Load>(type, rank); }
Handler store_handler(Type type, std::size_t rank) { return access<Store>(type, rank); }
Handler begin_range_handler() { return run_begin_range; }
Handler next_handler() { return run_next; }
Handler call_handler() { return run_call; }
Handler give_back_handler() { return run_give_back; }
Handler fail_handler() { return run_fail; }

}  // namespace outrigger::kernel
