// Where a convolution's output pixels look in its input.
#pragma once

#include <array>
#include <cstdint>

namespace dynbench {

inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

struct Geometry {
  int64_t H, W, KH, KW, stride, padding, dilation, OH, OW;

  Geometry(int64_t H, int64_t W, int64_t KH, int64_t KW, int64_t stride, int64_t padding, int64_t dilation)
      : H(H), W(W), KH(KH), KW(KW), stride(stride), padding(padding), dilation(dilation),
        OH((H + 2 * padding - dilation * (KH - 1) - 1) / stride + 1),
        OW((W + 2 * padding - dilation * (KW - 1) - 1) / stride + 1) {}

  int64_t taps() const { return KH * KW; }
  int64_t pixels() const { return OH * OW; }

  // Output row y sees input row y * stride + row(ky); output column x sees x * stride + column(kx).
  int64_t row(int64_t ky) const { return ky * dilation - padding; }
  int64_t column(int64_t kx) const { return kx * dilation - padding; }

  // Output pixel i sees, of each tap, input pixel i + a constant, but for those beside the image.
  bool aligned() const { return stride == 1 && OW == W; }

  using Key = std::array<int64_t, 7>;
  Key key() const { return {H, W, KH, KW, stride, padding, dilation}; }
};

}  // namespace dynbench
