// A linear layer on the global average pooling of one image: a block's control net, or the classifier.
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

// Means of x (channels, area), channels `per_channel` floats apart. Each thread sums the pixels that it has just computed
// itself, so that they need not travel between caches; the order of the sum is that of any number of threads.
inline std::vector<float> means(const float* x, int64_t channels, int64_t area, int64_t per_channel) {
  constexpr int64_t SEGMENTS = 4, WHOLE = 256;  // planes up to so many pixels are summed whole
  const int64_t segments = area > WHOLE ? SEGMENTS : 1;
  std::vector<float> partial(segments * channels), means(channels);
  const auto add = [&](int64_t segment, int64_t channel) {
    const int64_t begin = area * segment / segments, end = area * (segment + 1) / segments;
    partial[segment * channels + channel] = sum(x + channel * per_channel + begin, end - begin);
  };
  if (segments > 1)
    at::parallel_for(0, segments, 1, [&](int64_t from, int64_t to) {
      for (int64_t segment = from; segment < to; segment++)
        for (int64_t channel = 0; channel < channels; channel++) add(segment, channel);
    });
  else
    for (int64_t channel = 0; channel < channels; channel++) add(0, channel);
  for (int64_t channel = 0; channel < channels; channel++) {
    for (int64_t segment = 0; segment < segments; segment++) means[channel] += partial[segment * channels + channel];
    means[channel] /= area;
  }
  return means;
}

// weight (outputs, channels), bias (outputs,) -> scores (outputs,)
inline void pooled_linear(const float* x, int64_t channels, int64_t area, int64_t per_channel, const float* weight,
                          const float* bias, int64_t outputs, float* scores) {
  const std::vector<float> pooled = means(x, channels, area, per_channel);
  constexpr int64_t GRAIN = 1 << 16;  // weights for which another thread is worth while
  at::parallel_for(0, outputs, std::max<int64_t>(1, GRAIN / channels), [&](int64_t from, int64_t to) {
    for (int64_t k = from; k < to; k++)
      scores[k] = dot(weight + k * channels, pooled.data(), channels) + bias[k];
  });
}

}  // namespace dynbench
