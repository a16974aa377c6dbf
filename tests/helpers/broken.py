"""Methods that are broken in one way each, under the name of the check that has to notice, with the words it says."""

import random
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, ClassVar

import numpy as np
import torch
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.method import LCNet
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.data.split import Data
from dynbench.method import LayerUsage, Method, MethodConfig, Output, Point
from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Recipe


@dataclass(frozen=True)
class Case:
    check: str
    kind: type[Method]
    words: str


CASES: list[Case] = []


def caught_by(check: str, words: str) -> Callable[[type[Method]], type[Method]]:
    """`words`: a regular expression for what the check says."""

    def register(kind: type[Method]) -> type[Method]:
        CASES.append(Case(check, kind, words))
        return kind

    return register


def found_in_callers(name: str) -> Any:
    """A local variable of whoever called."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and name not in frame.f_locals:
        frame = frame.f_back
    return None if frame is None else frame.f_locals[name]


class Broken(Dense):
    """Whose logits are changed by `twist`."""

    name = "broken"

    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [replace(one, logits=self.twist(one.logits, x)) for one in super().infer(model, x, points)]


class Wrapped(nn.Module):
    """An executor around another."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits


@caught_by("name", "`name` is 'two words'.* as \"two_words\"")
class TwoWords(Dense):
    name = "two words"


@caught_by("name", "`version` is '1'")
class TextVersion(Dense):
    name = "text_version"
    version: ClassVar[Any] = "1"


class NeedsConfig(MethodConfig):
    strength: float


@caught_by("defaults", "strength: Field required; give every parameter a valid default")
class NoDefault(Broken):
    Config = NeedsConfig  # type: ignore[assignment]

    def backbone(self, spec: Any) -> Any:
        return spec

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return Method.stages(self, recipe)


@caught_by("unsupported", "gives False; None or a reason in words")
class SaysFalse(Broken):
    def unsupported(self, backbone: Backbone) -> Any:
        return False


@caught_by("unsupported", "changes the backbone: conv1.weight")
class ChangesIt(Broken):
    def unsupported(self, backbone: Backbone) -> None:
        nn.init.zeros_(backbone.conv1.weight)


@caught_by("training", "the loss became nan in stage train")
class Diverges(Broken):
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        return super().loss(model, x, y, progress, recipe) * float("nan")


@caught_by("training", "stage train: training changes no parameter")
class StandsStill(Broken):
    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return [replace(stage, schedule=lambda _: 0.0) for stage in super().stages(recipe)]


@caught_by("training", "it raises ValueError: no such thing")
class Raises(Broken):
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        raise ValueError("no such thing")


@caught_by("training", r"it calls sys.exit\(3\)")
class Exits(Broken):
    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        sys.exit(3)


@caught_by("backbone", "does not hold the backbone that `build` was given")
class HoldsACopy(Broken):
    def build(self, backbone: Backbone) -> nn.Module:
        return deepcopy(backbone)


@caught_by("backbone", "MACs of the model are spent outside its named layers")
class Unnamed(Broken):
    class Model(nn.Module):
        def __init__(self, backbone: Backbone) -> None:
            super().__init__()
            self.backbone = backbone
            self.extra = nn.Parameter(torch.eye(backbone.num_classes))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.backbone(x) @ self.extra
            return logits

    def build(self, backbone: Backbone) -> nn.Module:
        return self.Model(backbone)

    def executor(self, model: nn.Module, point: Point) -> Any:
        return None


@caught_by("points", "gives one name twice: default, default")
class Twins(Broken):
    def points(self, model: nn.Module) -> Sequence[Point]:
        return [Point(), Point()]


@caught_by("points", r"gives point\d, and then point\d")
class Renames(Broken):
    asked = -1

    def points(self, model: nn.Module) -> Sequence[Point]:
        self.asked += 1
        return [Point(f"point{self.asked % 2}")]


@caught_by("gradients", "no gradient reaches (gates.*|backbone.*) and .* more")
class Detached(LCNet):
    name = "detached"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        with torch.no_grad():
            features = model.backbone.stem(x)
            for _, block in model.backbone.named_blocks():
                features = block(features)
        return nn.functional.cross_entropy(model.backbone.head(features), y)


class Calibrated(Broken):
    """With a buffer that is set at the end."""

    def build(self, backbone: Backbone) -> nn.Module:
        backbone.register_buffer("threshold", torch.zeros(()))
        return super().build(backbone)

    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        model.threshold.fill_(0.5)


@caught_by("calibration", "while it was calibrated, the plugin asked for the test split")
class CalibratesOnTheTestSplit(Calibrated):
    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        found_in_callers("data").test.read()


@caught_by("calibration", "while it was calibrated, the plugin asked for the test split")
class HidesThatItAsked(Calibrated):
    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        with suppress(Exception):
            found_in_callers("data").test.read()


@caught_by("calibration", "while it was calibrated, the plugin changed parameters: linear.bias; only buffers")
class TrainsOnHeldOutImages(Calibrated):
    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        model.linear.bias.data.add_(0.1)


@caught_by("calibration", "calibrated twice, it has other values in threshold")
class CalibratesByDice(Calibrated):
    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        model.threshold.fill_(random.SystemRandom().random())


@caught_by("loss", "the loss changed parameters itself")
class StepsItself(Broken):
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        super().loss(model, x, y, progress, recipe).backward()
        torch.optim.SGD(model.parameters(), lr=0.01).step()
        return super().loss(model, x, y, progress, recipe)


@caught_by("loss", "computing the loss changes linear.bias")
class StepsNowAndThen(Broken):
    """Not on the step that the trainer looks at."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        by_hand = found_in_callers("by_hand")
        if by_hand is not None and found_in_callers("step") != by_hand._step:
            model.linear.bias.data.add_(0.001)
        return super().loss(model, x, y, progress, recipe)


@caught_by("seed", "trained twice from one seed, it has other values in .* and .* more")
class OwnDice(Broken):
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        return super().loss(model, x, y, progress, recipe) * random.SystemRandom().uniform(0.5, 1.5)


@caught_by("resume", "interrupted and continued, it has other values in .* outside the model")
class CountsItself(Broken):
    calls = 0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        self.calls += 1
        return super().loss(model, x, y, progress, recipe) / self.calls


@caught_by("repeatable", "evaluated twice, .* logits differ .*noise left on")
class Noisy(Broken):
    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits + torch.randn_like(logits)


@caught_by("alone", "each image alone: .* images get a different result than in one batch")
class PeeksAtTheBatch(Broken):
    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits - logits.mean(0)


@caught_by("alone", "its MACs from")
class SpendsByPlace(Broken):
    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        odd = LayerUsage(positions=(torch.arange(len(x)) % 2).double())
        return [replace(one, usage={"conv1": odd}) for one in super().infer(model, x, points)]


@caught_by("usage", 'names "layer9", which is not a layer')
class NamesNothing(Broken):
    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [replace(one, usage={"layer9": LayerUsage()}) for one in super().infer(model, x, points)]


@caught_by("usage", "logits are not finite")
class Infinite(Broken):
    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits / 0


@caught_by("static", "MACs an image")
class NotStatic(LCNet):
    name = "not_static"
    static = True


@caught_by("labels", 'point "default"')
class LooksAtLabels(Broken):
    seen = 0

    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        split = found_in_callers("split")
        if split is None:
            return logits
        labels = split.labels[self.seen : self.seen + len(x)]
        self.seen = (self.seen + len(x)) % len(split)
        return nn.functional.one_hot(labels, logits.shape[1]).float()


@caught_by("unchanged", "`infer` changes linear.bias")
class LearnsInEvaluation(Broken):
    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        model.linear.bias.data.add_(0.001)
        return super().infer(model, x, points)


@caught_by("unchanged", 'the executor of point "default" changes conv1.weight')
class ChangesForTiming(Broken):
    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        executor = super().executor(model, point)
        model.conv1.weight.data.mul_(0.5)
        return executor


@caught_by("restore", "rebuilt from its weights alone: .* logits differ")
class KeepsItToItself(Broken):
    offset: Tensor | None = None

    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        if self.offset is None:
            self.offset = torch.randn(logits.shape[1])
        return logits + self.offset


@caught_by("audit", "MACs were executed and .* accounted")
class MasksOnly(LCNet):
    name = "masks_only"

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return Wrapped(model)


@caught_by("audit", "the executor's logits differ from infer's")
class OtherLogits(Broken):
    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        executor = super().executor(model, point)
        executor.stem_conv.bias += 0.1
        return executor


@caught_by("audit", "the executor's logits differ from infer's")
class WrongInFloat32(Broken):
    """A fault of the kernels that run in fp32 only."""

    class Executor(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits * 1.01 if x.dtype == torch.float32 else logits

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(super().executor(model, point))


@caught_by("batches", "12 of 12 images get other logits")
class WrongInFloat32Batches(WrongInFloat32):
    """And in batches only, which the audit does not run."""

    class Executor(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return logits * 1.01 if x.dtype == torch.float32 and len(x) > 1 else logits


@caught_by("alone", "each image alone: .* images get a different result than in one batch")
class PeeksInFloat32(Broken):
    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        return logits - logits.mean(0) if x.dtype == torch.float32 else logits


@caught_by("audit", "layer layer2.0.conv2: .* executed, .* accounted")
class UnderReports(Broken):
    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        half = torch.full((len(x),), 0.5, dtype=torch.float64)
        usage = {"layer2.0.conv2": LayerUsage(outputs=half)}
        return [replace(one, usage=usage) for one in super().infer(model, x, points)]


@caught_by("batches", "11 of 12 images get other logits, image 1 first")
class FirstOfTheBatch(Broken):
    class Executor(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[:1]).expand(len(x), -1)

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(super().executor(model, point))


@caught_by("skipped weights", "usage says that layer .* was skipped, but its weights are read|leaves out .* channels")
class ReadsAll(LCNet):
    name = "reads_all"

    class Executor(Wrapped):
        def __init__(self, inner: nn.Module, model: nn.Module) -> None:
            super().__init__(inner)
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0 * sum(p.sum() for p in self.model.parameters())

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(super().executor(model, point), model)


@caught_by("memory", "`infer` keeps tensors: 10 more after 10 more images")
class Collects(Broken):
    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        seen.append(logits.clone())
        return logits


seen: list[Tensor] = []


@caught_by("memory", "the executor of point .* keeps tensors")
class RemembersAnswers(Broken):
    class Executor(Wrapped):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__(inner)
            self.answers: dict[float, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            key = float(x.double().square().sum())
            if key not in self.answers:
                self.answers[key] = super().forward(x)
            return self.answers[key]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(super().executor(model, point))


@caught_by("data", "while it was built, the plugin read the data set's file digits.csv.gz")
class OpensTheData(Broken):
    def build(self, backbone: Backbone) -> nn.Module:
        load_digits()
        return super().build(backbone)


@caught_by("data", r"it reads the test split \(broken.py:\d+ in twist")
class ReadsTheTestSplit(Broken):
    def twist(self, logits: Tensor, x: Tensor) -> Tensor:
        data = found_in_callers("data")
        if isinstance(data, Data) and data.test._read is not None:
            data.test.read()
        return logits


@caught_by("output", 'it prints .* characters while it is trained and evaluated: "step step')
class Talks(Broken):
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        print("step")
        return super().loss(model, x, y, progress, recipe)


@caught_by("harness", "numpy.percentile")
class Replaces(Broken):
    """Whoever tries it has to put it back."""

    def build(self, backbone: Backbone) -> nn.Module:
        np.percentile = lambda *_: 0.0  # type: ignore[assignment]
        return super().build(backbone)
