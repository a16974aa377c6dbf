"""What the benchmarks of executors share: planted models, static engines, passes in turn, ratios that are printed."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
import torch
from dynbench_methods.lc_net.gates import GatedBackbone
from dynbench_methods.lc_net.method import CNet, LCNet, LNet
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.cost import CostModel, dense_macs, evaluating, static_costs
from dynbench.executors import FoldedBackbone
from dynbench.latency.engines.compiled import TorchCompile
from dynbench.latency.engines.onnx_runtime import OnnxRuntime
from dynbench.latency.figures import Samples
from dynbench.latency.loop import Call, batches_of, by_pass
from dynbench.suite.schema import BackboneSpec
from tests.helpers.planted import estimate_statistics, plant, smooth_images

CPU = torch.device("cpu")
IMAGES = 64
ROUNDS = 3
SHAPE = (3, 32, 32)
DENSITIES = (0.75, 0.5, 0.25, 0.1)
METHODS: dict[str, type[LCNet]] = {"l_net": LNet, "c_net": CNet}
TOLERANCE = 1e-5
"""Of executors; the model's own arithmetic, in another order."""


@dataclass(frozen=True)
class Subject:
    """A planted model, its images (64, 3, 32, 32) and their logits (64, 10), in float64: in fp32, `infer` loses as many
    digits as an executor does, and both losses would be put down to the executor. The share of gates that are open,
    and an image's MACs: accounted, on average, and of the dense backbone."""

    model: GatedBackbone
    method: LCNet
    images: Tensor
    logits: Tensor
    density: float
    macs: float
    dense_macs: int

    def executor(self) -> nn.Module:
        """Built now, so that it runs on what is available now; its logits are the model's."""
        executor = self.method.executor(self.model, self.method.points(self.model)[0]).eval()
        check(executor, self, 1)
        return executor

    @property
    def predicted(self) -> float:
        return self.dense_macs / self.macs


@cache
def planted(name: str, density: float, group: int = 1) -> Subject:
    """ResNet-18 with random weights and the gates of a method, open as often as `density` says; `group` channels
    share a gate."""
    torch.manual_seed(0)
    method = METHODS[name](METHODS[name].Config(channel_group=group))
    backbone = build_backbone(BackboneSpec(name="resnet18"), SHAPE, 10)
    whole = dense_macs(backbone)
    model = cast("GatedBackbone", method.build(backbone))
    images = smooth_images(IMAGES)
    estimate_statistics(model, images)
    plant(model, images, density)
    with evaluating(model):
        (output,) = method.infer(model, images, method.points(model)[:1])
        _, saliences = model.run(images)
        logits, _ = deepcopy(model).double().run(images.double())
    scores = [score for each in saliences for score in (each.layer, each.channel) if score is not None]
    found = torch.stack([(score > 0).double().mean() for score in scores]).mean()
    macs = CostModel(static_costs(model, SHAPE), CPU)(output.usage, IMAGES).by_kind.sum(1).double().mean()
    return Subject(model, method, images, logits, float(found), float(macs), whole)


@cache
def dense() -> FoldedBackbone:
    """The dense backbone in eager PyTorch. Weights do not change what it costs."""
    torch.manual_seed(0)
    return FoldedBackbone(build_backbone(BackboneSpec(name="resnet18"), SHAPE, 10), kernels=False).eval()


@cache
def static_engines() -> dict[str, Call]:
    """The dense backbone at batch 1 on every static engine that is here; a line says why another is not."""
    found: dict[str, Call] = {}
    image = smooth_images(1)
    for engine in (TorchCompile(), OnnxRuntime()):
        reason = engine.unsupported(CPU)
        if reason is None:
            try:
                found[engine.name] = engine.prepare(dense(), image.clone(), torch.get_num_threads())
            except Exception as error:  # compilers and exporters raise anything
                reason = str(error).strip().partition("\n")[0]
        if reason is not None:
            print(f"\n{engine.name} is absent: {reason}")
    return found


@torch.inference_mode()
def check(call: Call, subject: Subject, batch: int, tolerance: float = TOLERANCE) -> float:
    """The largest difference from the model's logits, as a fraction of the largest logit; asserts that it is small."""
    logits = torch.cat([call(images) for images in batches_of(subject.images, batch)])
    difference = float((logits - subject.logits).abs().max() / subject.logits.abs().max())
    assert difference < tolerance
    return difference


@torch.inference_mode()
def in_turns(calls: dict[str, Call], images: Tensor, batch: int = 1) -> dict[str, Samples]:
    """Every call's passes over the images, in turns with the others'."""
    taken = by_pass(list(calls.values()), batches_of(images, batch), ROUNDS, seed=0)
    return dict(zip(calls, taken, strict=True))


def ratio(reference: Samples, own: Samples, of: float = 1.0) -> str:
    """Reference's time over own time over `of`, with the least and the largest that one round alone would give. The
    first goes by each image's median over rounds; a hiccup in a round moves that round's only."""
    rounds = reference.ms.mean(axis=1) / own.ms.mean(axis=1) / of
    return f"{reference.mean / own.mean / of:.2f} ({np.min(rounds):.2f} to {np.max(rounds):.2f})"


def describe(name: str, subject: Subject) -> str:
    return (
        f"\n{name}, {subject.density:.1%} of gates open, {subject.macs / 1e6:.0f} of {subject.dense_macs / 1e6:.0f} "
        f"MMACs, threads {torch.get_num_threads()}"
    )


def say(title: str, parts: Sequence[str]) -> None:
    print("\n    ".join((title, *parts)))
