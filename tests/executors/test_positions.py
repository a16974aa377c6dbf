"""Positions of feature maps that are left out: not computed, and nothing read that only they need. In plain PyTorch,
and by the kernels where they are."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.utils.flop_counter import FlopCounterMode

from dynbench.executors import (
    FoldedBlock,
    FoldedConv,
    MaskedBlock,
    PatchScores,
    PooledGate,
    PooledLinear,
    hard_gate,
    patches_of,
    positions_read,
    spread,
    write_positions,
)
from dynbench.kernels.cpu import operators as native
from tests.helpers.small import random_images, small_backbone

# inputs, outputs, height, width, kernel, stride
GEOMETRIES = [
    (64, 24, 32, 32, 3, 1),
    (5, 9, 11, 13, 3, 2),
    (16, 40, 8, 8, 1, 1),
    (7, 6, 9, 7, 5, 1),
    (96, 80, 4, 4, 3, 1),
]
KERNELS = [False, pytest.param(True, marks=pytest.mark.skipif(not native.available(), reason="the kernels are absent"))]


def conv_of(geometry: tuple[int, ...], kernels: bool) -> FoldedConv:
    inputs, outputs, _, _, side, stride = geometry
    torch.manual_seed(sum(geometry))
    conv, norm = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs)
    nn.init.normal_(norm.bias)
    return FoldedConv(conv, norm.eval(), "conv", kernels)


def features(geometry: tuple[int, ...], images: int = 1) -> Tensor:
    return random_images(images, (geometry[0], geometry[2], geometry[3]))


def some_of(count: int, share: float) -> Tensor:
    chosen = (torch.rand(count, generator=torch.Generator().manual_seed(count)) < share).nonzero()[:, 0]
    return chosen if len(chosen) else torch.tensor([count - 1])


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_some_positions_are_those_of_the_whole_convolution(
    geometry: tuple[int, ...], share: float, kernels: bool
) -> None:
    conv, x = conv_of(geometry, kernels), features(geometry)
    beside = torch.randn_like(conv(x))
    where = some_of(beside[0, 0].numel(), share)
    for outputs in (None, some_of(geometry[1], 0.4)):
        for inputs in (None, some_of(geometry[0], 0.4)):
            for add in (False, True):
                held = x if inputs is None else x[:, inputs]
                before = beside if outputs is None else beside[:, outputs]
                expected = conv(held, outputs, inputs, residual=before if add else None, relu=True)
                out = write_positions(conv, held, where, before.clone(), outputs, inputs, add)
                close(out.flatten(2)[:, :, where], expected.flatten(2)[:, :, where])
                rest = torch.ones(before[0, 0].numel(), dtype=torch.bool).index_fill_(0, where, False)
                assert torch.equal(out.flatten(2)[:, :, rest], before.flatten(2)[:, :, rest])


def test_positions_of_several_images_at_once() -> None:
    geometry = GEOMETRIES[1]
    conv, x = conv_of(geometry, False), features(geometry, 3)
    whole = conv(x, relu=True)
    mask = torch.rand(3, *whole.shape[2:], generator=torch.Generator().manual_seed(0)) < 0.4
    out = write_positions(conv, x, mask.flatten().nonzero()[:, 0], torch.zeros_like(whole))
    close(out, whole * mask[:, None])


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_nothing_is_read_that_lies_under_no_kernel(geometry: tuple[int, ...], kernels: bool) -> None:
    conv, x = conv_of(geometry, kernels), features(geometry)
    expected = conv(x, relu=True)
    mask = torch.zeros(1, *expected.shape[2:], dtype=torch.bool)
    mask[0, -2:, :2] = mask[0, 0, -1] = True
    read = positions_read(mask, conv, (geometry[2], geometry[3]))
    poisoned = x.masked_fill(~read[:, None], float("nan"))
    out = write_positions(conv, poisoned, mask.flatten().nonzero()[:, 0], torch.zeros_like(expected))
    close(out, expected * mask[:, None])
    if geometry[5] == 1:  # and all of what is said to be read is
        at = read[0].nonzero()[0]
        poisoned[:, :, at[0], at[1]] = float("nan")
        out = write_positions(conv, poisoned, mask.flatten().nonzero()[:, 0], torch.zeros_like(expected))
        assert not torch.allclose(out, expected * mask[:, None], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernels", KERNELS)
def test_flops_are_those_of_the_positions(kernels: bool) -> None:
    geometry = GEOMETRIES[0]
    conv, x = conv_of(geometry, kernels), features(geometry)
    where, outputs, inputs = some_of(1024, 0.3), some_of(24, 0.5), some_of(64, 0.5)
    with FlopCounterMode(display=False) as counter:
        write_positions(conv, x[:, inputs], where, torch.zeros(1, len(outputs), 32, 32), outputs, inputs)
    assert counter.get_total_flops() == 2 * len(where) * len(outputs) * len(inputs) * 9


@contextmanager
def fresh_memory_is_poison() -> Iterator[None]:
    """Tensors that nobody has written to hold NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(8).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def where_scores(channels: int, seed: int) -> PatchScores:
    torch.manual_seed(seed)
    linear = nn.Linear(channels, 1)
    nn.init.zeros_(linear.bias)
    return PatchScores(linear, ("where",))


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_block_computes_its_positions_and_no_others(side: int, bottleneck: bool, kernels: bool) -> None:
    """What is written nowhere is NaN, so that a position that is read without having been computed shows."""
    backbone = small_backbone(bottleneck, "B").eval()
    for index, (name, block) in enumerate(backbone.named_blocks()):
        folded, where = FoldedBlock(block, name, kernels), where_scores(block.in_channels, index)
        masked = MaskedBlock(folded, where, side, None)
        x = random_images(1, (block.in_channels, 8, 8), index).abs()
        with torch.inference_mode():
            expected, beside = block(x), relu(block.shortcut(x))
            size = (int(expected.shape[2]), int(expected.shape[3]))
            where.bias -= where(x, patches_of(size, side)).median()
            runs = spread(where(x, patches_of(size, side)) > 0, size)
            with fresh_memory_is_poison():
                out = masked(x)
        assert 0 < int(runs.sum()) < runs.numel()
        close(out, torch.where(runs[:, None], expected, beside))


@pytest.mark.parametrize("kernels", KERNELS)
def test_weights_of_channels_that_do_not_run_are_not_read(kernels: bool) -> None:
    backbone = small_backbone(True).eval()
    name, block = next(iter(backbone.named_blocks()))
    x = random_images(1, (4, 8, 8)).abs()
    gate = nn.Linear(4, 4)
    nn.init.zeros_(gate.weight)
    gate.bias.data = torch.tensor([1.0, -1.0, 1.0, -1.0])

    def run() -> Tensor:
        channels = PooledGate(PooledLinear([gate], ("channels",)), channels=hard_gate())
        masked = MaskedBlock(FoldedBlock(block, name, kernels), where_scores(4, 0), 1, channels)
        with torch.inference_mode():
            return masked(x)

    before = run()
    for conv, outputs, inputs in (("conv1", True, False), ("conv2", True, True), ("conv3", False, True)):
        weight = block.conv_and_norm(conv)[0].weight.data
        if outputs:
            weight[[1, 3]] = float("nan")
        if inputs:
            weight[:, [1, 3]] = float("nan")
    assert torch.equal(run(), before)


def test_what_cannot_be_left_out_is_refused() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=0)
    with pytest.raises(ValueError, match="padding"):
        positions_read(torch.ones(1, 4, 4), conv, (6, 6))
    depthwise = FoldedConv(nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4).eval(), "depthwise")
    with pytest.raises(ValueError, match="grouped"):
        write_positions(depthwise, torch.ones(1, 4, 4, 4), torch.tensor([0]), torch.zeros(1, 4, 4, 4))


def test_patches_spread_over_maps_that_they_do_not_divide() -> None:
    patches = torch.tensor([[[1, 2, 3]]])
    assert spread(patches, (1, 7)).tolist() == [[[1, 1, 1, 2, 2, 3, 3]]]
    assert spread(patches, (2, 6)).tolist() == [[[1, 1, 2, 2, 3, 3]] * 2]
