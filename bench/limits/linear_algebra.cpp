// The limits of OpenBLAS and its LAPACK, which the daemon also uses.

#include <dlfcn.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>

#include "workloads.hpp"

namespace outrigger::bench {
namespace {

using std::int64_t;
using Length = std::size_t;

template <typename Function>
Function openblas(const std::string& name) {
  static void* const library = dlopen(OUTRIGGER_OPENBLAS, RTLD_NOW);
  void* const symbol = library == nullptr ? nullptr : dlsym(library, name.c_str());
  if (symbol == nullptr) throw std::runtime_error("no " + name + " in OpenBLAS");
  return reinterpret_cast<Function>(symbol);
}

void set_threads(int threads) {
  static const auto set = openblas<void (*)(int)>("openblas_set_num_threads");
  set(threads);
}

template <typename T>
using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const T*,
                      const T*, const int*, const T*, const int*, const T*, T*, const int*, Length,
                      Length);

/// out = left · right, which are the halves of the input. The threads share the matrices of a
/// batch.
template <typename T>
Step dot(Inputs& in, int64_t) {
  const std::vector<int64_t> shape(in[0].shape().begin() + 1, in[0].shape().end());
  auto out = std::make_shared<Array>(in[0].type(), shape);
  static const auto gemm = openblas<Gemm<T>>(sizeof(T) == 4 ? "sgemm_" : "dgemm_");
  return [&in, out, shape] {
    const int n = static_cast<int>(shape.back());
    const int64_t batch = out->size() / n / n;
    const T* const left = in[0].as<T>();
    const T* const right = left + out->size();
    const T one{1}, zero{0};
    set_threads(batch == 1 ? omp_get_max_threads() : 1);
#pragma omp parallel for schedule(static) if (batch > 1)
    // the library's matrices are in column order: right · left
    for (int64_t i = 0; i < batch; ++i) {
      gemm("N", "N", &n, &n, &n, &one, right + i * n * n, &n, left + i * n * n, &n, &zero,
           out->as<T>() + i * n * n, &n, 1, 1);
    }
    return out.get();
  };
}

/// The memory of a decomposition: copies, and workspaces for the library.
struct Work {
  int n;
  Array matrix, u, vt, values;
  std::vector<double> work;
  std::vector<int> iwork;
  int lwork = 0, liwork = 0, info = 0;

  explicit Work(const Array& a)
      : n(static_cast<int>(a.shape()[0])),
        matrix(like(a)),
        u(like(a)),
        vt(like(a)),
        values("<f8", {a.shape()[0]}),
        work(static_cast<std::size_t>(8 * n) * n),
        iwork(static_cast<std::size_t>(16) * n),
        lwork(static_cast<int>(work.size())),
        liwork(static_cast<int>(iwork.size())) {}
};

Step eigh(Inputs& in, int64_t) {
  using Syevd = void (*)(const char*, const char*, const int*, double*, const int*, double*,
                         double*, const int*, int*, const int*, int*, Length, Length);
  static const auto syevd = openblas<Syevd>("dsyevd_");
  auto w = std::make_shared<Work>(in[0]);
  auto symmetric = std::make_shared<Array>(like(in[0]));
  auto sorted = std::make_shared<Array>(like(w->values));
  const int n = w->n;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      const double* const a = in[0].as<double>();
      symmetric->as<double>()[i * n + j] = (a[i * n + j] + a[j * n + i]) / 2;
    }
  }
  return [w, symmetric, sorted, n] {
    set_threads(omp_get_max_threads());
    std::memcpy(w->matrix.as<double>(), symmetric->as<double>(), symmetric->bytes());
    syevd("V", "U", &n, w->matrix.as<double>(), &n, w->values.as<double>(), w->work.data(),
          &w->lwork, w->iwork.data(), &w->liwork, &w->info, 1, 1);
    std::copy_n(w->values.as<double>(), n, sorted->as<double>());
    std::stable_sort(sorted->as<double>(), sorted->as<double>() + n,
                     [](double a, double b) { return std::abs(a) > std::abs(b); });
    return sorted.get();
  };
}

Step svd(Inputs& in, int64_t) {
  using Gesdd = void (*)(const char*, const int*, const int*, double*, const int*, double*, double*,
                         const int*, double*, const int*, double*, const int*, int*, int*, Length);
  static const auto gesdd = openblas<Gesdd>("dgesdd_");
  auto w = std::make_shared<Work>(in[0]);
  return [&in, w] {
    const int n = w->n;
    set_threads(omp_get_max_threads());
    std::memcpy(w->matrix.as<double>(), in[0].as<double>(), in[0].bytes());
    gesdd("A", &n, &n, w->matrix.as<double>(), &n, w->values.as<double>(), w->u.as<double>(), &n,
          w->vt.as<double>(), &n, w->work.data(), &w->lwork, w->iwork.data(), &w->info, 1);
    return &w->values;
  };
}

Step solve(Inputs& in, int64_t) {
  using Gesv =
      void (*)(const int*, const int*, double*, const int*, int*, double*, const int*, int*);
  static const auto gesv = openblas<Gesv>("dgesv_");
  auto w = std::make_shared<Work>(in[0]);
  return [&in, w] {
    const int n = w->n, one = 1;
    set_threads(omp_get_max_threads());
    const double* const a = in[0].as<double>();
    for (int i = 0; i < n; ++i) {  // the library's matrices are in column order
      for (int j = 0; j < n; ++j) w->matrix.as<double>()[j * n + i] = a[i * n + j];
    }
    std::copy_n(in[1].as<double>(), n, w->values.as<double>());
    gesv(&n, &one, w->matrix.as<double>(), &n, w->iwork.data(), w->values.as<double>(), &n,
         &w->info);
    return &w->values;
  };
}

}  // namespace

void add_linear_algebra(Workloads& all) {
  for (const char* const name :
       {"dot 256 f32", "dot 1024 f32", "dot 2048 f32", "dot 64 x 128x128"}) {
    all[name] = dot<float>;
  }
  for (const char* const name : {"dot 256 f64", "dot 1024 f64", "dot 2048 f64"}) {
    all[name] = dot<double>;
  }
  all["eigh 512"] = eigh;
  all["svd 512"] = svd;
  all["solve 512"] = solve;
}

}  // namespace outrigger::bench
