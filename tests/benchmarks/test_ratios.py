"""What dynbench adds to the work itself, as ratios of two times taken in turns in one process.

Run with `pytest --benchmark-only tests/benchmarks`. Absolute times are not asserted: they depend on the machine and on
what else it does. So does the ratio of one pair; the median of many does not.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import cast

import pytest
import torch
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.gates import GatedBackbone
from dynbench_methods.lc_net.method import LCNet
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynbench.backbones import Backbone, build_backbone
from dynbench.cost import evaluating
from dynbench.evaluation.trained import Trained
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec, Evaluation
from dynbench.train.trainer import StageTrainer
from tests.benchmarks.pairs import SHAPE, images, make_data, report

CPU = torch.device("cpu")


def resnet20() -> Backbone:
    torch.manual_seed(0)
    return build_backbone(BackboneSpec(name="resnet20"), SHAPE, 10)


def channels_last(model: nn.Module) -> nn.Module:
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def test_accounting(benchmark: BenchmarkFixture) -> None:
    """Evaluation with MACs of every image at three operating points, over the same evaluation without."""
    method = LCNet(LCNet.Config())
    model = cast("GatedBackbone", channels_last(method.build(resnet20())))
    size = Evaluation().batch_size
    split = images(size)
    trained = Trained.of(method, model, make_data(split), CPU, channels_last=True, batch_size=size)
    normalise = trained.normalise

    def with_accounting() -> object:
        return trained.evaluate(split)

    def without() -> Tensor:
        with evaluating(model):
            top = model(normalise(split.images)).topk(5, dim=1).indices == split.labels[:, None]
            return torch.stack([top[:, 0], top.any(dim=1)])

    assert report(benchmark, with_accounting, without) < 1.1


def test_training_step(benchmark: BenchmarkFixture) -> None:
    """Epochs of the trainer, data and augmentation included, over a bare loop that finds its batches ready-made."""
    recipe = Recipe(epochs=1000, batch_size=128)
    data = make_data(images(2 * 128))
    method = Dense(Dense.Config())
    (stage,) = method.stages(recipe)
    trainer = StageTrainer(stage, channels_last(resnet20()), data, data.train, recipe, 0, CPU)
    bare = channels_last(resnet20()).train()
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batches = [
        (data.normalise(CPU, channels_last=True)(data.train.images[i : i + 128]), data.train.labels[i : i + 128])
        for i in (0, 128)
    ]

    def bare_epoch() -> float:
        total = torch.zeros(())
        for x, y in batches:
            loss = cross_entropy(bare(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        return float(total)

    assert report(benchmark, lambda: trainer.epoch(0, lambda step, loss: None), bare_epoch) <= 1.05


def test_audit(benchmark: BenchmarkFixture) -> None:
    """The audit of 16 images at three operating points, over one look at each by the executor and by `infer`. Reported
    only."""
    method = LCNet(LCNet.Config())
    model = cast("GatedBackbone", channels_last(method.build(resnet20())))
    split = images(16)
    trained = Trained.of(method, model, make_data(split), CPU, channels_last=True)
    x, points = trained.normalise(split.images), method.points(model)

    def once() -> None:
        with evaluating(model):
            for point in points:
                executor = method.executor(model, point).eval()
                for image in torch.split(x, 1):
                    executor(image)
                    method.infer(model, image, [point])

    report(benchmark, lambda: trained.audit(split.images, points), once)


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"]], ids=["help", "run-help"])
def test_help(benchmark: BenchmarkFixture, command: list[str]) -> None:
    """Start-up of the command line over a Python that imports click. Reported only."""

    def start(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    report(benchmark, start("-m", "dynbench", *command), start("-c", "import click"))
