"""A layer that images call a different number of times: accounted and audited as what ran."""

from collections.abc import Sequence

import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.contract import CHECKS, make_subject
from dynbench.cost import CostModel, static_costs
from dynbench.errors import AuditFailed
from dynbench.method import FoldedBackbone, LayerUsage, Output, Point
from tests.helpers.small import CPU, SHAPE, ask, random_images, random_split, small_backbone

MOST = 3


class Repeating(nn.Module):
    """A backbone behind one convolution that is called once, twice or three times: the brighter the image, the more."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        channels = backbone.input_shape[0]
        self.unit = nn.Conv2d(channels, channels, 3, padding=1)

    def calls(self, x: Tensor) -> Tensor:
        brightness = x.mean((1, 2, 3))
        return 1 + (brightness > -0.05).long() + (brightness > 0.05).long()

    def run(self, x: Tensor, calls: Tensor) -> Tensor:
        for index in range(MOST):
            x = torch.where((index < calls)[:, None, None, None], x + self.unit(x), x)
        logits: Tensor = self.backbone(x)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, torch.full((len(x),), MOST))


class RepeatingExecutor(nn.Module):
    def __init__(self, net: Repeating) -> None:
        super().__init__()
        self.net, self.folded = net, FoldedBackbone(net.backbone, "backbone")

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._one(image, int(self.net.calls(image))) for image in x.split(1)])

    def _one(self, x: Tensor, calls: int) -> Tensor:
        for _ in range(calls):
            x = x + self.net.unit(x)
        logits: Tensor = self.folded(x)
        return logits


class Repeats(Dense):
    name = "repeats"
    static = False
    claims_less = 0

    def build(self, backbone: Backbone) -> nn.Module:
        return Repeating(backbone)

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        assert isinstance(model, Repeating)
        calls = model.calls(x)
        usage = {"unit": LayerUsage(positions=(calls - self.claims_less).double() / MOST)}
        return [Output(model.run(x, calls), usage) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        assert isinstance(model, Repeating)
        return RepeatingExecutor(model)


class ClaimsLess(Repeats):
    claims_less = 1


def test_it_costs_all_its_calls_and_an_image_pays_its_own() -> None:
    net = Repeating(small_backbone()).eval()
    costs = CostModel(static_costs(net, SHAPE), CPU)
    once = 9 * 3 * 3 * 64
    assert {layer.name: layer.macs for layer in costs.layers}["unit"] == MOST * once
    x = random_images(64)
    (output,) = Repeats(Repeats.Config()).infer(net, x, [Point()])
    paid = costs(output.usage, 64).by_kind[:, 2]
    assert torch.equal(paid, once * net.calls(x))
    assert set(paid.tolist()) == {once, 2 * once, 3 * once}


def test_it_is_audited() -> None:
    trained = ask(Repeats(Repeats.Config()), Repeating(small_backbone()).eval())
    (audit,) = trained.audit(random_split(16).images)
    assert audit.images == 16
    lying = ask(ClaimsLess(Repeats.Config()), trained.model)
    with pytest.raises(AuditFailed, match=r"MACs were executed and .* accounted"):
        lying.audit(random_split(16).images)


def test_it_keeps_the_contract() -> None:
    subject = make_subject(Repeats, "resnet8", 0.25)
    assert [outcome.words for check in CHECKS if (outcome := check(subject)).bad] == []
