"""The Triton kernels: implicit matrix products over the active channels of each image, nothing gathered beforehand.

A program takes one image, a block of its rows or outputs, and a block of its pixels. Programs are launched for as many
rows as an image can have, and end at once where it has fewer: nobody has to ask the device first.

Imported only where Triton is there; `TRITON_INTERPRET=1`, set before, runs them on the CPU.
"""

import triton
import triton.language as tl


@triton.jit
def some_outputs_kernel(
    x, weight, bias, offsets, channel, scale, out,
    K, C, H, W, HO, WO, stride, padding, dilation,
    KH: tl.constexpr, KW: tl.constexpr, SCALED: tl.constexpr, RELU: tl.constexpr, PRECISION: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Map x (B, C, H, W), weight by tap (KH, KW, K, C) -> out (rows, HO, WO).

    Each row of out is an output channel of its image.
    """
    image = tl.program_id(0)
    first = tl.load(offsets + image) + tl.program_id(1) * BM
    end = tl.load(offsets + image + 1)
    if first < end:
        rows = first + tl.arange(0, BM)
        live = rows < end
        which = tl.load(channel + rows, mask=live, other=0)
        pixel = tl.program_id(2) * BN + tl.arange(0, BN)
        inside = pixel < HO * WO
        top, left = pixel // WO * stride - padding, pixel % WO * stride - padding
        total = tl.full((BM, BN), 0.0, tl.float32)
        for kh in range(KH):
            for kw in range(KW):
                i, j = top + kh * dilation, left + kw * dilation
                there = inside & (i >= 0) & (i < H) & (j >= 0) & (j < W)
                for c0 in range(0, C, BK):
                    c = c0 + tl.arange(0, BK)
                    w_at = ((kh * KW + kw) * K + which[:, None]) * C + c[None, :]
                    w = tl.load(weight + w_at, mask=live[:, None] & (c < C)[None, :], other=0.0)
                    x_at = (image * C + c[:, None]) * H * W + (i * W + j)[None, :]
                    v = tl.load(x + x_at, mask=(c < C)[:, None] & there[None, :], other=0.0)
                    total = tl.dot(w, v, total, input_precision=PRECISION)
        total += tl.load(bias + which, mask=live, other=0.0)[:, None]
        if SCALED:
            total *= tl.load(scale + rows, mask=live, other=0.0)[:, None]
        if RELU:
            total = tl.maximum(total, 0.0)
        out_at = rows[:, None] * (HO * WO) + pixel[None, :]
        tl.store(out + out_at, total, mask=live[:, None] & inside[None, :])


@triton.jit
def some_inputs_kernel(
    x, weight, bias, offsets, channel, scale, residual, out,
    K, C, H, W, HO, WO, stride, padding, dilation,
    KH: tl.constexpr, KW: tl.constexpr, SCALED: tl.constexpr, ADDED: tl.constexpr, RELU: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Map x (rows, H, W), weight by tap (KH, KW, C, K) -> out (B, K, HO, WO).

    Each row of x is an input channel of its image.
    """
    image = tl.program_id(0)
    begin, end = tl.load(offsets + image), tl.load(offsets + image + 1)
    k = tl.program_id(1) * BM + tl.arange(0, BM)
    wanted = k < K
    pixel = tl.program_id(2) * BN + tl.arange(0, BN)
    inside = pixel < HO * WO
    top, left = pixel // WO * stride - padding, pixel % WO * stride - padding
    total = tl.full((BM, BN), 0.0, tl.float32)
    for first in range(begin, end, BK):
        rows = first + tl.arange(0, BK)
        live = rows < end
        which = tl.load(channel + rows, mask=live, other=0)
        for kh in range(KH):
            for kw in range(KW):
                i, j = top + kh * dilation, left + kw * dilation
                there = inside & (i >= 0) & (i < H) & (j >= 0) & (j < W)
                w_at = ((kh * KW + kw) * C + which[None, :]) * K + k[:, None]
                w = tl.load(weight + w_at, mask=wanted[:, None] & live[None, :], other=0.0)
                x_at = rows[:, None] * (H * W) + (i * W + j)[None, :]
                v = tl.load(x + x_at, mask=live[:, None] & there[None, :], other=0.0)
                total = tl.dot(w, v, total, input_precision=PRECISION)
    total += tl.load(bias + k, mask=wanted, other=0.0)[:, None]
    if SCALED:
        total *= tl.load(scale + image)
    out_at = (image * K + k[:, None]) * (HO * WO) + pixel[None, :]
    seen = wanted[:, None] & inside[None, :]
    if ADDED:
        total += tl.load(residual + out_at, mask=seen, other=0.0)
    if RELU:
        total = tl.maximum(total, 0.0)
    tl.store(out + out_at, total, mask=seen)
