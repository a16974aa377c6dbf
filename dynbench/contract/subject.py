"""A method on trial: its class and configuration, a backbone, data, and the model that was trained of them."""

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from io import TextIOBase
from typing import Any

import torch
from torch import Tensor, nn

from dynbench.contract.promise import NotRun, in_plugin
from dynbench.contract.random_gates import with_random_gates
from dynbench.contract.short_training import ShortTraining, train
from dynbench.cost import evaluating
from dynbench.data import load_data
from dynbench.data.split import Data, Split, TestSplit
from dynbench.evaluation.trained import Trained
from dynbench.guards.tampering import seal
from dynbench.method import Method, MethodConfig
from dynbench.suite.schema import BackboneSpec, DataSpec

TRAIN, VALIDATION = 256, 64


@cache
def digits() -> Data:
    """Return the first training and validation images of scikit-learn's digits."""
    data = load_data(DataSpec(name="digits"))
    train = data.train.take(torch.arange(TRAIN))
    validation = data.validation.take(torch.arange(VALIDATION))
    return replace(data, train=train, validation=validation)


def guarded(data: Data, on_read: Callable[[], None]) -> Data:
    """Return the data with a test split that calls `on_read` and then gives the validation images.

    Only the harness reads it, and in a trial it does not.
    """

    def read() -> Split:
        on_read()
        return data.validation

    return replace(data, test=TestSplit(read))


BATCH = 16
KEPT = 200


class Printed(TextIOBase):
    """Counts what is written, and keeps its beginning."""

    def __init__(self) -> None:
        self.characters, self.beginning = 0, ""

    def write(self, text: str) -> int:
        """Count `text`, and keep it while little has been printed."""
        self.characters += len(text)
        self.beginning += text[: KEPT - len(self.beginning)]
        return len(text)


@contextmanager
def printed_text() -> Iterator[Printed]:
    """Take what Python code prints meanwhile; warnings are not shown. What compiled code prints goes its way."""
    printed = Printed()
    with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield printed


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Life:
    """A method's whole life, once through: built, trained, evaluated, executed; and what it did besides."""

    trained: ShortTraining
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
        """Return the method's name, or its class's."""
        return str(getattr(self.kind, "name", self.kind.__name__))

    @property
    def data_spec(self) -> DataSpec:
        """Return the specification of the trial's data set."""
        return DataSpec(name="digits")

    @cached_property
    def data(self) -> Data:
        """Return the data, with a test split that notes who reads it."""
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
    def trained(self) -> ShortTraining:
        """Return the trained model; it is trained at the first call."""
        return self.life.trained

    @property
    def method(self) -> Method:
        """The instance that the model was trained with."""
        return self.trained.method

    @cached_property
    def models(self) -> dict[str, Trained]:
        """The trained model and, where there are gates, the same with random ones.

        After a short training hardly a gate has closed yet.
        """
        trained = self.ask(self.trained.model.eval())
        layers = [layer.name for layer in trained.costs.layers if layer.kind == "control"]
        undecided = with_random_gates(
            trained.model, layers, lambda copy: replace(trained, model=copy).infer(self.images(64))
        )
        return {"trained": trained} | ({} if undecided is None else {"with random gates": self.ask(undecided)})

    def ask(self, model: nn.Module) -> Trained:
        """Return a model of the method, asked as a run does, `BATCH` images at a time."""
        return Trained.of(self.method, model, self.data, CPU, channels_last=True, batch_size=BATCH)

    def images(self, count: int) -> Tensor:
        """Return the first validation images, normalised: (count, channels, height, width)."""
        return self.data.normalise(CPU, channels_last=True)(self.data.validation.images[:count])


def make_subject(
    kind: type[Method],
    backbone: str | BackboneSpec = "resnet8",
    width: float = 1.0,
    data: Data | None = None,
    **params: Any,
) -> Subject:
    """Return what the checks are tried on: a method class with parameters, on a backbone, and data.

    The backbone is named with a width, or a specification of its own; data are a part of the digits by default. Raises
    pydantic's ValidationError for parameters that do not fit.
    """
    seal()
    config = kind.Config.model_validate(params)
    spec = BackboneSpec(name=backbone, width=width) if isinstance(backbone, str) else backbone
    return Subject(kind, config, spec, data or digits())
