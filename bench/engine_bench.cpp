// Compares the engine with hand-written loops on the same threads, in one run. Only the ratios
// matter. Repetitions of the engine and of the loop alternate, and the fastest of each are
// compared, because other programs on the machine can only make one slower.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "suite.hpp"
#include "workloads.hpp"

namespace outrigger::bench {
namespace {

constexpr std::int64_t n = std::int64_t{16} << 20;
constexpr std::int64_t updates = 1'000'000;
constexpr std::int64_t loop_turns = 10'000;
constexpr std::int64_t few = 8;

/// Random data, the same for the engine and for the limit.
struct Data {
  Memory memory;
  Tensor a = random(n, 0.0F, 1.0F);
  Tensor b = random(n, -1.0F, 1.0F);
  Tensor values = random(updates, 0.0F, 1.0F);
  Tensor index = indices();

  Tensor random(std::int64_t count, float low, float high) {
    Tensor tensor = value(allocate_tensor(memory, TensorType{DType::f32, {count}}));
    std::mt19937 generator(42);
    std::uniform_real_distribution<float> distribution(low, high);
    std::generate_n(tensor.as<float>(), count, [&] { return distribution(generator); });
    return tensor;
  }

  Tensor matrix(std::int64_t rows, std::int64_t columns) {
    Tensor tensor = random(rows * columns, -1, 1);
    tensor.type.shape = Dims{rows, columns};
    tensor.strides = contiguous_strides(tensor.shape());
    return tensor;
  }

  Tensor indices() {
    Tensor tensor = value(allocate_tensor(memory, TensorType{DType::s32, {updates, 1}}));
    std::mt19937 generator(43);
    std::uniform_int_distribution<std::int32_t> distribution(0, n - 1);
    std::generate_n(tensor.as<std::int32_t>(), updates, [&] { return distribution(generator); });
    return tensor;
  }
};

/// A hand-written loop with its own inputs.
class Limit {
 public:
  Limit(const Maker& maker, const std::vector<Tensor>& tensors, std::int64_t steps = 1) {
    for (const Tensor& tensor : tensors) {
      Array& array = inputs_.emplace_back(
          tensor.dtype() == DType::s32 ? "<i4" : "<f4",
          std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end()));
      std::memcpy(array.as<std::byte>(), tensor.data(), array.bytes());
    }
    step_ = maker(inputs_, steps);
  }
  void run() { benchmark::DoNotOptimize(step_()); }

 private:
  Inputs inputs_;
  Step step_;
};

Program chain() {
  return Program{{0, 1},
                 {op("multiply", {v(0), v(1)}, 2), op("add", {v(2), number(std::int64_t{1})}, 3),
                  op("tanh", {v(3)}, 4), op("negate", {v(0)}, 5), op("exp", {v(5)}, 6),
                  op("multiply", {v(4), v(6)}, 7)},
                 {7}};
}

/// put_slice of 1,000 at a moving start, `turns` times, into a tensor of `size`.
Program put_slice_loop(std::int64_t size, std::int64_t turns) {
  const std::int64_t places = std::max<std::int64_t>(1, size - 1000);
  Instruction loop{"while", {number(std::int64_t{0}), v(0)}, {10, 11}, {}, {}, false};
  loop.regions.push_back(Region{{2, 3}, {op("less", {v(2), number(turns)}, 4)}, {4}});
  loop.regions.push_back(
      Region{{5, 6},
             {op("multiply", {v(5), number(std::int64_t{7919})}, 12),
              op("remainder", {v(12), number(places)}, 13), op("put_slice", {v(6), v(1), v(13)}, 7),
              op("add", {v(5), number(std::int64_t{1})}, 8)},
             {8, 7}});
  return Program{{0, 1}, {std::move(loop)}, {11}};
}

/// Softmax along rows: a chain of steps.
Program softmax() {
  const Attrs rows{{"axes", std::vector<std::int64_t>{1}}, {"keep_axes", true}};
  return Program{{0},
                 {op("reduce_max", {v(0)}, 1, rows), op("subtract", {v(0), v(1)}, 2),
                  op("exp", {v(2)}, 3), op("sum", {v(3)}, 4, rows), op("divide", {v(3), v(4)}, 5)},
                 {5}};
}

/// A loop that counts and carries x, which `turn` makes of value 5 as value 8.
Program counting_loop(std::int64_t turns, std::vector<Instruction> turn) {
  Instruction loop{"while", {number(std::int64_t{0}), v(0)}, {10, 11}, {}, {}, false};
  loop.regions.push_back(Region{{2, 3}, {op("less", {v(2), number(turns)}, 4)}, {4}});
  turn.push_back(op("add", {v(6), number(std::int64_t{1})}, 9));
  loop.regions.push_back(Region{{6, 5}, std::move(turn), {9, 8}});
  return Program{{0}, {std::move(loop)}, {11}};
}

/// x[i] = x[i] * 0.5 + 1 for the elements of a small tensor, without the compiler's knowledge of
/// the other turns.
void halve(float* x) {
  for (std::int64_t i = 0; i < few; ++i) x[i] = x[i] * 0.5F + 1;
  asm volatile("" : : "r"(x) : "memory");
}

/// The instructions that do the same: value 5 to value 8.
std::vector<Instruction> halve() {
  return {op("multiply", {v(5), number(0.5)}, 7), op("add", {v(7), number(std::int64_t{1})}, 8)};
}

}  // namespace
}  // namespace outrigger::bench

int main(int argc, char** argv) {
  using namespace outrigger;
  using namespace outrigger::bench;
  benchmark::Initialize(&argc, argv);
  Data data;
  Suite suite;
  constexpr double bandwidth_goal = 1 / 0.85;

  Workloads limits;
  add_elementwise(limits);
  add_reductions(limits);
  add_movement(limits);
  add_loops(limits);

  Bound add_scalar(data.memory, Program{{0}, {op("add", {v(0), number(0.5)}, 1, {}, true)}, {}},
                   {data.random(n, 0, 1)});
  Limit add_scalar_loop(limits.at("add scalar in place"), {data.a});
  suite.add(
      {"in-place add of a scalar", "x[i] += s", bandwidth_goal}, [&] { add_scalar.run(); },
      [&] { add_scalar_loop.run(); });

  Bound add(data.memory, Program{{0, 1}, {op("add", {v(0), v(1)}, 2, {}, true)}, {}},
            {data.random(n, 0, 1), data.b});
  Limit add_loop(limits.at("add in place"), {data.a, data.b});
  suite.add(
      {"x += y", "x[i] += y[i]", bandwidth_goal}, [&] { add.run(); }, [&] { add_loop.run(); });

  Bound total(data.memory, Program{{0}, {op("sum", {v(0)}, 1)}, {1}}, {data.a});
  Limit total_loop(limits.at("sum"), {data.a});
  suite.add(
      {"sum", "total += x[i]", bandwidth_goal}, [&] { total.run(); }, [&] { total_loop.run(); });

  Bound fused(data.memory, chain(), {data.a, data.b});
  Limit fused_loop(limits.at("tanh(a*b+1)*exp(-a)"), {data.a, data.b});
  suite.add(
      {"tanh(a*b+1)*exp(-a)", "one fused Eigen loop", 1.8}, [&] { fused.run(); },
      [&] { fused_loop.run(); });

  Bound scattered(data.memory,
                  Program{{0, 1, 2}, {op("indexed_put", {v(0), v(1), v(2)}, 3, {}, true)}, {}},
                  {data.random(n, 0, 1), data.index, data.values});
  Limit scatter_loop(limits.at("scatter put 1M into 16M"), {data.a, data.index, data.values});
  suite.add(
      {"indexed_put of 1M, in place", "x[index[i]] = value[i], bounds checked", 1.3},
      [&] { scattered.run(); }, [&] { scatter_loop.run(); });

  constexpr std::int64_t tiny = 16 << 10;
  const Tensor slice = data.random(1000, 0, 1);
  const Tensor into_large = data.random(n, 0, 1);
  const Tensor into_tiny = data.random(tiny, 0, 1);
  Bound large(data.memory, put_slice_loop(n, loop_turns), {into_large, slice});
  Bound large_twice(data.memory, put_slice_loop(n, 2 * loop_turns), {into_large, slice});
  Bound small(data.memory, put_slice_loop(tiny, loop_turns), {into_tiny, slice});
  Bound small_twice(data.memory, put_slice_loop(tiny, 2 * loop_turns), {into_tiny, slice});
  const Row turns{"10,000 put_slice in while, 16Mi", "the same into 16Ki", 2.0, true};
  suite.add(
      turns, [&] { large.run(); }, [&] { small.run(); });
  Suite::add_side(turns.name + "/ours/twice", [&] { large_twice.run(); });
  Suite::add_side(turns.name + "/limit/twice", [&] { small_twice.run(); });

  const Tensor square = data.matrix(4096, 1024);
  Bound chain_of_rows(data.memory, softmax(), {square});
  Limit softmax_loop(limits.at("softmax 1000x1000 rows"), {square});
  suite.add(
      {"softmax of 4096x1024 rows", "three loops for each row", 1.5}, [&] { chain_of_rows.run(); },
      [&] { softmax_loop.run(); });

  // The overhead of the engine: for a program, for a turn with tensors, for a turn with scalars.
  const Tensor small_tensor = data.random(few, 0, 1);
  Program tiny_program{{5}, halve(), {8}};
  Bound tiny_run(data.memory, std::move(tiny_program), {small_tensor});
  suite.add(
      {"1,000 programs of 8 elements", "a vector and a loop for each", 40},
      [&] {
        for (int i = 0; i < 1000; ++i) tiny_run.run();
      },
      [&] {
        for (int i = 0; i < 1000; ++i) {
          std::vector<float> x(small_tensor.as<float>(), small_tensor.as<float>() + few);
          halve(x.data());
        }
      });

  Bound turns_of_few(data.memory, counting_loop(loop_turns, halve()), {small_tensor});
  suite.add(
      {"10,000 turns of 8 elements", "a loop for each turn", 400}, [&] { turns_of_few.run(); },
      [&] {
        std::vector<float> x(small_tensor.as<float>(), small_tensor.as<float>() + few);
        for (std::int64_t i = 0; i < loop_turns; ++i) halve(x.data());
      });

  Tensor one = value(allocate_tensor(data.memory, TensorType{DType::u32, {}}));
  *one.as<std::uint32_t>() = 1;
  Bound scalar_turns(
      data.memory,
      counting_loop(10 * loop_turns, {op("multiply", {v(5), number(std::int64_t{1664525})}, 7),
                                      op("add", {v(7), number(std::int64_t{1013904223})}, 8)}),
      {one});
  Limit scalar_loop(limits.at("while of 1M turns"), {}, 10 * loop_turns);
  suite.add(
      {"100,000 turns of scalars", "x = x * a + b", 30}, [&] { scalar_turns.run(); },
      [&] { scalar_loop.run(); });

  Fastest fastest;
  benchmark::RunSpecifiedBenchmarks(&fastest);
  report(suite, fastest, "engine, n = 16 Mi f32", argc > 1 ? argv[1] : "engine.json");
  return 0;
}
