"""The Triton kernels in Triton's interpreter, against plain convolutions of each image. Nothing here is timed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest
import torch
from dynbench_methods.lc_net.gates import GatedBackbone
from dynbench_methods.lc_net.method import CNet, LCNet
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from dynbench.cost import CostModel, static_costs
from dynbench.executors import kernels_of
from dynbench.kernels.cpu import operators as native
from dynbench.kernels.triton.operators import ActiveRows, by_tap, some_inputs, some_outputs, wanted
from tests.helpers.planted import plant
from tests.helpers.small import CPU, SHAPE, random_images, small_backbone

pytest.importorskip("triton")

SHAPES = [  # batch, channels, outputs, height, width, taps, stride, padding, dilation
    (1, 3, 5, 6, 6, 3, 1, 1, 1),
    (3, 20, 35, 7, 5, 3, 1, 1, 1),
    (2, 33, 17, 9, 9, 3, 2, 1, 1),
    (4, 6, 18, 5, 4, 1, 1, 0, 1),
    (2, 4, 6, 8, 7, 3, 1, 2, 2),
    (2, 4, 6, 9, 8, 1, 2, 0, 1),
]

COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dynbench.kernels.triton import kernels
from dynbench.kernels.triton.operators import BK, BM, BN

tensors = {"x", "weight", "bias", "scale", "residual", "out"}
fixed = {"KH": 3, "KW": 3, "SCALED": True, "ADDED": True, "RELU": True, "PRECISION": "tf32"}
fixed |= {"BM": BM, "BN": BN, "BK": BK}
for kernel in (kernels.some_outputs_kernel, kernels.some_inputs_kernel):
    names = kernel.arg_names
    types = {name: "*fp32" if name in tensors else "i32" for name in names} | {"offsets": "*i64", "channel": "*i64"}
    constants = {name: value for name, value in fixed.items() if name in names}
    source = ASTSource(kernel, types | dict.fromkeys(constants, "constexpr"), constants)
    print("cubin" in compile(source, target=GPUTarget("cuda", 90, 32)).asm)
"""


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
    batch, channels, outputs, height, width, taps, *options = shape
    x, weight, bias = random(batch, channels, height, width), random(outputs, channels, taps, taps), random(outputs)
    active = lists(batch, outputs, density)
    rows, scale = ActiveRows.of(active), random(batch, outputs).abs()
    whole = conv2d(x, weight, bias, *options)
    found = some_outputs(x, by_tap(weight)[0], bias, rows, scale[active], True, (options[0], options[1], options[2]))
    assert torch.allclose(found, (whole * scale[:, :, None, None]).relu()[active], atol=1e-4)
    plain = some_outputs(x, by_tap(weight)[0], bias, rows, None, False, (options[0], options[1], options[2]))
    assert torch.allclose(plain, whole[active], atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_some_inputs_give_what_zeros_in_the_others_give(shape: tuple[int, ...], density: float) -> None:
    batch, channels, outputs, height, width, taps, *options = shape
    x, weight, bias = random(batch, channels, height, width), random(outputs, channels, taps, taps), random(outputs)
    active = lists(batch, channels, density)
    stride, padding, dilation = options
    whole = conv2d(x * active[:, :, None, None], weight, bias, *options)
    scale, residual = random(batch).abs(), random(*whole.shape)
    rows, read = ActiveRows.of(active), by_tap(weight)[1]
    found = some_inputs(x[active], read, bias, rows, scale, residual, True, (stride, padding, dilation))
    assert torch.allclose(found, (whole * scale[:, None, None, None] + residual).relu(), atol=1e-4)
    plain = some_inputs(x[active], read, bias, rows, None, None, False, (stride, padding, dilation))
    assert torch.allclose(plain, whole, atol=1e-4)


def test_the_counter_sees_the_active_channels_alone() -> None:
    active = torch.tensor([[True, False, True, False], [False, False, False, True]])
    weight, bias, rows = random(4, 4, 3, 3), random(4), ActiveRows.of(active)
    with FlopCounterMode(display=False) as counter:
        hidden = some_outputs(random(2, 4, 5, 5), by_tap(weight)[0], bias, rows, None, True, (1, 1, 1))
        some_inputs(hidden, by_tap(weight)[1], bias, rows, None, None, True, (1, 1, 1))
    assert counter.get_total_flops() == 2 * (3 * 25 * 4 * 9 + 3 * 25 * 4 * 9)


def test_rows_say_which_channels_each_image_has() -> None:
    rows = ActiveRows.of(torch.tensor([[False, True, True], [False, False, False], [True, False, False]]))
    assert rows.image.tolist() == [0, 0, 2]
    assert rows.channel.tolist() == [1, 2, 0]
    assert rows.offsets.tolist() == [0, 2, 2, 3]


@pytest.mark.parametrize(
    ("method", "bottleneck", "point"),
    [(CNet, True, "sequential"), (LCNet, False, "sequential"), (LCNet, False, "parallel_cancel")],
)
def test_a_batch_costs_what_is_accounted_and_gives_the_same_logits(
    method: type[LCNet], bottleneck: bool, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    kind, images = method(method.Config()), random_images(3)
    model = cast("GatedBackbone", kind.build(small_backbone(bottleneck, "B")).eval())
    plant(model, random_images(8), 0.5)
    (chosen,) = (one for one in kind.points(model) if one.name == point)
    executor = kind.executor(model, chosen).eval()
    with torch.no_grad():
        (output,) = kind.infer(model, images, [chosen])
        with FlopCounterMode(display=False) as counter:
            logits = executor(images)
    accounted = CostModel(static_costs(model, SHAPE), CPU)(output.usage, len(images)).by_kind.sum()
    assert counter.get_total_flops() == 2 * int(accounted)
    assert torch.allclose(logits, output.logits, atol=1e-4)
    assert kernels_of(executor) == "dynbench kernels (triton)"


def test_they_are_used_where_they_are_asked_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted(random(1, 3, 4, 4))
    assert not wanted(random(1, 3, 4, 4).double())
    monkeypatch.delenv("TRITON_INTERPRET")
    assert not wanted(random(1, 3, 4, 4))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delenv("DYNBENCH_KERNELS")
    assert not wanted(random(1, 3, 4, 4))


def test_they_compile_for_a_gpu_that_is_not_here() -> None:
    """In a process of its own, where nothing interprets them: for compute capability 9.0, down to machine code."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr
