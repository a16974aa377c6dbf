"""Multiplies by masks, and calls what it masked skipped."""

from typing import cast

from dynbench_methods.lc_net.gates import GatedBackbone
from dynbench_methods.lc_net.method import LCNet
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.method import Point


class Whole(nn.Module):
    """Runs the model whole, masks and all."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.model(x))


class Masks(LCNet):
    name = "masks"

    def build(self, backbone: Backbone) -> nn.Module:
        model = cast("GatedBackbone", super().build(backbone))
        for gate in model.gates:
            for linear in gate.children():
                nn.init.normal_(cast("nn.Linear", linear).weight, std=3.0)
                nn.init.zeros_(cast("nn.Linear", linear).bias)
        return model

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return Whole(model)


class Skips(Masks):
    """The honest original: the same gates, and an executor that skips."""

    name = "skips"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return LCNet.executor(self, model, point)
