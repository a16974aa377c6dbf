"""MACs as executed, as traced beneath every mode, and as counted statically: equal to the unit to what a hand
computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from dynbench.counter.dispatch import counted, counted_by_module
from dynbench.counter.static import macs_by_module
from dynbench.evaluation.execution_trace import trace

SHAPE = (4, 6, 6)
B, L, D = 1, 36, 4
"""Images as tokens: 36 pixels of 4 channels."""


class Tokens(nn.Module):
    """Gives `inner` the pixels (batch, 36, 4) of an image (batch, 4, 6, 6), as often as it wants them."""

    def __init__(self, inner: Callable[..., Any], times: int = 1) -> None:
        super().__init__()
        self.inner, self.times = inner, times

    def forward(self, x: Tensor) -> Any:
        return self.inner(*[x.flatten(2).transpose(1, 2)] * self.times)


class Attends(nn.Module):
    """Attention on tokens, spelled in several ways."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "fused":
            return F.scaled_dot_product_attention(x, x, x)
        if self.spelling == "heads":
            return F.scaled_dot_product_attention(*[x.unflatten(2, (2, 2)).transpose(1, 2)] * 3)
        if self.spelling == "einsum":
            return torch.einsum("bij,bjd->bid", torch.einsum("bid,bjd->bij", x, x).softmax(2), x)
        if self.spelling == "bmm":
            return x.bmm(x.transpose(1, 2)).softmax(2).bmm(x)
        return (x @ x.mT).softmax(2) @ x


class Weighed(nn.Module):
    """A linear layer on the tokens whose weight is used as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.weight, self.how = nn.Parameter(torch.rand(5, D)), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "einsum":
            return torch.einsum("bld,kd->blk", x, self.weight)
        if self.how == "tensordot":
            return torch.tensordot(x, self.weight, dims=([2], [1]))
        if self.how == "addmm":
            return torch.addmm(torch.zeros(5), x[0], self.weight.T)
        if self.how == "mv":
            return torch.stack([torch.mv(self.weight, one) for one in x[0]])
        return torch.inner(x, self.weight)


class Iterated(nn.Module):
    """One layer, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.conv(x)
        return x


def shared() -> nn.Module:
    layer = nn.Conv2d(4, 4, 1)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied() -> nn.Module:
    one, other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    other.weight = one.weight
    return nn.Sequential(one, other)


class Recurrent(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        steps: Tensor = self.inner(x.flatten(2).permute(2, 0, 1))[0]
        return steps[-1]


class Cell(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x.flatten(2)[:, :, 0])


ATTENTION = 2 * L * L * D
PROJECTIONS = 4 * L * D * D
CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "conv1d": (lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 6, 3)), 34 * 6 * 4 * 3),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3), 16 * 6 * 4 * 9),
    "conv2d same": (lambda: nn.Conv2d(4, 6, 3, padding="same"), 36 * 6 * 4 * 9),
    "conv2d same even": (lambda: nn.Conv2d(4, 6, 2, padding="same"), 36 * 6 * 4 * 4),
    "conv2d reflected": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), 36 * 6 * 4 * 9),
    "conv2d grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), 16 * 6 * 2 * 9),
    "conv2d dilated": (lambda: nn.Conv2d(4, 6, 3, dilation=2), 4 * 6 * 4 * 9),
    "conv3d": (lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv3d(2, 3, (1, 3, 3))), 2 * 16 * 3 * 2 * 9),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), 36 * 4 * 6 * 9),
    "transposed grouped": (lambda: nn.ConvTranspose2d(4, 6, 2, groups=2), 36 * 4 * 3 * 4),
    "transposed 1d": (lambda: nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(4, 6, 3)), 36 * 4 * 6 * 3),
    "linear": (lambda: Tokens(nn.Linear(4, 5)), L * 4 * 5),
    "bilinear": (lambda: Tokens(nn.Bilinear(4, 4, 3), 2), L * 3 * 4 * (4 + 1)),
    **{
        f"attention {name}": (lambda name=name: Tokens(Attends(name)), ATTENTION)
        for name in ("fused", "heads", "einsum", "bmm", "matmul")
    },
    **{
        f"weights by {how}": (lambda how=how: Tokens(Weighed(how)), L * 5 * 4)
        for how in ("einsum", "tensordot", "addmm", "mv", "inner")
    },
    "multi-head": (lambda: Tokens(nn.MultiheadAttention(4, 2, batch_first=True), 3), PROJECTIONS + ATTENTION),
    "encoder layer": (
        lambda: Tokens(nn.TransformerEncoderLayer(4, 2, 7, batch_first=True)),
        PROJECTIONS + ATTENTION + 2 * L * 4 * 7,
    ),
    "encoder layer, norm first": (
        lambda: Tokens(nn.TransformerEncoderLayer(4, 2, 7, batch_first=True, norm_first=True, activation="gelu")),
        PROJECTIONS + ATTENTION + 2 * L * 4 * 7,
    ),
    "decoder layer": (
        lambda: Tokens(nn.TransformerDecoderLayer(4, 2, 7, batch_first=True), 2),
        2 * (PROJECTIONS + ATTENTION) + 2 * L * 4 * 7,
    ),
    "lstm": (lambda: Recurrent(nn.LSTM(4, 5)), L * 4 * (4 + 5) * 5),
    "lstm of two layers, both ways": (
        lambda: Recurrent(nn.LSTM(4, 5, 2, bidirectional=True)),
        L * 2 * 4 * (4 + 5) * 5 + L * 2 * 4 * (10 + 5) * 5,
    ),
    "gru": (lambda: Recurrent(nn.GRU(4, 5)), L * 3 * (4 + 5) * 5),
    "rnn": (lambda: Recurrent(nn.RNN(4, 5)), L * (4 + 5) * 5),
    "lstm cell": (lambda: Cell(nn.LSTMCell(4, 5)), 4 * (4 + 5) * 5),
    "gru cell": (lambda: Cell(nn.GRUCell(4, 5)), 3 * (4 + 5) * 5),
    "weight norm": (lambda: weight_norm(nn.Conv2d(4, 6, 3)), 16 * 6 * 4 * 9),
    "shared": (shared, 2 * 36 * 4 * 4),
    "tied": (tied, 2 * 36 * 4 * 4),
    "iterated": (Iterated, 3 * 36 * 4 * 4 * 9),
    "normalize": (lambda: nn.Sequential(nn.Conv2d(4, 6, 1), Tokens(F.normalize)), 36 * 4 * 6),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("case", CASES)
def test_executed(case: str, mode: type) -> None:
    make, macs = CASES[case]
    model = make().eval()
    x = torch.rand(1, *SHAPE)
    with mode():
        work, _ = counted(lambda: model(x))
        seen = trace(lambda: model(x))
    assert (work.macs, work.refused) == (macs, [])
    assert (seen.macs, seen.refused) == (macs, [])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_static(case: str) -> None:
    make, macs = CASES[case]
    with torch.no_grad():
        assert sum(macs_by_module(make().eval(), SHAPE).values()) == macs


@pytest.mark.parametrize("case", ["multi-head", "lstm", "gru", "bilinear", "encoder layer"])
def test_a_batch_costs_what_its_images_do(case: str) -> None:
    make, macs = CASES[case]
    model = make().eval()
    with torch.no_grad():
        work, _ = counted(lambda: model(torch.rand(3, *SHAPE)))
    assert work.macs == 3 * macs


@pytest.mark.parametrize("how", [spectral_norm, orthogonal])
def test_a_parametrised_layer_costs_its_weight_and_its_outputs(how: Any) -> None:
    """What makes the weight is work, too: it is in the module that does it."""
    model = nn.Sequential(how(nn.Linear(6, 6))).eval()
    with torch.no_grad():
        work, _ = counted_by_module(model, torch.rand(1, 6))
    assert work.by_module["0"] == 36


def test_layers_have_the_macs_that_they_do_themselves() -> None:
    model = nn.TransformerEncoderLayer(4, 2, 7, batch_first=True).train()
    with torch.no_grad():
        work, _ = counted_by_module(model, torch.rand(1, L, D))
    assert work.by_module == {"self_attn": PROJECTIONS + ATTENTION, "linear1": L * 28, "linear2": L * 28}
