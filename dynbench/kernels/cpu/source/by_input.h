// Convolution of one image that is no larger than a vector, input channel by input channel.
//
// Where an image is that small, a convolution takes as long as its weights take to arrive from memory. Here all weights of
// an active input channel lie in one run, so that what is not active is not fetched along with it; the sums of all output
// channels lie in the first-level cache.
#pragma once

#include <vector>

#include "convolution.h"

namespace dynbench {

constexpr int BY_INPUT_TAPS = 9;
constexpr int64_t FETCH = 64;  // output channels between the request for weights and their use

inline bool fits_by_input(const Convolution& c) {
  return c.images == 1 && c.g.taps() == BY_INPUT_TAPS && c.g.pixels() <= V && !c.outputs;
}

// Output channels [k0, k1); weight is (channels, K, KH, KW).
template <typename Pixels, typename Channel>
void by_input(const Convolution& c, const Pixels& pixels, const Channel& channel, int64_t k0, int64_t k1) {
  std::vector<float> sums((k1 - k0) * V);
  for (int64_t i = 0; i < c.active_inputs; i++) {
    const float* from = channel(i);
    vec v[BY_INPUT_TAPS];
    for (int tap = 0; tap < BY_INPUT_TAPS; tap++) v[tap] = pixels(from, tap, 0);
    const float* w = c.weight + (c.input(i) * c.active_outputs + k0) * BY_INPUT_TAPS;
    // Where this channel's weights end, the next active one's are asked for.
    const int64_t next = i + 1 < c.active_inputs ? (c.input(i + 1) - c.input(i)) * c.active_outputs - (k1 - k0) : 0;
    for (int64_t k = 0; k < k1 - k0; k++, w += BY_INPUT_TAPS) {
      __builtin_prefetch(w + (k + FETCH < k1 - k0 ? FETCH : FETCH + next) * BY_INPUT_TAPS);
      vec sum = load(sums.data() + k * V);
#pragma GCC unroll 9
      for (int tap = 0; tap < BY_INPUT_TAPS; tap++) sum += w[tap] * v[tap];
      store(sums.data() + k * V, sum);
    }
  }
  for (int64_t k = k0; k < k1; k++)
    finish(load(sums.data() + (k - k0) * V), c.bias[k], c.scale_of(0, k),
           c.residual.data ? c.residual.at(0, k) : nullptr, c.relu, c.out.at(0, k), c.g.pixels());
}

inline void run_by_input(const Convolution& c) {
  const Copy& copy = copy_of(c.g, 0, c.g.OH);
  std::vector<float> copies(c.active_inputs * copy.size() + V);
  for (int64_t i = 0; i < c.active_inputs; i++) copy(c.x.at(0, c.x_channel(i)), copies.data() + i * copy.size());
  const auto channel = [&](int64_t i) { return copies.data() + i * copy.size(); };
  constexpr int64_t GRAIN = 32;  // output channels for which another thread is worth while
  at::parallel_for(0, c.active_outputs, GRAIN, [&](int64_t k0, int64_t k1) {
    by_input(c, Copied{copy.offsets(), 0}, channel, k0, k1);
  });
}

}  // namespace dynbench
