"""Small nets, data and runs that train in moments."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.backbones.residual import BasicBlock, Bottleneck, ResNet
from dynbench.context import Context
from dynbench.cost import CostModel, static_costs
from dynbench.data.cifar10 import BINARY, PYTHON
from dynbench.data.split import Data, Split, TestSplit
from dynbench.evaluation.trained import Trained
from dynbench.method import Method
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.process_group import ALONE, ProcessGroup
from dynbench.record.folder import ResultsFolder
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec, DataSpec, Evaluation

CPU = torch.device("cpu")
SHAPE = (3, 8, 8)
CLASSES = 4
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Data that may lie beside a checkout."""


def small_backbone(bottleneck: bool = False, option: str = "A", shape: tuple[int, int, int] = SHAPE) -> Backbone:
    """Two stages of two blocks, 4 and 8 channels, with BN statistics that are not those of a fresh net."""
    torch.manual_seed(7)
    backbone = ResNet(Bottleneck if bottleneck else BasicBlock, ((4, 2), (8, 2)), shape, CLASSES, option)
    return stirred(backbone)


def stirred(backbone: Backbone) -> Backbone:
    """The backbone with random BN parameters and statistics: a fresh BN hides mistakes in its use."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return backbone


def random_split(images: int, shape: tuple[int, int, int] = SHAPE, classes: int = CLASSES, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (images, *shape), generator=generator, dtype=torch.uint8)
    return Split(pixels, torch.randint(0, classes, (images,), generator=generator))


def random_data(train: int = 40, validation: int = 12, test: int = 12, augment: bool = True) -> Data:
    """Noise in place of images: enough to compare one computation with another."""
    channels = SHAPE[0]
    return Data(
        train=random_split(train, seed=1),
        validation=random_split(validation, seed=2),
        test=TestSplit(lambda: random_split(test, seed=3)),
        mean=(0.5, 0.4, 0.3)[:channels],
        std=(0.2, 0.3, 0.25)[:channels],
        num_classes=CLASSES,
        augment=augment,
    )


def random_images(batch: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))


def ask(
    method: Method,
    model: nn.Module,
    shape: tuple[int, int, int] = SHAPE,
    batch_size: int = 8,
    processes: ProcessGroup = ALONE,
) -> Trained:
    """A method and its model on the CPU, for images of `shape` that are normalised as those of `random_data`."""
    costs, normalise = CostModel(static_costs(model, shape), CPU), random_data().normalise(CPU)
    return Trained(method, model, costs, normalise, shape, CPU, batch_size, processes)


def make_run(
    method: type[Method], recipe: Recipe, backbone: str = "resnet8", width: float = 0.25, **params: Any
) -> Run:
    """A run of a method class on noise; the method need not be registered."""
    spec = BackboneSpec(name=backbone, width=width)
    config = method.Config.model_validate(params)
    return Run(
        suite="small",
        data=DataSpec(name="digits"),
        backbone=spec,
        built=spec,
        recipe=recipe,
        seed=0,
        method=method.name,
        method_version=method.version,
        params=config.model_dump(mode="json"),
        given=config.model_dump(mode="json", exclude_defaults=True),
    )


def make_context(results: Path, observer: Observer | None = None) -> Context:
    return Context(
        ResultsFolder(results), CPU, None, Evaluation(batch_size=8), observer or Observer(), "dynbench run", "unknown"
    )


def real_cifar10(factory: pytest.TempPathFactory) -> Path:
    """A folder with the real CIFAR-10: DYNBENCH_DATA, else unpacked from the data beside the checkout. Skips the test
    when there is neither."""
    given = os.environ.get("DYNBENCH_DATA")
    if given is not None and any(layout.at(Path(given)) for layout in (BINARY, PYTHON)):
        return Path(given)
    script = SHARED / "unpack_cifar10.py"
    if not script.is_file():
        pytest.skip(f"CIFAR-10 is neither in DYNBENCH_DATA nor in {SHARED}")
    root = factory.getbasetemp() / "cifar10"  # the script leaves alone what it has unpacked already
    subprocess.run([sys.executable, str(script), str(root)], capture_output=True, check=True)
    return root
