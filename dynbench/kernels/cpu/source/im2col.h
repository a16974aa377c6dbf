// Input pixels copied so that neighbouring output pixels lie side by side: one copy for each column of the kernel (the
// im2col of one axis only), in which the kernel's rows are whole rows apart.
#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "geometry.h"
#include "memoize.h"
#include "vectors.h"

namespace dynbench {

// The copy of one input channel for output rows [y0, y1): planes by the kernel's column and by the phase of the input's
// rows (row modulo stride).
class Copy {
 public:
  Copy(const Geometry& g, int64_t y0, int64_t y1)
      : g_(g), y0_(y0), rows_(y1 - y0), first_(floor_div(g.row(0), g.stride)),
        plane_((rows_ + floor_div(g.row(g.KH - 1), g.stride) - first_) * g.OW) {
    for (int64_t tap = 0; tap < g.taps(); tap++) offsets_.push_back(offset(tap / g.KW, tap % g.KW));
    list();
  }

  // Floats of one channel's copy; vectors may be read V * PB floats beyond the last channel's.
  int64_t size() const { return g_.KW * g_.stride * plane_; }
  // Where the first output pixel of the copy is, for each tap.
  const int64_t* offsets() const { return offsets_.data(); }

  void operator()(const float* channel, float* to) const {
    for (const Run& run : runs_) std::copy_n(channel + run.from, run.length, to + run.to);
    for (const Pixel& first : eights_) every_second<8>(channel + first.from, to + first.to);
    for (const Pixel& first : fours_) every_second<4>(channel + first.from, to + first.to);
    for (const Pixel& pixel : pixels_) to[pixel.to] = channel[pixel.from];
    for (const int32_t zero : zeros_) to[zero] = 0.f;
  }

 private:
  struct Pixel {
    int32_t to, from;
  };
  struct Run {
    int32_t to, from, length;
  };

  template <int COUNT>
  static void every_second(const float* from, float* to) {
    for (int i = 0; i < COUNT; i++) to[i] = from[2 * i];
  }

  int64_t offset(int64_t ky, int64_t kx) const {
    const int64_t shift = floor_div(g_.row(ky), g_.stride), phase = g_.row(ky) - shift * g_.stride;
    return (kx * g_.stride + phase) * plane_ + (shift - first_) * g_.OW;
  }

  // Calls put(to, row, from column, to column) for each row of the copy; the input row may lie beside the image.
  template <typename Put>
  void each_row(const Put& put) const {
    std::vector<bool> done(size(), false);
    for (int64_t tap = 0; tap < g_.taps(); tap++)
      for (int64_t y = 0; y < rows_; y++) {
        const int64_t to = offsets_[tap] + y * g_.OW;
        if (done[to]) continue;
        done[to] = true;
        put(to, (y0_ + y) * g_.stride + g_.row(tap / g_.KW), g_.column(tap % g_.KW));
      }
  }

  // Output columns [begin, end) of a row see columns of the image.
  int64_t begin(int64_t left) const { return std::clamp<int64_t>(-floor_div(left, g_.stride), 0, g_.OW); }
  int64_t end(int64_t left) const { return std::clamp<int64_t>(floor_div(g_.W - 1 - left, g_.stride) + 1, 0, g_.OW); }

  void list() {
    each_row([&](int64_t to, int64_t row, int64_t left) {
      const bool inside = row >= 0 && row < g_.H;
      const int64_t first = inside ? begin(left) : g_.OW, last = inside ? std::max(first, end(left)) : g_.OW;
      for (int64_t i = 0; i < first; i++) zeros_.push_back(to + i);
      if (first < last) list_row(to + first, row * g_.W + first * g_.stride + left, last - first);
      for (int64_t i = last; i < g_.OW; i++) zeros_.push_back(to + i);
    });
  }

  void list_row(int32_t to, int32_t from, int32_t count) {
    if (g_.stride == 1) return runs_.push_back({to, from, count});
    int32_t i = 0;
    if (g_.stride == 2) {
      for (; i + 8 <= count; i += 8) eights_.push_back({to + i, from + 2 * i});
      for (; i + 4 <= count; i += 4) fours_.push_back({to + i, from + 2 * i});
    }
    for (; i < count; i++) pixels_.push_back({to + i, from + (int32_t)g_.stride * i});
  }

  const Geometry g_;
  const int64_t y0_, rows_, first_, plane_;
  std::vector<int64_t> offsets_;
  std::vector<Pixel> pixels_, fours_, eights_;
  std::vector<Run> runs_;
  std::vector<int32_t> zeros_;
};

inline const Copy& copy_of(const Geometry& g, int64_t y0, int64_t y1) {
  return remembered<Copy>(std::make_tuple(g.key(), y0, y1), [&] { return Copy(g, y0, y1); });
}

// Vectors of the output pixels from `pixel` on, as a tap sees them in a channel copied to `channel`.
struct Copied {
  const int64_t* offsets;
  int64_t pixel;

  vec operator()(const float* channel, int64_t tap, int p) const {
    return load(channel + pixel + p * V + offsets[tap]);
  }
};

}  // namespace dynbench
