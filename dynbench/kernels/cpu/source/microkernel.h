// What a convolution is, and one block of it in registers: KB output channels by PB vectors of pixels, which stay
// there while the active input channels and the taps pass by. Pixels lie along the vectors and weights are broadcast, so
// a list of channels costs as much a channel as all.
#pragma once

#include "geometry.h"
#include "vectors.h"

namespace dynbench {

// Images by channels of planes of contiguous pixels; images and channels lie any number of floats apart.
template <typename Float>
struct Planes {
  Float* data;
  int64_t per_image, per_channel;

  Float* at(int64_t n, int64_t channel) const { return data + n * per_image + channel * per_channel; }
};

struct Convolution {
  Geometry g;
  Planes<const float> x;  // (images, x_channels, H, W)
  int64_t images, x_channels;
  const float* weight;  // rows (K, channels, KH, KW), or packed (ceil(K / KB), channels, KH, KW, KB)
  int64_t channels;
  bool packed;
  const float* bias;       // (K,)
  const int64_t* outputs;  // active output channels; null: all
  int64_t active_outputs;
  const int64_t* inputs;  // active input channels; null: all
  int64_t active_inputs;
  const float* scale;     // (images or 1, active outputs or 1), or null
  int64_t scale_image, scale_output;  // its strides, 0 where there is but one
  Planes<const float> residual;  // like out, or null
  bool relu;
  Planes<float> out;  // (images, active outputs, OH, OW)

  int64_t input(int64_t i) const { return inputs ? inputs[i] : i; }
  // x holds the active input channels only, or all of them.
  int64_t x_channel(int64_t i) const { return inputs && x_channels != active_inputs ? inputs[i] : i; }
  float scale_of(int64_t n, int64_t k) const { return scale ? scale[n * scale_image + k * scale_output] : 1.f; }
};

// The output channels of one block: their weights and biases.
struct Outputs {
  const float* weight[KB];  // packed: the first one only
  float bias[KB];
  int64_t first;
  int count;

  Outputs(const Convolution& c, int64_t first, int count) : first(first), count(count) {
    for (int i = 0; i < count; i++) {
      const int64_t k = c.outputs ? c.outputs[first + i] : first + i;
      weight[i] = c.weight + k * c.channels * c.g.taps();
      bias[i] = c.bias[k];
    }
  }
};

constexpr int64_t AHEAD = 8;  // input channels between the request for weights and their use
constexpr int64_t LINE = 16;  // floats of a cache line

template <int KN, int PN, bool PACKED, int TAPS, typename Pixels, typename Channel>
inline void accumulate(const Convolution& c, const Outputs& outputs, const Pixels& pixels, const Channel& channel,
                       bool fetch, vec (&sums)[KN][PN]) {
  const int64_t taps = TAPS ? TAPS : c.g.taps();
  for (int64_t i = 0; i < c.active_inputs; i++) {
    const float* from = channel(i);
    const int64_t at = c.input(i) * taps;
    if (fetch && i + AHEAD < c.active_inputs) {  // a list of channels is no stream that the hardware would foresee
      const int64_t soon = c.input(i + AHEAD) * taps;
      if (PACKED)
        for (int64_t j = 0; j < taps * KB; j += LINE) __builtin_prefetch(outputs.weight[0] + soon * KB + j);
      else
        for (int k = 0; k < KN; k++) __builtin_prefetch(outputs.weight[k] + soon);
    }
#pragma GCC unroll 9
    for (int64_t tap = 0; tap < (TAPS ? TAPS : taps); tap++) {
      vec v[PN];
#pragma GCC unroll 4
      for (int p = 0; p < PN; p++) v[p] = pixels(from, tap, p);
#pragma GCC unroll 16
      for (int k = 0; k < KN; k++) {
        const float w = PACKED ? outputs.weight[0][(at + tap) * KB + k] : outputs.weight[k][at + tap];
#pragma GCC unroll 4
        for (int p = 0; p < PN; p++) sums[k][p] += w * v[p];
      }
    }
  }
}

// relu((sum + bias) * scale + residual) of the first `count` of a vector's pixels; a null residual is none.
inline void finish(vec sum, float bias, float scale, const float* residual, bool relu, float* out, int64_t count) {
  vec v = (sum + bias) * scale;
  if (count >= V) {
    if (residual) v += load(residual);
    store(out, relu ? (v > 0.f ? v : vec{}) : v);
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    const float one = v[i] + (residual ? residual[i] : 0.f);
    out[i] = relu && !(one > 0.f) ? 0.f : one;
  }
}

// Which block: of image n, from output pixel `pixel` on; the part's pixels end at `end`. `fetch`: it is the first to read
// its weights.
struct Place {
  int64_t n, pixel, end;
  bool fetch;
};

template <int KN, int PN, bool PACKED, typename Pixels, typename Channel>
void block(const Convolution& c, const Outputs& outputs, const Pixels& pixels, const Channel& channel, const Place& at) {
  vec sums[KN][PN] = {};
  switch (c.g.taps()) {
    case 1:
      accumulate<KN, PN, PACKED, 1>(c, outputs, pixels, channel, at.fetch, sums);
      break;
    case 9:
      accumulate<KN, PN, PACKED, 9>(c, outputs, pixels, channel, at.fetch, sums);
      break;
    default:
      accumulate<KN, PN, PACKED, 0>(c, outputs, pixels, channel, at.fetch, sums);
  }
#pragma GCC unroll 16
  for (int k = 0; k < KN; k++) {
    if (k >= outputs.count) break;
    const float scale = c.scale_of(at.n, outputs.first + k);
    const float* residual = c.residual.data ? c.residual.at(at.n, outputs.first + k) + at.pixel : nullptr;
    float* out = c.out.at(at.n, outputs.first + k) + at.pixel;
#pragma GCC unroll 4
    for (int p = 0; p < PN; p++)
      finish(sums[k][p], outputs.bias[k], scale, residual ? residual + p * V : nullptr, c.relu, out + p * V,
             at.end - at.pixel - p * V);
  }
}

template <int PN, typename Pixels, typename Channel>
void block(const Convolution& c, const Outputs& outputs, const Pixels& pixels, const Channel& channel, const Place& at) {
  if (c.packed) return block<KB, PN, true>(c, outputs, pixels, channel, at);
  switch (outputs.count) {
#define CASE(i) \
  case i:       \
    return block<(i < KB ? i : KB), PN, false>(c, outputs, pixels, channel, at);
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
  }
}

}  // namespace dynbench
