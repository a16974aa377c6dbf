// A linear layer on the global average pooling of one image: a block's gate, or the classifier.
#pragma once

#include <algorithm>
#include <vector>

#include <ATen/Parallel.h>

#include "vectors.h"

namespace dynbench {

inline float sum(const float* p, int64_t n) {
  vec a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * V <= n; i += 2 * V) {
    a += load(p + i);
    b += load(p + i + V);
  }
  float total = sum(a + b);
  for (; i < n; i++) total += p[i];
  return total;
}

inline float dot(const float* p, const float* q, int64_t n) {
  vec a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * V <= n; i += 2 * V) {
    a += load(p + i) * load(q + i);
    b += load(p + i + V) * load(q + i + V);
  }
  float total = sum(a + b);
  for (; i < n; i++) total += p[i] * q[i];
  return total;
}

// x (channels, area), channels `per_channel` floats apart; weight (outputs, channels), bias (outputs,) -> scores (outputs,),
// after a ReLU if asked for
inline void pooled_linear(const float* x, int64_t channels, int64_t area, int64_t per_channel, const float* weight,
                          const float* bias, int64_t outputs, bool relu, float* scores) {
  std::vector<float> pooled(channels);
  for (int64_t i = 0; i < channels; i++) pooled[i] = sum(x + i * per_channel, area) / area;
  constexpr int64_t GRAIN = 1 << 16;  // weights for which another thread is worth while
  at::parallel_for(0, outputs, std::max<int64_t>(1, GRAIN / channels), [&](int64_t from, int64_t to) {
    for (int64_t k = from; k < to; k++) {
      const float score = dot(weight + k * channels, pooled.data(), channels) + bias[k];
      scores[k] = relu ? std::max(score, 0.f) : score;
    }
  });
}

}  // namespace dynbench
