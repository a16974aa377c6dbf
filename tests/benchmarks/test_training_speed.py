"""Images a second of the trainer, against a bare loop over the same model and against what the hardware multiplies.

`DYNBENCH_DEVICE=cuda pytest -s tests/benchmarks/test_training_speed.py --benchmark-only` takes the setting of
suites/cifar10.yaml: ResNet-18, batch 96, bf16, compiled; `DYNBENCH_COMPILE` names another mode of torch.compile, as
reduce-overhead. Without a device it takes ResNet-20 on the CPU, in fp32. The arithmetic limit is a large product of
matrices in the same precision, in the same process.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.method import LCNet
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.data.split import Split
from dynbench.device import usable_precision
from dynbench.method import Method
from dynbench.stage import Progress
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import BackboneSpec
from dynbench.train.budget import training_macs
from dynbench.train.trainer import StageTrainer, compiled
from tests.benchmarks.pairs import SHAPE, images, make_data, report

DEVICE = torch.device(os.environ.get("DYNBENCH_DEVICE", "cpu"))
ON_GPU = DEVICE.type == "cuda"
PAIRS = 7
METHODS = {"dense": Dense, "lc_net": LCNet}


@dataclass(frozen=True)
class Setting:
    backbone: str
    recipe: Recipe
    steps: int
    """Of an epoch."""
    side: int
    """Of the matrices."""


def setting() -> Setting:
    if ON_GPU:
        mode: Any = os.environ.get("DYNBENCH_COMPILE") or True
        return Setting("resnet18", Recipe(epochs=1000, batch_size=96, precision="bf16", compile=mode), 100, 8192)
    return Setting("resnet20", Recipe(epochs=1000, batch_size=128), 3, 1024)


def synchronised(work: Callable[[], object]) -> Callable[[], None]:
    def finished() -> None:
        work()
        if ON_GPU:
            torch.cuda.synchronize(DEVICE)

    return finished


def made(method: Method, backbone: str) -> nn.Module:
    torch.manual_seed(0)
    model = method.build(build_backbone(BackboneSpec(name=backbone), SHAPE, 10)).train()
    return model.to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def bare_epoch(method: Method, chosen: Setting) -> Callable[[], None]:
    """The same steps on random tensors, without data, schedule, or anybody who looks."""
    (stage,) = method.stages(chosen.recipe)
    model = made(method, chosen.backbone)
    optimizer, loss_of = stage.optimizer(model), compiled(stage.loss, chosen.recipe.compile)
    x = torch.randn(chosen.recipe.batch_size, *SHAPE, device=DEVICE).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (len(x),), device=DEVICE)
    bf16 = usable_precision(chosen.recipe.precision, DEVICE) == "bf16"

    def epoch() -> None:
        for _ in range(chosen.steps):
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16):
                loss: Tensor = loss_of(model, x, y, Progress(0, 1, 0.0))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return synchronised(epoch)


def flops_per_second(side: int, dtype: torch.dtype) -> float:
    """Of the fastest of ten products of two square matrices."""
    a, b = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
    product = synchronised(lambda: a @ b)
    product()
    return 2 * side**3 / min(taken(product) for _ in range(10))


def taken(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.mark.parametrize("name", METHODS)
def test_training_against_a_bare_loop_and_the_arithmetic_limit(benchmark: BenchmarkFixture, name: str) -> None:
    chosen = setting()
    recipe, count = chosen.recipe, chosen.steps * chosen.recipe.batch_size
    method = METHODS[name](METHODS[name].Config())
    (stage,) = method.stages(recipe)
    split = images(count)
    train = Split(split.images.to(DEVICE), split.labels.to(DEVICE))
    model = made(method, chosen.backbone)
    trainer = StageTrainer(stage, model, make_data(split), train, recipe, 0, DEVICE)
    epoch = synchronised(lambda: trainer.epoch(0, lambda step, loss: None))
    ratio = report(benchmark, epoch, bare_epoch(method, chosen), PAIRS)
    speed = count / min(taken(epoch) for _ in range(3))
    precision = usable_precision(recipe.precision, DEVICE)
    limit = flops_per_second(chosen.side, torch.bfloat16 if precision == "bf16" else torch.float32)
    used = speed * 2 * training_macs(stage, model, SHAPE, 10) / limit
    benchmark.extra_info.update(images_per_second=round(speed), of_bare_loop=1 / ratio, of_limit=used)
    print(
        f"{name}, {chosen.backbone}, batch {recipe.batch_size}, {precision}, {DEVICE}: {speed:.0f} images/s, "
        f"{1 / ratio:.3f} of the bare loop, {used:.3f} of {limit / 1e12:.2f} TFLOP/s"
    )
    assert 1 / ratio > 0.9
