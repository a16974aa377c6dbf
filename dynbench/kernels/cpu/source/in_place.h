// Input pixels read where they lie, for convolutions whose output is as wide as their input (stride 1, "same"): masked
// loads put zeros where a tap looks beside the image.
#pragma once

#include <vector>

#include "geometry.h"
#include "memoize.h"
#include "vectors.h"

namespace dynbench {

// For each vector of output pixels and each tap, which pixels lie in the image: bits [vector * taps + tap].
using Masks = std::vector<uint16_t>;

inline Masks make_masks(const Geometry& g) {
  const int64_t vectors = (g.pixels() + V - 1) / V;
  Masks masks(vectors * g.taps());
  for (int64_t pixel = 0; pixel < g.pixels(); pixel++)
    for (int64_t tap = 0; tap < g.taps(); tap++) {
      const int64_t y = pixel / g.OW + g.row(tap / g.KW), x = pixel % g.OW + g.column(tap % g.KW);
      if (y >= 0 && y < g.H && x >= 0 && x < g.W) masks[pixel / V * g.taps() + tap] |= 1 << (pixel % V);
    }
  return masks;
}

inline const Masks& masks_of(const Geometry& g) {
  return remembered<Masks>(g.key(), [&] { return make_masks(g); });
}

// Vectors of the output pixels from `pixel` (a multiple of V) on, as a tap sees them in a channel at `channel`.
struct InPlace {
  const uint16_t* masks;
  const int64_t* offsets;  // of each tap
  int64_t taps, pixel;

  vec operator()(const float* channel, int64_t tap, int p) const {
    return load(channel + pixel + p * V + offsets[tap], masks[(pixel / V + p) * taps + tap]);
  }
};

}  // namespace dynbench
