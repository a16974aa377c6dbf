// Convolution at a list of output positions of one image, written in place; of the others nothing is computed, and nothing
// is read that only they need. What the kernel sees at each position is gathered side by side, tap by tap, and the blocks
// of the other convolutions run on that.
#pragma once

#include <algorithm>
#include <vector>

#include <ATen/Parallel.h>

#include "convolution.h"

namespace dynbench {

// Output positions (y * OW + x), rising. `c.out` is the whole map; `add`: what stands there is added before the ReLU.
struct Positions {
  const int64_t* where;
  int64_t count;
  bool add;
};

// A thread's share: positions [p0, p1), output channels [k0, k1).
struct Share {
  int64_t p0, p1, k0, k1;
};

// Floats of gathered input that a thread works on at a time: with the results, what a second-level cache holds.
constexpr int64_t GATHERED = 1 << 17;

inline int64_t whole_vectors(int64_t count) { return (count + PB * V - 1) / (PB * V) * (PB * V); }

// Where the positions of one share look in a channel of the input, by tap: `ld` numbers each, negative beside the image.
class Gather {
 public:
  Gather(const Geometry& g, const int64_t* where, int64_t count) : ld_(whole_vectors(count)), from_(g.taps() * ld_, -1) {
    for (int64_t tap = 0; tap < g.taps(); tap++) {
      const int64_t dy = g.row(tap / g.KW), dx = g.column(tap % g.KW);
      for (int64_t j = 0; j < count; j++) {
        const int64_t y = where[j] / g.OW * g.stride + dy, x = where[j] % g.OW * g.stride + dx;
        if (y >= 0 && y < g.H && x >= 0 && x < g.W) from_[tap * ld_ + j] = y * g.W + x;
      }
    }
    for (size_t j = 0; j < from_.size(); j += V) in_line_.push_back(is_line(from_.data() + j));
  }

  int64_t ld() const { return ld_; }

  void operator()(const float* channel, float* to) const {
    const int32_t* from = from_.data();
    for (const bool line : in_line_) {
      store(to, line ? load(channel + *from) : pick(channel, from));
      from += V;
      to += V;
    }
  }

 private:
  static bool is_line(const int32_t* from) {
    for (int i = 0; i < V; i++)
      if (from[i] < 0 || from[i] != from[0] + i) return false;
    return true;
  }

  static vec pick(const float* channel, const int32_t* from) {
#if defined(__AVX512F__)
    const __m512i at = _mm512_loadu_si512(from);
    return (vec)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), _mm512_cmpge_epi32_mask(at, _mm512_setzero_si512()), at,
                                         channel, 4);
#else
    vec v;
    for (int i = 0; i < V; i++) v[i] = from[i] < 0 ? 0.f : channel[from[i]];
    return v;
#endif
  }

  const int64_t ld_;
  std::vector<int32_t> from_;
  std::vector<bool> in_line_;
};

// Neighbouring positions of a map, which are written together.
struct Stretch {
  int64_t from, to, length;
};

inline std::vector<Stretch> stretches(const int64_t* where, int64_t count) {
  std::vector<Stretch> all;
  for (int64_t j = 0; j < count; j++) {
    if (all.empty() || where[j] != all.back().to + all.back().length) all.push_back({j, where[j], 0});
    all.back().length++;
  }
  return all;
}

inline void put(const float* values, float* to, int64_t length, bool add) {
  for (int64_t i = 0; i < length; i++) {
    const float v = add ? values[i] + to[i] : values[i];
    to[i] = v > 0.f ? v : 0.f;
  }
}

inline void run_share(const Convolution& c, const Positions& positions, const Share& share) {
  const int64_t* where = positions.where + share.p0;
  const int64_t count = share.p1 - share.p0;
  const Gather gather(c.g, where, count);
  const int64_t ld = gather.ld(), one = c.g.taps() * ld;
  static thread_local std::vector<float> gathered, results;
  if ((int64_t)gathered.size() < one * c.active_inputs) gathered.resize(one * c.active_inputs);
  if ((int64_t)results.size() < c.active_outputs * ld) results.resize(c.active_outputs * ld);
  for (int64_t i = 0; i < c.active_inputs; i++) gather(c.x.at(0, c.x_channel(i)), gathered.data() + i * one);
  std::vector<int64_t> offsets;
  for (int64_t tap = 0; tap < c.g.taps(); tap++) offsets.push_back(tap * ld);
  Convolution at = c;  // the same on the gathered pixels, without the end
  at.out = {results.data(), 0, ld};
  at.relu = false;
  const auto channel = [&, copies = gathered.data()](int64_t i) { return copies + i * one; };
  each_block(at, Part{0, 1, 0, 1, share.k0, share.k1}, [&](const Outputs& outputs) {
    each_pixels(0, count, [&](int64_t pixel, auto vectors) {
      block<vectors.value>(at, outputs, Copied{offsets.data(), pixel}, channel, Place{0, pixel, count, pixel == 0});
    });
  });
  const std::vector<Stretch> all = stretches(where, count);
  for (int64_t k = share.k0; k < share.k1; k++)
    for (const Stretch& s : all) put(results.data() + k * ld + s.from, c.out.at(0, k) + s.to, s.length, positions.add);
}

// Positions first, as many at once as the caches hold; then output channels, where threads are left.
inline std::vector<Share> shares(const Convolution& c, int64_t count, int64_t threads) {
  const int64_t most = whole_vectors(GATHERED / std::max<int64_t>(1, c.active_inputs * c.g.taps()) + 1);
  const int64_t chunk = std::min(most, whole_vectors((count + threads - 1) / threads));
  const int64_t chunks = (count + chunk - 1) / chunk, step = c.packed ? KB : 1;
  const int64_t blocks = (c.active_outputs + step - 1) / step;
  const int64_t splits = std::clamp<int64_t>(threads / std::max<int64_t>(chunks, 1), 1, std::max<int64_t>(blocks, 1));
  std::vector<Share> all;
  for (int64_t i = 0; i < chunks; i++)
    for (int64_t o = 0; o < splits; o++)
      all.push_back({i * chunk, std::min(count, (i + 1) * chunk), std::min(c.active_outputs, blocks * o / splits * step),
                     std::min(c.active_outputs, blocks * (o + 1) / splits * step)});
  return all;
}

inline void run_at(const Convolution& c, const Positions& positions) {
  const std::vector<Share> all = shares(c, positions.count, at::in_parallel_region() ? 1 : at::get_num_threads());
  at::parallel_for(0, all.size(), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) run_share(c, positions, all[i]);
  });
}

}  // namespace dynbench
