// Convolution of any list of input or output channels, shared out among threads; the other channels are neither computed
// nor read.
#pragma once

#include <algorithm>
#include <vector>

#include <ATen/Parallel.h>

#include "microkernel.h"
#include "im2col.h"
#include "geometry.h"
#include "in_place.h"
#include "vectors.h"

namespace dynbench {

// What one thread does: output channels [k0, k1) and rows [y0, y1) of images [n0, n1).
struct Part {
  int64_t n0, n1, y0, y1, k0, k1;
};

// Calls work(outputs) for the blocks of output channels of a part: packed ones as they are, rows in even blocks.
template <typename Work>
void each_block(const Convolution& c, const Part& part, const Work& work) {
  int64_t k = part.k0;
  for (int64_t left = (part.k1 - part.k0 + KB - 1) / KB; left > 0; left--) {
    const int count = c.packed ? std::min<int64_t>(KB, part.k1 - k) : (part.k1 - k) / left;
    work(Outputs(c, k, count));
    k += count;
  }
}

// Calls work(pixel, vectors) for the blocks of pixels [begin, end).
template <typename Work>
void each_pixels(int64_t begin, int64_t end, const Work& work) {
  int64_t pixel = begin;
  for (; pixel + (PB - 1) * V < end; pixel += PB * V) work(pixel, std::integral_constant<int, PB>());
  for (; pixel < end; pixel += V) work(pixel, std::integral_constant<int, 1>());
}

inline void run_in_place(const Convolution& c, const Part& part, const Masks& masks) {
  const Geometry& g = c.g;
  const int64_t begin = part.y0 * g.OW;
  std::vector<int64_t> offsets;
  for (int64_t tap = 0; tap < g.taps(); tap++) offsets.push_back(g.row(tap / g.KW) * g.W + g.column(tap % g.KW));
  each_block(c, part, [&](const Outputs& outputs) {
    for (int64_t n = part.n0; n < part.n1; n++) {
      const auto channel = [&, n](int64_t i) { return c.x.at(n, c.x_channel(i)); };
      each_pixels(begin, part.y1 * g.OW, [&](int64_t pixel, auto vectors) {
        const InPlace pixels{masks.data(), offsets.data(), g.taps(), pixel};
        block<vectors.value>(c, outputs, pixels, channel, Place{n, pixel, part.y1 * g.OW, pixel == begin});
      });
    }
  });
}

// Floats of copied input that a thread works on at a time: what stays in a second-level cache beside the weights.
constexpr int64_t SCRATCH = 1 << 16;

// Rows that make up whole vectors of pixels.
inline int64_t row_unit(const Geometry& g) {
  int64_t unit = 1;
  while (unit * g.OW % V) unit++;
  return unit;
}

// Rows of an image whose copies fit into the scratch, in whole vectors.
inline int64_t rows_at_once(const Convolution& c) {
  const int64_t one = c.g.KW * c.g.stride * c.g.OW * std::max<int64_t>(c.active_inputs, 1), unit = row_unit(c.g);
  return std::max<int64_t>(1, SCRATCH / one / unit) * unit;
}

inline void run_copied(const Convolution& c, const Part& part) {
  const Geometry& g = c.g;
  const int64_t rows = rows_at_once(c);
  if (part.y1 - part.y0 > rows) {
    for (int64_t y = part.y0; y < part.y1; y += rows)
      run_copied(c, {part.n0, part.n1, y, std::min(y + rows, part.y1), part.k0, part.k1});
    return;
  }
  const Copy& copy = copy_of(g, part.y0, part.y1);
  const int64_t begin = part.y0 * g.OW, one = copy.size() * c.active_inputs;
  const int64_t together = std::clamp<int64_t>(SCRATCH / std::max<int64_t>(one, 1), 1, part.n1 - part.n0);
  static thread_local std::vector<float> scratch;
  if ((int64_t)scratch.size() < together * one + V * PB) scratch.resize(together * one + V * PB);
  for (int64_t n0 = part.n0; n0 < part.n1; n0 += together) {
    const int64_t n1 = std::min(n0 + together, part.n1);
    for (int64_t n = n0; n < n1; n++)
      for (int64_t i = 0; i < c.active_inputs; i++)
        copy(c.x.at(n, c.x_channel(i)), scratch.data() + (n - n0) * one + i * copy.size());
    each_block(c, part, [&](const Outputs& outputs) {
      for (int64_t n = n0; n < n1; n++) {
        const auto channel = [&, copies = scratch.data() + (n - n0) * one](int64_t i) { return copies + i * copy.size(); };
        each_pixels(begin, part.y1 * g.OW, [&](int64_t pixel, auto vectors) {
          const Copied pixels{copy.offsets(), pixel - begin};
          block<vectors.value>(c, outputs, pixels, channel, Place{n, pixel, part.y1 * g.OW, pixel == begin && n == n0});
        });
      }
    });
  }
}

// How the work is shared out: images first; then an image's rows, while a part has enough pixels; then output channels.
inline std::vector<Part> parts(const Convolution& c, int64_t threads) {
  const int64_t K = c.active_outputs, unit = row_unit(c.g), units = (c.g.OH + unit - 1) / unit;
  const int64_t for_images = std::min(c.images, threads), threads_each = threads / std::max<int64_t>(for_images, 1);
  const int64_t for_rows = std::clamp<int64_t>(std::min(units, c.g.pixels() / (2 * PB * V)), 1, threads_each);
  const int64_t step = c.packed ? KB : 1, blocks = (K + step - 1) / step;
  const int64_t for_outputs = std::clamp<int64_t>((K + KB - 1) / KB, 1, threads_each / for_rows);
  std::vector<Part> all;
  for (int64_t n = 0; n < for_images; n++)
    for (int64_t r = 0; r < for_rows; r++)
      for (int64_t o = 0; o < for_outputs; o++)
        all.push_back({c.images * n / for_images, c.images * (n + 1) / for_images,
                       std::min(c.g.OH, units * r / for_rows * unit), std::min(c.g.OH, units * (r + 1) / for_rows * unit),
                       std::min(K, blocks * o / for_outputs * step), std::min(K, blocks * (o + 1) / for_outputs * step)});
  return all;
}

// A copy costs about as much as one block of output channels gains from it.
constexpr int64_t FEW = 2 * KB;

inline void run(const Convolution& c) {
  const std::vector<Part> all = parts(c, at::in_parallel_region() ? 1 : at::get_num_threads());
  const bool in_place = MASKED_LOADS && c.g.aligned() && all[0].k1 - all[0].k0 <= FEW;
  const Masks* masks = in_place ? &masks_of(c.g) : nullptr;
  at::parallel_for(0, all.size(), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) masks ? run_in_place(c, all[i], *masks) : run_copied(c, all[i]);
  });
}

}  // namespace dynbench
