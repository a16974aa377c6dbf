"""A method on trial: its class and configuration, a backbone, data, and the model that was trained of them."""

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from io import TextIOBase
from typing import Any

import torch
from torch import Tensor, nn

from dynbench.contract.base import NotRun, in_plugin
from dynbench.contract.random_gates import with_random_gates
from dynbench.contract.training import Trained, train
from dynbench.cost import CostModel, evaluating, static_costs
from dynbench.data import Data, Split, load_data
from dynbench.data.split import TestSplit
from dynbench.guards.tampering import seal
from dynbench.method import Method, MethodConfig, Output, Point
from dynbench.suite.schema import BackboneSpec, DataSpec

TRAIN, VALIDATION = 256, 64


@cache
def digits() -> Data:
    """The first training and validation images of scikit-learn's digits."""
    data = load_data(DataSpec(name="digits"))
    train = data.train.take(torch.arange(TRAIN))
    validation = data.validation.take(torch.arange(VALIDATION))
    return replace(data, train=train, validation=validation)


def guarded(data: Data, on_read: Callable[[], None]) -> Data:
    """The data with a test split that calls `on_read` and then gives the validation images: only the harness reads it,
    and in a trial it does not."""

    def read() -> Split:
        on_read()
        return data.validation

    return replace(data, test=TestSplit(read))


KEPT = 200


class Printed(TextIOBase):
    """Counts what is written, and keeps its beginning."""

    def __init__(self) -> None:
        self.characters, self.beginning = 0, ""

    def write(self, text: str) -> int:
        self.characters += len(text)
        self.beginning += text[: KEPT - len(self.beginning)]
        return len(text)


@contextmanager
def printed_text() -> Iterator[Printed]:
    """Takes what Python code prints meanwhile; warnings are not shown. What compiled code prints goes its way."""
    printed = Printed()
    with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield printed


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Life:
    """A method's whole life, once through: built, trained, evaluated, executed; and what it did besides."""

    trained: Trained
    printed: Printed


@dataclass
class Subject:
    """What the checks look at. Everything that takes long is made once, when it is first asked for.

    `registered`: the name of its entry point, where it has one. `given`: the data, before its test split is guarded.
    """

    kind: type[Method]
    config: MethodConfig
    spec: BackboneSpec
    given: Data
    registered: str | None = None
    test_reads: list[tuple[str, ...]] = field(default_factory=list)
    """Of each look at the test split, where in the plugin's code it was."""
    _failed: bool = False

    @property
    def name(self) -> str:
        return str(getattr(self.kind, "name", self.kind.__name__))

    @property
    def data_spec(self) -> DataSpec:
        return DataSpec(name="digits")

    @cached_property
    def data(self) -> Data:
        return guarded(self.given, lambda: self.test_reads.append(in_plugin(traceback.extract_stack(), self.kind)))

    @cached_property
    def life(self) -> Life:
        """Raises whatever the plugin raises, once; NotRun after that."""
        if self._failed:
            raise NotRun("the method could not be trained and evaluated once")
        self._failed = True
        with printed_text() as printed:
            trained = train(self)
            with evaluating(trained.model) as model:
                points = trained.method.points(model)
                trained.method.infer(model, self.images(4), points)
                for point in points:
                    executor = trained.method.executor(model, point)
                    if executor is not None:
                        executor.eval()(self.images(1))
        self._failed = False
        return Life(trained, printed)

    @property
    def trained(self) -> Trained:
        return self.life.trained

    @property
    def method(self) -> Method:
        """The instance that the model was trained with."""
        return self.trained.method

    @cached_property
    def models(self) -> dict[str, nn.Module]:
        """The trained model and, where there are gates, the same with random ones: after a short training hardly
        a gate has closed yet."""
        model = self.trained.model.eval()
        layers = [layer.name for layer in static_costs(model, self.data.shape) if layer.kind == "control"]
        undecided = with_random_gates(model, layers, lambda copy: self.infer(copy, self.images(64)))
        return {"trained": model} | ({} if undecided is None else {"with random gates": undecided})

    def points(self, model: nn.Module) -> list[Point]:
        return list(self.method.points(model))

    def images(self, count: int) -> Tensor:
        """The first validation images, normalised: (count, channels, height, width)."""
        return self.data.normalise(CPU, channels_last=True)(self.data.validation.images[:count])

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point] | None = None) -> list[Output]:
        with evaluating(model):
            return list(self.method.infer(model, x, self.points(model) if points is None else points))

    def executor(self, model: nn.Module, point: Point) -> nn.Module | None:
        with torch.no_grad():
            executor = self.method.executor(model, point)
        return None if executor is None else executor.eval()

    def costs(self, model: nn.Module) -> CostModel:
        return CostModel(static_costs(model, self.data.shape), CPU)


def make_subject(
    kind: type[Method],
    backbone: str | BackboneSpec = "resnet8",
    width: float = 1.0,
    data: Data | None = None,
    **params: Any,
) -> Subject:
    """A method class with parameters, on a backbone, named with a width or as a specification of its own, and data
    (default: a part of the digits). Raises pydantic's ValidationError for parameters that do not fit."""
    seal()
    config = kind.Config.model_validate(params)
    spec = BackboneSpec(name=backbone, width=width) if isinstance(backbone, str) else backbone
    return Subject(kind, config, spec, data or digits())
