// One vector of floats, as wide as the machine's registers, and how large a block of them fits into the registers.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace dynbench {

// V floats a vector; a block in registers is KB output channels by PB vectors of pixels.
#if defined(__AVX512F__)
constexpr int V = 16, KB = 8, PB = 2;
#elif defined(__AVX__)
constexpr int V = 8, KB = 6, PB = 2;
#elif defined(__aarch64__)
constexpr int V = 4, KB = 8, PB = 2;
#else
constexpr int V = 4, KB = 4, PB = 2;
#endif

typedef float vec __attribute__((vector_size(V * sizeof(float))));

inline vec load(const float* p) {
  vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, vec v) { std::memcpy(p, &v, sizeof v); }

inline float sum(vec v) {
  float total = 0;
  for (int i = 0; i < V; i++) total += v[i];
  return total;
}

// Lane i is p[i] where bit i of `mask` is set, and zero elsewhere, where nothing is read.
#if defined(__AVX512F__)
constexpr bool MASKED_LOADS = true;
inline vec load(const float* p, uint16_t mask) { return (vec)_mm512_maskz_loadu_ps(mask, p); }
#elif defined(__AVX2__)
constexpr bool MASKED_LOADS = true;
inline vec load(const float* p, uint16_t mask) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(mask), bits);
  return (vec)_mm256_maskload_ps(p, _mm256_cmpeq_epi32(set, bits));
}
#else
constexpr bool MASKED_LOADS = false;
inline vec load(const float* p, uint16_t mask) {
  vec v = {};
  for (int i = 0; i < V; i++)
    if (mask >> i & 1) v[i] = p[i];
  return v;
}
#endif

}  // namespace dynbench
