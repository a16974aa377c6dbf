"""MACs of a training step: by hand, and PyTorch's own count where that is right."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from dynbench.counter.operators import kind_of
from dynbench.counter.training import GRADIENTS, TrainingCounter
from tests.helpers.small import random_images, small_backbone


def counted(step: Callable[[], object]) -> int:
    with TrainingCounter() as counter:
        step()
    return counter.macs


def backward(net: nn.Module, *inputs: Tensor) -> int:
    return counted(lambda: cast("Tensor", net(*inputs)).sum().backward())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("bottleneck", [False, True])
def test_of_residual_nets_it_is_pytorchs_count(bottleneck: bool) -> None:
    net, x, y = small_backbone(bottleneck).train(), random_images(2), torch.tensor([0, 1])
    net.get_submodule("conv1").requires_grad_(False)  # a frozen part has no gradients
    with FlopCounterMode(display=False) as flops:
        cross_entropy(net(x), y).backward()
    assert counted(lambda: cross_entropy(net(x), y).backward()) == flops.get_total_flops() // 2 > 0


def test_gradients_of_grouped_convolutions_cost_what_these_do() -> None:
    """64 pixels, 6 outputs of 2 inputs and 9 taps: forward, gradient of the image and of the weights."""
    image = torch.randn(1, 6, 8, 8, requires_grad=True)
    assert backward(nn.Conv2d(6, 6, 3, padding=1, groups=3), image) == 3 * 64 * 6 * 2 * 9
    transposed = nn.ConvTranspose2d(6, 4, 3)
    assert backward(transposed, image) == 3 * 64 * 6 * 4 * 9
    assert backward(transposed, image.detach()) == 2 * 64 * 6 * 4 * 9


def test_attention_is_trained_too() -> None:
    """2 heads, 5 queries of 8, 7 keys: two products of matrices forward, five backward."""
    query, key, value = (torch.randn(1, 2, length, 8, requires_grad=True) for length in (5, 7, 7))

    def step() -> None:
        scaled_dot_product_attention(query, key, value).sum().backward()  # type: ignore[no-untyped-call]

    assert counted(step) == 7 * 2 * 5 * 7 * 8


@pytest.mark.parametrize("onednn", [True, False])
def test_recurrent_layers(onednn: bool) -> None:
    """3 steps of 2 sequences, 4 gates of 6 from 5 inputs and 6 hidden values: forward, and backward twice of each.

    Step by step, without oneDNN, nobody asks for the gradient of the first step's hidden values.
    """
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(onednn)
    try:
        macs = backward(_First(nn.LSTM(5, 6)), torch.randn(3, 2, 5, requires_grad=True))
    finally:
        torch._C._set_mkldnn_enabled(before)
    assert macs == 3 * 3 * 2 * 4 * 6 * (5 + 6) - (0 if onednn else 2 * 4 * 6 * 6)


class _First(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x)[0]
        return found


def test_parameters_may_be_changed_by_hand() -> None:
    net = nn.Linear(4, 4)

    def step() -> None:
        net(torch.ones(1, 4)).sum().backward()
        for parameter in net.parameters():
            assert parameter.grad is not None
            parameter.data.sub_(0.1 * parameter.grad)

    assert counted(step) == 2 * 4 * 4


def test_an_optimizer_multiplies_no_matrices() -> None:
    net = nn.Linear(4, 4)
    net(torch.ones(1, 4)).sum().backward()
    assert counted(torch.optim.Adam(net.parameters()).step) == 0


def test_an_executor_may_not_call_them() -> None:
    assert {kind_of(f"aten::{name}") for name in GRADIENTS} == {"unknown"}
