// Matrix products and decompositions beside OpenBLAS and its LAPACK, on the same threads.

#include <dlfcn.h>
#include <omp.h>

#include <random>

#include "suite.hpp"

namespace outrigger::bench {
namespace {

using Length = std::size_t;

void* openblas(const std::string& name) {
  static void* const library = dlopen(OUTRIGGER_OPENBLAS, RTLD_NOW);
  void* const symbol = library == nullptr ? nullptr : dlsym(library, name.c_str());
  if (symbol == nullptr) give_up(Error{ErrorCode::internal, "no " + name + " in OpenBLAS"});
  return symbol;
}

template <typename T>
using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const T*,
                      const T*, const int*, const T*, const int*, const T*, T*, const int*, Length,
                      Length);

/// c = a · b of order n, rows shared by the threads.
template <typename T>
void product(const T* a, const T* b, T* c, int n) {
  static const auto gemm =
      reinterpret_cast<Gemm<T>>(openblas(sizeof(T) == 4 ? "sgemm_" : "dgemm_"));
#pragma omp parallel num_threads(threads())
  {
    const int first = n * omp_get_thread_num() / threads();
    const int rows = n * (omp_get_thread_num() + 1) / threads() - first;
    const T one{1}, zero{0};
    gemm("N", "N", &n, &rows, &n, &one, b, &n, a + std::int64_t{first} * n, &n, &zero,
         c + std::int64_t{first} * n, &n, 1, 1);
  }
}

struct Bench {
  Memory memory;
  Suite suite;
  std::vector<std::unique_ptr<Bound>> bound;

  template <typename T>
  Tensor random(const Dims& shape) {
    Tensor tensor =
        value(allocate_tensor(memory, TensorType{sizeof(T) == 4 ? DType::f32 : DType::f64, shape}));
    std::mt19937 generator(5);
    std::uniform_real_distribution<T> distribution(-1, 1);
    std::generate_n(tensor.as<T>(), tensor.size(), [&] { return distribution(generator); });
    return tensor;
  }

  void add(const Row& row, Instruction instruction, std::vector<Tensor> arguments,
           std::function<void()> limit) {
    Program program;
    for (ValueId i = 0; i < arguments.size(); ++i) program.params.push_back(i);
    program.outputs = instruction.out;
    program.body.push_back(std::move(instruction));
    bound.push_back(std::make_unique<Bound>(memory, std::move(program), std::move(arguments)));
    suite.add(
        row, [ours = bound.back().get()] { ours->run(); }, std::move(limit));
  }

  template <typename T>
  void dot(const std::string& dtype, int n) {
    const Tensor a = random<T>({n, n}), b = random<T>({n, n}), c = random<T>({n, n});
    add({"dot " + std::to_string(n) + " " + dtype, "OpenBLAS gemm", 1 / 0.95},
        op("dot", {v(0), v(1)}, 2), {a, b}, [=] { product(a.as<T>(), b.as<T>(), c.as<T>(), n); });
  }

  void batched_dot() {
    const Tensor a = random<float>({64, 128, 128}), b = random<float>({64, 128, 128});
    const Tensor c = random<float>({64, 128, 128});
    static const auto gemm = reinterpret_cast<Gemm<float>>(openblas("sgemm_"));
    add({"dot 64 x 128 f32", "OpenBLAS gemm", 1 / 0.95},
        op("dot", {v(0), v(1)}, 2,
           {{"left_axes", std::vector<std::int64_t>{2}},
            {"left_batch_axes", std::vector<std::int64_t>{0}},
            {"right_axes", std::vector<std::int64_t>{1}},
            {"right_batch_axes", std::vector<std::int64_t>{0}}}),
        {a, b}, [=] {
          const int n = 128;
          const float one = 1, zero = 0;
#pragma omp parallel for num_threads(threads())
          for (int i = 0; i < 64; ++i) {
            gemm("N", "N", &n, &n, &n, &one, b.as<float>() + i * n * n, &n,
                 a.as<float>() + i * n * n, &n, &zero, c.as<float>() + i * n * n, &n, 1, 1);
          }
        });
  }

  void decompositions();
};

constexpr double lapack_goal = 1.2;

/// f64 of order 512.
void Bench::decompositions() {
  static const int n = 512;
  static const int lwork = 8 * n * n;
  static int info = 0;
  static std::vector<double> work(lwork), matrix(n * n), u(n * n), vt(n * n), w(n);
  static std::vector<int> iwork(16 * n);
  const Tensor a = random<double>({n, n});
  const Tensor symmetric = random<double>({n, n});
  double* s = symmetric.as<double>();
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < i; ++j) s[j * n + i] = s[i * n + j];
  }
  const Tensor positive = random<double>({n, n});
  std::copy_n(s, n * n, positive.as<double>());
  for (int i = 0; i < n; ++i) positive.as<double>()[i * n + i] += 2 * n;
  static const auto set_threads =
      reinterpret_cast<void (*)(int)>(openblas("openblas_set_num_threads"));
  const auto load = [](const Tensor& from) {
    set_threads(threads());  // ours leaves it at one
    std::copy_n(from.as<double>(), n * n, matrix.data());
  };
  using Syevd = void (*)(const char*, const char*, const int*, double*, const int*, double*,
                         double*, const int*, int*, const int*, int*, Length, Length);
  using Gesdd = void (*)(const char*, const int*, const int*, double*, const int*, double*, double*,
                         const int*, double*, const int*, double*, const int*, int*, int*, Length);
  using Gesv =
      void (*)(const int*, const int*, double*, const int*, int*, double*, const int*, int*);
  using Geqrf =
      void (*)(const int*, const int*, double*, const int*, double*, double*, const int*, int*);
  using Orgqr = void (*)(const int*, const int*, const int*, double*, const int*, const double*,
                         double*, const int*, int*);
  using Potrf = void (*)(const char*, const int*, double*, const int*, int*, Length);
  static const auto syevd = reinterpret_cast<Syevd>(openblas("dsyevd_"));
  static const auto gesdd = reinterpret_cast<Gesdd>(openblas("dgesdd_"));
  static const auto gesv = reinterpret_cast<Gesv>(openblas("dgesv_"));
  static const auto geqrf = reinterpret_cast<Geqrf>(openblas("dgeqrf_"));
  static const auto orgqr = reinterpret_cast<Orgqr>(openblas("dorgqr_"));
  static const auto potrf = reinterpret_cast<Potrf>(openblas("dpotrf_"));

  const auto several = [](std::string name, std::vector<ValueId> out) {
    Instruction instruction = op(std::move(name), {v(0)}, 1);
    instruction.out = std::move(out);
    return instruction;
  };
  add({"eigh 512 f64", "LAPACK dsyevd", lapack_goal}, several("eigh", {1, 2}), {symmetric}, [=] {
    load(symmetric);
    const int liwork = static_cast<int>(iwork.size());
    syevd("V", "U", &n, matrix.data(), &n, w.data(), work.data(), &lwork, iwork.data(), &liwork,
          &info, 1, 1);
  });
  add({"svd 512 f64", "LAPACK dgesdd", lapack_goal}, several("svd", {1, 2, 3}), {a}, [=] {
    load(a);
    gesdd("A", &n, &n, matrix.data(), &n, w.data(), u.data(), &n, vt.data(), &n, work.data(),
          &lwork, iwork.data(), &info, 1);
  });
  const Tensor b = random<double>({n});
  add({"solve 512 f64", "LAPACK dgesv", lapack_goal}, op("solve", {v(0), v(1)}, 2), {a, b}, [=] {
    load(a);
    const int one = 1;
    std::copy_n(b.as<double>(), n, w.data());
    gesv(&n, &one, matrix.data(), &n, iwork.data(), w.data(), &n, &info);
  });
  add({"qr 512 f64", "LAPACK dgeqrf + dorgqr", lapack_goal}, several("qr", {1, 2}), {a}, [=] {
    load(a);
    geqrf(&n, &n, matrix.data(), &n, w.data(), work.data(), &lwork, &info);
    orgqr(&n, &n, &n, matrix.data(), &n, w.data(), work.data(), &lwork, &info);
  });
  add({"cholesky 512 f64", "LAPACK dpotrf", lapack_goal}, several("cholesky", {1}), {positive},
      [=] {
        load(positive);
        potrf("U", &n, matrix.data(), &n, &info, 1);
      });
}

}  // namespace
}  // namespace outrigger::bench

int main(int argc, char** argv) {
  using namespace outrigger::bench;
  benchmark::Initialize(&argc, argv);
  Bench bench;
  for (const int n : {256, 1024, 2048}) {
    bench.dot<float>("f32", n);
    bench.dot<double>("f64", n);
  }
  bench.batched_dot();
  bench.decompositions();
  Fastest fastest;
  benchmark::RunSpecifiedBenchmarks(&fastest);
  report(bench.suite, fastest, "linear algebra", argc > 1 ? argv[1] : "linalg.json");
  benchmark::ClearRegisteredBenchmarks();  // they hold tensors of the bench's memory
  return 0;
}
