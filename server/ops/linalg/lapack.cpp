#include "ops/linalg/lapack.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <type_traits>

namespace outrigger::ops {
namespace {

/// OpenBLAS reads this variable when it is loaded. It is set before main(), while there is one
/// thread. A value that the user has set stays.
[[gnu::constructor]] void choose_kernels() {
#if defined(__GNUC__) && !defined(__clang__)
  __builtin_cpu_init();
  const char* core = __builtin_cpu_supports("x86-64-v4")   ? "SkylakeX"
                     : __builtin_cpu_supports("x86-64-v3") ? "Haswell"
                                                           : nullptr;
  if (core != nullptr) setenv("OPENBLAS_CORETYPE", core, 0);
#endif
}

struct Library {
  Lapack<float> single{};
  Lapack<double> real{};
  Lapack<std::complex<float>> single_complex{};
  Lapack<std::complex<double>> complex{};
  void (*set_threads)(int) = nullptr;
  void (*set_team)(int) = nullptr;
  std::string error;
};

class Loader {
 public:
  Library load() {
    handle_ = dlopen(OUTRIGGER_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      library_.error = std::string("linear algebra needs OpenBLAS (Debian: libopenblas0-openmp): ")
                           .append(dlerror());
      return library_;
    }
    functions("s", library_.single);
    functions("d", library_.real);
    functions("c", library_.single_complex);
    functions("z", library_.complex);
    find("", "openblas_set_num_threads", library_.set_threads);
    find("", "omp_set_num_threads", library_.set_team);
    return library_;
  }

 private:
  template <typename T>
  void functions(const std::string& prefix, Lapack<T>& to) {
    find(prefix, "potrf_", to.potrf);
    find(prefix, "getrf_", to.getrf);
    find(prefix, "getrs_", to.getrs);
    find(prefix, "getri_", to.getri);
    find(prefix, "trsm_", to.trsm);
    find(prefix, "geqrfp_", to.geqrfp);
    find(prefix, is_complex_v<T> ? "ungqr_" : "orgqr_", to.orgqr);
    find(prefix, is_complex_v<T> ? "heevd_" : "syevd_", to.syevd);
    if constexpr (!is_complex_v<T>) find(prefix, "gesdd_", to.gesdd);
  }

  template <typename F>
  void find(const std::string& prefix, const char* name, F& function) {
    void* const symbol = dlsym(handle_, (prefix + name).c_str());
    if (symbol == nullptr) library_.error = std::string("OpenBLAS has no ").append(prefix + name);
    function = reinterpret_cast<F>(symbol);
  }

  void* handle_ = nullptr;
  Library library_;
};

}  // namespace

template <typename T>
Result<const Lapack<T>*> lapack() {
  static const Library library = Loader().load();
  if (!library.error.empty()) return fail(ErrorCode::internal, library.error);
  // OpenBLAS asks OpenMP for the number of threads, which each thread has for itself. Versions
  // before about 0.3.22 also set that number.
  library.set_threads(1);
  library.set_team(1);
  if constexpr (std::is_same_v<T, float>) {
    return &library.single;
  } else if constexpr (std::is_same_v<T, double>) {
    return &library.real;
  } else if constexpr (std::is_same_v<T, std::complex<float>>) {
    return &library.single_complex;
  } else {
    return &library.complex;
  }
}

template Result<const Lapack<float>*> lapack<float>();
template Result<const Lapack<double>*> lapack<double>();
template Result<const Lapack<std::complex<float>>*> lapack<std::complex<float>>();
template Result<const Lapack<std::complex<double>>*> lapack<std::complex<double>>();

}  // namespace outrigger::ops
