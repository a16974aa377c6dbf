"""The Triton kernels as PyTorch operators, whose FLOPs torch's counter knows from the shapes they are called with.

A candidate: it has not been timed on a GPU, and is used where `DYNBENCH_KERNELS=triton` asks for it. fp32, without
gradients.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from dynbench.kernels.cpu.build import CHOICE

BM, BN, BK = 16, 64, 32
"""ActiveRows or outputs, pixels, and channels of a program's block. `tl.dot` takes no fewer than 16 of each."""

Shape = Sequence[int]


@dataclass(frozen=True)
class ActiveRows:
    """A row for each active channel of each image, image by image.

    The number of the `image` and of the `channel`, both int64 (rows,). Image b's are rows `offsets[b]` up to `offsets[b
    + 1]`, int64 (images + 1,). Their number is in the shapes, so that what they cost is.
    """

    image: Tensor
    channel: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, active: Tensor) -> "ActiveRows":
        """Make the rows of `active`, bool (images, channels). The device is asked once how many there are."""
        image, channel = active.nonzero().unbind(1)
        counts = active.sum(1).cumsum(0)
        return cls(image, channel, torch.cat([counts.new_zeros(1), counts]))


def wanted(x: Tensor) -> bool:
    """Return whether images like `x` go through these kernels."""
    if os.environ.get(CHOICE) != "triton" or x.dtype != torch.float32 or not _has_triton():
        return False
    return x.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def by_tap(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (K, C, KH, KW) as the kernels read them.

    (KH, KW, K, C) for some outputs, (KH, KW, C, K) for some inputs.
    """
    return weight.permute(2, 3, 0, 1).contiguous(), weight.permute(2, 3, 1, 0).contiguous()


def some_outputs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: ActiveRows,
    scale: Tensor | None,
    relu: bool,
    options: tuple[int, int, int],
) -> Tensor:
    """Return `(conv(x) + bias) * scale`, then ReLU if asked for, of the output channels in `rows` alone.

    Images (B, C, h, w), weights by tap (KH, KW, K, C), scale (rows,) -> (rows, h', w'). `options`: stride, padding,
    dilation.
    """
    result: Tensor = _some_outputs(x.contiguous(), weight, bias, rows.offsets, rows.channel, scale, relu, *options)
    return result


def some_inputs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: ActiveRows,
    scale: Tensor | None,
    residual: Tensor | None,
    relu: bool,
    options: tuple[int, int, int],
) -> Tensor:
    """Return `(conv(x) + bias) * scale + residual`, then ReLU if asked for.

    Only the input channels in `rows` are not zero: x (rows, h, w), weights by tap (KH, KW, C, K), scale (B,), residual
    like the result -> (B, K, h', w').
    """
    added = None if residual is None else residual.contiguous()
    result: Tensor = _some_inputs(
        x.contiguous(), weight, bias, rows.offsets, rows.channel, scale, added, relu, *options
    )
    return result


@torch.library.custom_op("dynbench_gpu::some_outputs", mutates_args=())
def _some_outputs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    offsets: Tensor,
    channel: Tensor,
    scale: Tensor | None,
    relu: bool,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    from dynbench.kernels.triton import kernels

    (batch, channels, *size), (*taps, outputs, _) = x.shape, weight.shape
    there = _result(size, taps, stride, padding, dilation)
    out = x.new_empty(len(channel), *there)
    if out.numel():
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            kernels.some_outputs_kernel[(batch, -(-outputs // BM), -(-there[0] * there[1] // BN))](
                x, weight, bias, offsets, channel, bias if scale is None else scale, out,
                outputs, channels, *size, *there, stride, padding, dilation,
                *taps, scale is not None, relu, _precision(), BM, BN, BK,
            )  # fmt: skip
    return out


@torch.library.custom_op("dynbench_gpu::some_inputs", mutates_args=())
def _some_inputs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    offsets: Tensor,
    channel: Tensor,
    scale: Tensor | None,
    residual: Tensor | None,
    relu: bool,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    from dynbench.kernels.triton import kernels

    (*taps, channels, outputs), size, batch = weight.shape, x.shape[1:], len(offsets) - 1
    there = _result(size, taps, stride, padding, dilation)
    out = x.new_empty(batch, outputs, *there)
    if out.numel():
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            kernels.some_inputs_kernel[(batch, -(-outputs // BM), -(-there[0] * there[1] // BN))](
                x, weight, bias, offsets, channel, bias if scale is None else scale,
                out if residual is None else residual, out, outputs, channels, *size, *there, stride, padding, dilation,
                *taps, scale is not None, residual is not None, relu, _precision(), BM, BN, BK,
            )  # fmt: skip
    return out


def _result(size: Shape, taps: Shape, stride: int, padding: int, dilation: int) -> tuple[int, int]:
    """Height and width of a convolution's result."""
    height, width = (
        (side + 2 * padding - dilation * (tap - 1) - 1) // stride + 1 for side, tap in zip(size, taps, strict=True)
    )
    return height, width


def _precision() -> str:
    """Of products: as PyTorch's own convolutions have it on CUDA, or the comparison would not be fair."""
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"


def _outputs_flops(x: Shape, weight: Shape, *rest: object, out_shape: Shape, **options: object) -> int:
    """2 for every output element, input channel and tap: (rows, h', w') are the active channels of all images."""
    rows, height, width = out_shape
    return 2 * rows * height * width * weight[3] * weight[0] * weight[1]


def _inputs_flops(x: Shape, weight: Shape, *rest: object, out_shape: Shape, **options: Any) -> int:
    """2 for every output channel and pixel, active input channel and tap: `x` (rows, h, w) has those of all images."""
    _, outputs, height, width = out_shape
    return 2 * x[0] * outputs * height * width * weight[0] * weight[1]


# Now: a counter that is made before the first call would not know them.
register_flop_formula(torch.ops.dynbench_gpu.some_outputs)(_outputs_flops)
register_flop_formula(torch.ops.dynbench_gpu.some_inputs)(_inputs_flops)
