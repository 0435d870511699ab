#pragma once

#include <cstdint>

/// Hand-written loops: what this machine can do. Built with -march=native, unlike the daemon.
namespace outrigger::bench {

/// x += s
void add_scalar_in_place(float* x, float s, std::int64_t n, int threads);
/// x += y
void add_in_place(float* x, const float* y, std::int64_t n, int threads);
/// sum of x
float sum(const float* x, std::int64_t n, int threads);
/// out = tanh(a·b + 1) · exp(−a): one fused pass by Eigen
void fused_chain(float* out, const float* a, const float* b, std::int64_t n, int threads);
/// x[index] = value, with a check of bounds; false if an index is outside
bool scatter(float* x, std::int64_t n, const std::int32_t* index, const float* value,
             std::int64_t count);

}  // namespace outrigger::bench
