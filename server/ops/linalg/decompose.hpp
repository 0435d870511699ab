#pragma once

#include <algorithm>
#include <complex>
#include <cstdint>

#include "ops/linalg/matrices.hpp"

/// The parts that the decompositions share: LAPACK's workspaces, signs, and the attributes that Nx
/// has for its own methods.

namespace outrigger::ops {

inline std::int64_t smaller(const MatrixShape& shape) {
  return std::min(shape.rows, shape.columns);
}

/// The size of the workspace that LAPACK requests, in elements.
template <typename T>
std::int64_t workspace(T answer) {
  // An answer in f32 is rounded, and may be less than the requested size.
  return static_cast<std::int64_t>(static_cast<double>(std::real(answer)) * (1 + 1e-6)) + 1;
}

template <typename T>
constexpr std::int64_t bytes_of(std::int64_t count) {
  return count * static_cast<std::int64_t>(sizeof(T));
}

/// The factor of magnitude 1 by which a vector of n elements, `stride` apart, is multiplied: the
/// element of the largest magnitude (the first of equal ones) becomes real and positive.
template <typename T>
T phase_factor(const T* vector, std::int64_t n, std::int64_t stride) {
  T largest{0};
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::abs(vector[i * stride]) > std::abs(largest)) largest = vector[i * stride];
  }
  if constexpr (is_complex_v<T>) {
    const RealOf<T> magnitude = std::abs(largest);
    return magnitude > 0 ? std::conj(largest) / magnitude : T{1};
  } else {
    return largest < T{0} ? T{-1} : T{1};
  }
}

template <typename T>
void negate(T* vector, std::int64_t n, std::int64_t stride) {
  for (std::int64_t i = 0; i < n; ++i) vector[i * stride] = -vector[i * stride];
}

/// Changes -0.0, which a change of sign in the library leaves, to 0.0.
template <typename T>
void plain_zeros(T* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] += T{0};
}

/// Writes the identity to each matrix of a batch.
template <typename T>
void write_identity(T* to, std::int64_t batch, std::int64_t n) {
  for (std::int64_t i = 0; i < batch * n * n; ++i) to[i] = i % (n * n) % (n + 1) == 0 ? T{1} : T{0};
}

/// The temporaries of a decomposition: for each thread, those of the plan that `make` returns for
/// the library's functions and the matrices' shape.
template <typename Make>
std::uint64_t plan_scratch(const ScratchCall& call, const Result<MatrixShape>& shape, Make make) {
  if (!shape || smaller(*shape) == 0) return 0;
  return with_matrix_type(call.in[0].type->dtype, [&](auto tag) -> std::uint64_t {
    const auto lib = lapack<typename decltype(tag)::type>();
    if (!lib) return 0;
    return batch_scratch(call, shape->batch, make(**lib, *shape).scratch_bytes());
  });
}

inline const AttrSpec max_iter_attr{
    "max_iter", AttrType::integer, false, "",
    "accepted for compatibility with Nx; the method here needs no bound"};
inline const AttrSpec eps_attr{
    "eps", AttrType::number, false, "",
    "accepted for compatibility with Nx; results here have the dtype's precision"};

}  // namespace outrigger::ops
