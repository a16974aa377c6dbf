"""The kernels, as PyTorch operators whose FLOPs torch's counter knows from the shapes they are called with.

Only for fp32 on the CPU, without gradients; `why_not` of `dynbench.kernels.cpu.build` says whether they are there.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula

from dynbench.kernels.cpu.build import why_not

Shape = Sequence[int]
ACTIVATIONS = ("identity", "relu", "clamp", "sigmoid")
"""Of a gate's scores, in the order of `decision.h`."""


@cache
def available() -> bool:
    """Return whether the kernels are loaded (and compiled, if need be); their FLOP formulas are registered then."""
    if why_not() is not None:
        return False
    if torch.ops.dynbench.convolution not in flop_registry:
        register_flop_formula(torch.ops.dynbench.convolution)(_convolution_flops)
        register_flop_formula(torch.ops.dynbench.convolution_at)(_positions_flops)
        register_flop_formula(torch.ops.dynbench.pooled_linear)(_linear_flops)
    _vector_size()  # asked for while an executor is watched, it would be an operator without a FLOP formula
    return True


def instruction_set() -> str:
    """Return what the kernels were compiled for: avx512, avx2, neon or generic."""
    return str(torch.ops.dynbench.instruction_set())


def pack_weights(weight: Tensor) -> Tensor:
    """Return weights (K, C, KH, KW) in blocks of b output channels, input-major.

    (ceil(K / b), C, KH, KW, b), zeros at the end.
    """
    size = torch.ops.dynbench.block_size()
    blocks = -(-len(weight) // size)
    padded = weight.new_zeros(blocks * size, *weight.shape[1:])
    padded[: len(weight)] = weight
    return padded.view(blocks, size, *weight.shape[1:]).permute(0, 2, 3, 4, 1).contiguous()


def small(x: Tensor, kernel: tuple[int, ...], stride: int) -> bool:
    """Return whether a convolution of x (batch, channels, h, w) can go by input: one image, no larger than a vector."""
    batch, _, height, width = x.shape
    return batch == 1 and height * width <= _vector_size() and stride == 1 and kernel == (3, 3)


@cache
def _vector_size() -> int:
    return int(torch.ops.dynbench.vector_size())


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    outputs: Tensor | None,
    inputs: Tensor | None,
    scale: Tensor | None,
    residual: Tensor | None,
    relu: bool,
    stride: int,
    padding: int,
    dilation: int,
    by_input: bool = False,
) -> Tensor:
    """Return `(conv(x) + bias) * scale + residual`, then ReLU if asked for: (batch, active outputs, h', w').

    `weight` is (K, C, KH, KW); or packed, and then all outputs run; or `by_input`, (C, K, KH, KW), and then `x` is one
    image for which `small` holds, and all outputs run. `outputs` and `inputs` are the int64 indices of active channels,
    None for all; weights of others are not read. `x` (batch, channels, h, w) holds the active input channels, or all
    of them. `scale` is (batch or 1, active outputs or 1), `residual` like the result. Raises
    RuntimeError for shapes and types that do not fit.
    """
    result: Tensor = torch.ops.dynbench.convolution.default(
        x, weight, bias, outputs, inputs, scale, residual, relu, stride, padding, dilation, by_input
    )
    return result


def convolution_at(
    out: Tensor,
    x: Tensor,
    where: Tensor,
    weight: Tensor,
    bias: Tensor,
    outputs: Tensor | None,
    inputs: Tensor | None,
    add: bool,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Write `relu(conv(x) + bias)` into `out` at the positions `where`, and return `out`.

    With `add` it is `relu(conv(x) + bias + out)`. `out` is (1, active outputs, h', w'); `where` are int64 indices of
    (h', w') laid flat; nothing else of `out` is touched. The rest is as in `convolution`, for one image.
    """
    result: Tensor = torch.ops.dynbench.convolution_at.default(
        out, x, where, weight, bias, outputs, inputs, add, stride, padding, dilation
    )
    return result


def pooled_linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """Return `linear(mean of x over pixels)` of one image, then ReLU if asked for.

    X (1, C, h, w), or (1, C) that is pooled already, weight (K, C), bias (K,) -> (1, K).
    """
    result: Tensor = torch.ops.dynbench.pooled_linear.default(x, weight, bias, relu)
    return result


def active(
    scores: Tensor,
    start: int = 0,
    group: int = 1,
    activation: str = "identity",
    above: float = 0.0,
    top: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return which channels run for one image, and their scores after the activation.

    Of its scores (1, K), those from `start` on are used, each of which is `group` channels'. Channels are int64, scores
    (1, active).
    """
    channels, values = torch.ops.dynbench.active.default(
        scores, start, group, ACTIVATIONS.index(activation), above, -1 if top is None else top
    )
    return channels, values


def _convolution_flops(
    x: Shape,
    weight: Shape,
    bias: Shape,
    outputs: Shape | None,
    inputs: Shape | None,
    *rest: object,
    out_shape: Shape,
    **options: object,
) -> int:
    """2 for every output element, active input channel and tap."""
    batch, channels, height, width = out_shape
    by_input = rest[-1] is True
    active_inputs = weight[0 if by_input else 1] if inputs is None else inputs[0]
    return 2 * batch * channels * height * width * active_inputs * weight[2] * weight[3]


def _positions_flops(
    out: Shape,
    x: Shape,
    where: Shape,
    weight: Shape,
    bias: Shape,
    outputs: Shape | None,
    inputs: Shape | None,
    *rest: object,
    **options: object,
) -> int:
    """2 for every position, output channel, active input channel and tap."""
    active_inputs = weight[1] if inputs is None else inputs[0]
    return 2 * where[0] * out[1] * active_inputs * weight[2] * weight[3]


def _linear_flops(x: Shape, weight: Shape, *rest: object, out_shape: Shape, **options: object) -> int:
    return 2 * weight[0] * weight[1]
