"""The Triton kernels in Triton's interpreter, against plain convolutions of each image. Nothing here is timed."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("triton")

SHAPES = [  # batch, channels, outputs, height, width, taps, stride, padding, dilation
    (1, 3, 5, 6, 6, 3, 1, 1, 1),
    (3, 20, 35, 7, 5, 3, 1, 1, 1),
    (2, 33, 17, 9, 9, 3, 2, 1, 1),
    (4, 6, 18, 5, 4, 1, 1, 0, 1),
    (2, 4, 6, 8, 7, 3, 1, 2, 2),
    (2, 4, 6, 9, 8, 1, 2, 0, 1),
]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Before the kernels are imported, which decides what runs them."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("DYNBENCH_KERNELS", "triton")
    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield
    torch.backends.cudnn.allow_tf32 = allowed


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def lists(batch: int, channels: int, density: float) -> Tensor:
    """Which channels are active, bool (batch, channels); of the first image never any where there are several."""
    active = torch.rand(batch, channels, generator=torch.Generator().manual_seed(batch + channels)) < density
    if batch > 1:
        active[0] = False
    return active


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_some_outputs_are_those_of_the_whole_convolution(shape: tuple[int, ...], density: float) -> None:
    from dynbench.gpu.operators import by_tap, some_outputs  # noqa: PLC0415
    from dynbench.gpu.rows import Rows  # noqa: PLC0415

    batch, channels, outputs, height, width, taps, *options = shape
    x, weight, bias = random(batch, channels, height, width), random(outputs, channels, taps, taps), random(outputs)
    active = lists(batch, outputs, density)
    rows, scale = Rows.of(active), random(batch, outputs).abs()
    whole = conv2d(x, weight, bias, *options)
    found = some_outputs(x, by_tap(weight)[0], bias, rows, scale[active], True, (options[0], options[1], options[2]))
    assert torch.allclose(found, (whole * scale[:, :, None, None]).relu()[active], atol=1e-4)
    plain = some_outputs(x, by_tap(weight)[0], bias, rows, None, False, (options[0], options[1], options[2]))
    assert torch.allclose(plain, whole[active], atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_some_inputs_give_what_zeros_in_the_others_give(shape: tuple[int, ...], density: float) -> None:
    from dynbench.gpu.operators import by_tap, some_inputs  # noqa: PLC0415
    from dynbench.gpu.rows import Rows  # noqa: PLC0415

    batch, channels, outputs, height, width, taps, *options = shape
    x, weight, bias = random(batch, channels, height, width), random(outputs, channels, taps, taps), random(outputs)
    active = lists(batch, channels, density)
    stride, padding, dilation = options
    whole = conv2d(x * active[:, :, None, None], weight, bias, *options)
    scale, residual = random(batch).abs(), random(*whole.shape)
    rows, read = Rows.of(active), by_tap(weight)[1]
    found = some_inputs(x[active], read, bias, rows, scale, residual, True, (stride, padding, dilation))
    assert torch.allclose(found, (whole * scale[:, None, None, None] + residual).relu(), atol=1e-4)
    plain = some_inputs(x[active], read, bias, rows, None, None, False, (stride, padding, dilation))
    assert torch.allclose(plain, whole, atol=1e-4)


def test_the_counter_sees_the_active_channels_alone() -> None:
    from dynbench.gpu.operators import available, by_tap, some_inputs, some_outputs  # noqa: PLC0415
    from dynbench.gpu.rows import Rows  # noqa: PLC0415

    available()
    active = torch.tensor([[True, False, True, False], [False, False, False, True]])
    weight, bias, rows = random(4, 4, 3, 3), random(4), Rows.of(active)
    with FlopCounterMode(display=False) as counter:
        hidden = some_outputs(random(2, 4, 5, 5), by_tap(weight)[0], bias, rows, None, True, (1, 1, 1))
        some_inputs(hidden, by_tap(weight)[1], bias, rows, None, None, True, (1, 1, 1))
    assert counter.get_total_flops() == 2 * (3 * 25 * 4 * 9 + 3 * 25 * 4 * 9)


def test_rows_say_which_channels_each_image_has() -> None:
    from dynbench.gpu.rows import Rows  # noqa: PLC0415

    rows = Rows.of(torch.tensor([[False, True, True], [False, False, False], [True, False, False]]))
    assert rows.image.tolist() == [0, 0, 2]
    assert rows.channel.tolist() == [1, 2, 0]
    assert rows.offsets.tolist() == [0, 2, 2, 3]
