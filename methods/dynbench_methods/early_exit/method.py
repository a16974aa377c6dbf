"""Early exit: classifiers between the blocks, at which an image leaves that they are sure of. A preset is a paper."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from dynbench.method import Backbone, FromDense, Method, Output, Point, Progress, Recipe, Stage, recipe_stage
from dynbench_methods.early_exit.config import EarlyExitConfig
from dynbench_methods.early_exit.executor import ExitExecutor
from dynbench_methods.early_exit.losses import exit_loss, exit_recipe
from dynbench_methods.early_exit.net import ExitNet, exit_places
from dynbench_methods.early_exit.rules import Policy, fitted_policies, quantile_thresholds, uncertainty

BATCH = 250
"""Images of a pass in calibration."""


class EarlyExit(Method):
    """Leaves at the first exit that is sure. Presets: branchynet, sdn, msdnet_rule, dg, bolukbasi."""

    name = "early_exit"
    Config = EarlyExitConfig
    config: EarlyExitConfig

    def unsupported(self, backbone: Backbone) -> str | None:
        config = self.config
        stages = {backbone.stage_of(name) for name, _ in backbone.named_blocks()}
        if len(stages) < 2:  # noqa: PLR2004
            return "exits stand between stages, and it has one"
        exits = len(exit_places(backbone, config))
        if config.weights is not None and len(config.weights) != exits + 1:
            return f"weights: {len(config.weights)} were given for {exits} exits and the whole net"
        return None

    def start(self) -> FromDense | None:
        return None if self.config.trunk_is == "scratch" else FromDense(self.config.dense_epochs)

    def build(self, backbone: Backbone) -> nn.Module:
        net = ExitNet(backbone, self.config)
        for row, value in enumerate(self.config.values):
            net.thresholds[row] = self._threshold(value)
        return net

    def _threshold(self, value: float) -> float:
        """Below which score an image leaves at an operating point, where that needs no image to be known."""
        if self.config.preset == "sdn":
            return -float(torch.tensor(value, dtype=torch.float64).log())
        return {"branchynet": value, "dg": -value, "bolukbasi": 0.0}.get(self.config.preset, float("-inf"))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        return exit_loss(self.config, cast("ExitNet", model), x, y, progress, recipe)

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        stage = recipe_stage(self, exit_recipe(self.config, recipe), "train" if self.start() is None else "exits")
        return [replace(stage, edit=_freeze) if self.config.trunk_is == "frozen" else stage]

    def calibrates(self) -> bool:
        return self.config.preset in {"msdnet_rule", "bolukbasi"}

    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        net, values = cast("ExitNet", model), self.config.values
        found, finals = zip(*(net.run(batch) for batch in torch.split(images, BATCH)), strict=True)
        logits, final = [torch.cat(one) for one in zip(*found, strict=True)], torch.cat(finals)
        for row, value in enumerate(values):
            if self.config.preset == "msdnet_rule":
                thresholds = quantile_thresholds([uncertainty(one) for one in logits], value)
                net.thresholds[row] = net.thresholds.new_tensor(thresholds)
                continue
            fitted = fitted_policies(logits, final, labels, net.costs.tolist(), value)
            for policy, (slope, bias) in zip(net.policies, fitted, strict=True):
                cast("Policy", policy).weight[row] = slope
                cast("Policy", policy).bias[row] = bias

    def points(self, model: nn.Module) -> Sequence[Point]:  # noqa: ARG002
        return [Point(name) for name in self.config.point_names]

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        net = cast("ExitNet", model)
        found, final = net.run(x)
        outputs = []
        for point in points:
            answer, reached = net.decided(found, final, self._row(point))
            outputs.append(Output(answer, net.usage(reached)))
        return outputs

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return ExitExecutor(cast("ExitNet", model), self._row(point))

    def _row(self, point: Point) -> int:
        return self.config.point_names.index(point.name)


def _freeze(model: nn.Module) -> None:
    """The trunk stays as the dense training has left it, and so do the statistics of its BN."""
    net = cast("ExitNet", model)
    net.frozen = True
    net.backbone.requires_grad_(False)
