#pragma once

#include <complex>
#include <cstddef>
#include <type_traits>

#include "base/error.hpp"
#include "ops/elementwise/complex_math.hpp"

namespace outrigger::ops {

/// LAPACK and BLAS for one element type, in Fortran's calling convention: matrices in column order,
/// all arguments by address, the lengths of strings last. It has only the functions that the ops
/// here use.
template <typename T>
struct Lapack {
  using Int = int;
  using Length = std::size_t;
  void (*potrf)(const char* uplo, const Int* n, T* a, const Int* lda, Int* info, Length);
  void (*getrf)(const Int* m, const Int* n, T* a, const Int* lda, Int* pivots, Int* info);
  void (*getrs)(const char* trans, const Int* n, const Int* columns, const T* a, const Int* lda,
                const Int* pivots, T* b, const Int* ldb, Int* info, Length);
  void (*getri)(const Int* n, T* a, const Int* lda, const Int* pivots, T* work, const Int* lwork,
                Int* info);
  void (*trsm)(const char* side, const char* uplo, const char* trans, const char* diag,
               const Int* m, const Int* n, const T* alpha, const T* a, const Int* lda, T* b,
               const Int* ldb, Length, Length, Length, Length);
  void (*geqrfp)(const Int* m, const Int* n, T* a, const Int* lda, T* tau, T* work,
                 const Int* lwork, Int* info);
  /// For complex numbers it is ungqr.
  void (*orgqr)(const Int* m, const Int* n, const Int* k, T* a, const Int* lda, const T* tau,
                T* work, const Int* lwork, Int* info);
  using Syevd = void (*)(const char* job, const char* uplo, const Int* n, T* a, const Int* lda,
                         T* w, T* work, const Int* lwork, Int* iwork, const Int* liwork, Int* info,
                         Length, Length);
  using Heevd = void (*)(const char* job, const char* uplo, const Int* n, T* a, const Int* lda,
                         RealOf<T>* w, T* work, const Int* lwork, RealOf<T>* rwork,
                         const Int* lrwork, Int* iwork, const Int* liwork, Int* info, Length,
                         Length);
  /// For complex numbers it is heevd.
  std::conditional_t<is_complex_v<T>, Heevd, Syevd> syevd;
  /// It is null for complex numbers.
  void (*gesdd)(const char* job, const Int* m, const Int* n, T* a, const Int* lda, T* s, T* u,
                const Int* ldu, T* vt, const Int* ldvt, T* work, const Int* lwork, Int* iwork,
                Int* info, Length);
};

/// The functions of OpenBLAS; T is float, double or a complex number of these. The first call loads
/// the library, in its OpenMP variant, with the kernels for the processor's instruction set level.
/// OpenBLAS itself would take a processor that it does not know for one of 2004. On the calling
/// thread, and inside of parallel regions, one thread computes a matrix: with more threads, results
/// would differ in their last bits. Errors: internal, if the library is not installed.
template <typename T>
Result<const Lapack<T>*> lapack();

}  // namespace outrigger::ops
