"""The kernels against PyTorch: every geometry, any list of channels, nothing read that is left out."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear
from torch.utils.flop_counter import FlopCounterMode

from dynbench.kernels.cpu import build, operators
from tests.conftest import Cli

pytestmark = pytest.mark.skipif(not operators.available(), reason=str(build.why_not()))

# images, inputs, height, width, outputs, kernel, stride, padding, dilation
GEOMETRIES = [
    (1, 64, 32, 32, 64, 3, 1, 1, 1),
    (1, 16, 32, 32, 24, 3, 2, 1, 1),
    (1, 96, 4, 4, 80, 3, 1, 1, 1),
    (1, 24, 2, 2, 17, 3, 1, 1, 1),
    (1, 3, 9, 7, 5, 3, 1, 1, 1),
    (2, 5, 11, 13, 9, 3, 2, 1, 1),
    (3, 8, 8, 8, 20, 1, 2, 0, 1),
    (2, 12, 14, 14, 30, 1, 1, 0, 1),
    (1, 4, 12, 12, 6, 5, 1, 2, 1),
    (1, 4, 12, 12, 6, 3, 1, 2, 2),
    (1, 4, 13, 13, 6, 5, 3, 2, 1),
    (5, 7, 6, 6, 8, 3, 1, 0, 1),
    (40, 16, 8, 8, 16, 3, 1, 1, 1),
]


def some(count: int, generator: torch.Generator) -> Tensor:
    """About a third of `count` channels, at least one, in order."""
    chosen = (torch.rand(count, generator=generator) < 0.35).nonzero()[:, 0]
    return chosen if len(chosen) else torch.tensor([count - 1])


def close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def check(geometry: tuple[int, ...]) -> None:
    """All channels, listed outputs, listed inputs (held alone or among all), with scale, residual and ReLU."""
    images, inputs, height, width, outputs, kernel, *options = geometry
    stride, padding, dilation = options
    g = torch.Generator().manual_seed(sum(geometry))
    x = torch.randn(images, inputs, height, width, generator=g)
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=g)
    bias = torch.randn(outputs, generator=g)
    packed = operators.pack_weights(weight)
    whole = conv2d(x, weight, bias, stride, padding, dilation)
    for layout in (weight, packed):
        close(operators.convolution(x, layout, bias, None, None, None, None, False, *options), whole)
    out, into = some(outputs, g), some(inputs, g)
    scale = torch.rand(images, len(out), generator=g)
    expected = (conv2d(x, weight[out], bias[out], stride, padding, dilation) * scale[:, :, None, None]).relu()
    close(operators.convolution(x, weight, bias, out, None, scale, None, True, *options), expected)
    residual, gain = torch.randn(whole.shape, generator=g), torch.rand(1, 1, generator=g)
    part = conv2d(x[:, into], weight[:, into], bias, stride, padding, dilation) * gain[:, :, None, None] + residual
    for held, layout in product((x, x[:, into]), (weight, packed)):
        actual = operators.convolution(held, layout, bias, None, into, gain, residual, False, *options)
        close(actual, part)
    if padding == 1 and operators.small(x, (kernel, kernel), stride):
        transposed = weight.transpose(0, 1).contiguous()
        for held in (x, x[:, into]):
            actual = operators.convolution(held, transposed, bias, None, into, gain, residual, False, *options, True)
            close(actual, part)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolution_is_pytorchs(geometry: tuple[int, ...], threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(geometry)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [4, 8, 32])
def test_weights_and_features_that_are_left_out_are_not_read(size: int) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 24, size, size, generator=g)
    weight, bias = torch.randn(40, 24, 3, 3, generator=g), torch.randn(40, generator=g)
    out, into = some(40, g), some(24, g)
    others_out = torch.ones(40, dtype=torch.bool).index_fill(0, out, False)
    others_in = torch.ones(24, dtype=torch.bool).index_fill(0, into, False)
    rows = weight.clone()
    rows[others_out] = float("nan")
    assert operators.convolution(x, rows, bias, out, None, None, None, True, 1, 1, 1).isfinite().all()
    packed = operators.pack_weights(weight)
    packed[:, others_in] = float("nan")
    x[:, others_in] = float("nan")
    assert operators.convolution(x, packed, bias, None, into, None, None, True, 1, 1, 1).isfinite().all()
    if operators.small(x, (3, 3), 1):
        transposed = weight.transpose(0, 1).contiguous()
        transposed[others_in] = float("nan")
        assert operators.convolution(x, transposed, bias, None, into, None, None, True, 1, 1, 1, True).isfinite().all()


def test_no_active_input_leaves_the_bias() -> None:
    none = torch.empty(0, dtype=torch.int64)
    weight, bias = operators.pack_weights(torch.randn(8, 4, 3, 3)), torch.randn(8)
    y = operators.convolution(torch.randn(1, 0, 8, 8), weight, bias, None, none, None, None, False, 1, 1, 1)
    assert torch.equal(y, bias[None, :, None, None].expand(1, 8, 8, 8))


def test_no_active_output_is_nothing() -> None:
    none = torch.empty(0, dtype=torch.int64)
    y = operators.convolution(
        torch.randn(1, 4, 8, 8), torch.randn(8, 4, 3, 3), torch.randn(8), none, None, None, None, True, 1, 1, 1
    )
    assert y.shape == (1, 0, 8, 8)


def test_flops_follow_from_the_shapes_that_an_operator_is_called_with() -> None:
    x, weight, bias = torch.randn(2, 12, 8, 8), torch.randn(20, 12, 3, 3), torch.randn(20)
    out, into = torch.tensor([1, 5, 7]), torch.tensor([0, 11])
    with FlopCounterMode(display=False) as counter:
        operators.convolution(x, weight, bias, out, None, None, None, True, 2, 1, 1)
    assert counter.get_total_flops() == 2 * 2 * 3 * 12 * 9 * 4 * 4
    with FlopCounterMode(display=False) as counter:
        operators.convolution(x, operators.pack_weights(weight), bias, None, into, None, None, True, 1, 1, 1)
    assert counter.get_total_flops() == 2 * 2 * 20 * 2 * 9 * 8 * 8
    transposed = weight.transpose(0, 1).contiguous()
    with FlopCounterMode(display=False) as counter:
        few = x[:1, :, :2, :2].contiguous()
        operators.convolution(few, transposed, bias, None, into, None, None, True, 1, 1, 1, True)
    assert counter.get_total_flops() == 2 * 20 * 2 * 9 * 2 * 2
    with FlopCounterMode(display=False) as counter:
        operators.pooled_linear(x[:1], torch.randn(6, 12), torch.randn(6))
    assert counter.get_total_flops() == 2 * 6 * 12


@pytest.mark.parametrize("area", [3, 32])
def test_pooled_linear_is_pytorchs(area: int) -> None:
    x, weight, bias = torch.randn(1, 70, area, area) + 1, torch.randn(50, 70), torch.randn(50)
    close(operators.pooled_linear(x, weight, bias), linear(x.mean((2, 3)), weight, bias))


def test_pooled_features_and_a_relu() -> None:
    x, weight, bias = torch.randn(1, 70), torch.randn(50, 70), torch.randn(50)
    close(operators.pooled_linear(x, weight, bias), linear(x, weight, bias))
    close(operators.pooled_linear(x, weight, bias, relu=True), linear(x, weight, bias).relu())
    with FlopCounterMode(display=False) as counter:
        operators.pooled_linear(x, weight, bias, relu=True)
    assert counter.get_total_flops() == 2 * 50 * 70
    with pytest.raises(RuntimeError, match="x must be"):
        operators.pooled_linear(x.double(), weight, bias)


def test_active_channels_are_those_above_zero() -> None:
    channels, values = operators.active(torch.tensor([[0.5, -1.0, 0.25, 0.0, 3.0]]), 1, activation="clamp")
    assert channels.tolist() == [1, 3]
    assert values.tolist() == [[0.25, 1.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.randn(1, 5, 8, 8)}, "x has 5 channels"),
        ({"x": torch.randn(1, 4, 8, 8).double()}, "x must be float32"),
        ({"outputs": torch.tensor([0, 8])}, "names channel 8 of 8"),
        ({"outputs": torch.tensor([-1])}, "names channel -1 of 8"),
        ({"scale": torch.rand(1, 3)}, "scale must be"),
        ({"residual": torch.randn(1, 8, 7, 7)}, "the output's shape"),
        ({"weight": torch.randn(9, 4, 3, 3)}, "weight and bias differ"),
        ({"weight": torch.randn(4, 8, 3, 3), "by_input": True}, "no larger than a vector"),
        ({"x": torch.randn(1, 4, 1, 1), "padding": 0}, "smaller than the kernel"),
    ],
    ids=lambda part: part if isinstance(part, str) else "-".join(part),
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    call = {
        "x": torch.randn(1, 4, 8, 8),
        "weight": torch.randn(8, 4, 3, 3),
        "bias": torch.randn(8),
        "outputs": None,
        "inputs": None,
        "scale": None,
        "residual": None,
        "relu": False,
        "stride": 1,
        "padding": 1,
        "dilation": 1,
    }
    with pytest.raises(RuntimeError, match=message):
        operators.convolution(**(call | change))


PORTABLE = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.kernels import test_cpu_kernels as test_native
from dynbench.kernels.cpu import build, operators
assert operators.available(), build.why_not()
for geometry in test_native.GEOMETRIES:
    test_native.check(geometry)
for size in (4, 8, 32):
    test_native.test_weights_and_features_that_are_left_out_are_not_read(size)
print(operators.instruction_set())
"""


@pytest.mark.skipif("avx2" not in build._features(), reason="not an x86-64 processor with AVX2")
@pytest.mark.parametrize(("flags", "name"), [("-mavx2 -mfma", "avx2"), ("-march=x86-64", "generic")])
def test_other_instruction_sets_are_right_too(flags: str, name: str) -> None:
    environment = os.environ | {build.ARCHITECTURE: flags}
    command = [sys.executable, "-c", PORTABLE, str(Path(__file__).parents[2])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [name], done.stderr


def test_without_a_compiler_it_says_so(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "CXX": "no-such-compiler"}
    code = "from dynbench.kernels.cpu.build import why_not; print(why_not())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the kernels could not be compiled: ")
    assert "no-such-compiler" in done.stdout
    assert not list(tmp_path.rglob("*.so"))


def test_the_choice_of_plain_pytorch_is_kept() -> None:
    environment = os.environ | {build.CHOICE: "pytorch"}
    code = "from dynbench.kernels.cpu.build import why_not; print(why_not())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "DYNBENCH_KERNELS=pytorch"


def test_a_run_says_that_it_compiles_and_why_it_is_slow(cli: Cli, tiny_suite: Path, tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "CXX": "no-such-compiler"}
    done = cli("run", tiny_suite, "--results", tmp_path / "r", env=environment)
    assert done.returncode == 0, done.stderr
    assert "compiling the kernels" in done.stdout
    assert "plain PyTorch, which is slow: the kernels could not be compiled: " in done.stdout
    again = cli("time", tmp_path / "r", "--images", 2, "--engines", "none", env={build.CHOICE: "pytorch"})
    assert "compiling" not in again.stdout
    assert "plain PyTorch, which is slow: DYNBENCH_KERNELS=pytorch" in again.stdout
