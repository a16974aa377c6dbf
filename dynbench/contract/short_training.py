"""A short training by the harness's own trainer, with a log of what the loss and the optimizers did."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dynbench.build import build_model, data_for
from dynbench.context import Context
from dynbench.data.split import Data
from dynbench.method import Method
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import EpochRecord
from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Recipe, Sgd
from dynbench.suite.schema import Evaluation
from dynbench.train.session import Session

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


EPOCHS = 2
"""Of each stage: one to be interrupted after, one to continue with."""
RECIPE = Recipe(epochs=EPOCHS, batch_size=32, optimizer=Sgd(name="sgd", lr=0.05))

State = dict[str, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor, Progress], Tensor]


@dataclass
class Log:
    """`starts`: of each stage, its parameters before the first step.

    `changed`: parameters that were others after a call of a loss than before. `reached`: parameters that got a gradient
    that is not zero, by their ids.
    """

    starts: dict[str, State] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    reached: dict[int, Tensor] = field(default_factory=dict)

    def watched(self, stage: Stage) -> Stage:
        """Return the stage, no longer than a trial, with a loss that is watched."""

        def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
            before = parameters_of(model)
            self.starts.setdefault(stage.name, before)
            try:
                return stage.loss(model, x, y, progress)
            finally:
                self.changed.update(changed_tensors(before, parameters_of(model)))

        return replace(stage, epochs=min(stage.epochs, EPOCHS), loss=loss)

    def before_step(self, optimizer: Optimizer, arguments: object, keywords: object) -> None:  # noqa: ARG002
        """Note which parameters a gradient has reached."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and id(parameter) not in self.reached and bool(parameter.grad.any()):
                    self.reached[id(parameter)] = parameter


@dataclass(frozen=True)
class ShortTraining:
    """A model that was trained for a moment, the method that it is of, and how it came about."""

    method: Method
    model: nn.Module
    log: Log
    history: tuple[EpochRecord, ...]


def train(subject: "Subject", interrupted: bool = False) -> ShortTraining:
    """Train again, from the same seed, for `EPOCHS` epochs a stage.

    `interrupted`: a first attempt ends one epoch before the end, and a new model and method continue from its
    checkpoint. Weights that a method starts from are left out: it starts from random ones.
    """
    with TemporaryDirectory() as folder:
        if interrupted:
            epochs = len(subject.trained.history)
            with suppress(_Interrupted):
                _train(subject, Path(folder), _Interrupt(epochs - 1))
        return _train(subject, Path(folder), Observer())


def _train(subject: "Subject", folder: Path, observer: Observer) -> ShortTraining:
    log = Log()
    method = _shortened(subject.kind, log)(subject.config)
    run = _run_of(subject, method)
    results, evaluation = ResultsFolder(folder), Evaluation(batch_size=32)
    context = Context(results, torch.device("cpu"), None, evaluation, observer, "dynbench test", "")
    data: Data = data_for(method, subject.data)
    model = build_model(run, method, data, context)
    with ExitStack() as hooks:
        hooks.callback(register_optimizer_step_pre_hook(log.before_step).remove)
        journal = Session(run, method, model, data, context).train()
    return ShortTraining(method, model, log, journal.history)


def _shortened(kind: type[Method], log: Log) -> type[Method]:
    """The method with stages of a few epochs, whose losses are watched."""

    class Short(kind):  # type: ignore[misc, valid-type]
        def stages(self, recipe: Recipe) -> Sequence[Stage]:
            return [log.watched(stage) for stage in super().stages(recipe)]

    Short.__name__, Short.__qualname__, Short.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return Short


def _run_of(subject: "Subject", method: Method) -> Run:
    params: dict[str, Any] = subject.config.model_dump(mode="json")
    return Run(
        suite="contract",
        data=subject.data_spec,
        backbone=subject.spec,
        built=method.backbone(subject.spec),
        recipe=RECIPE,
        seed=0,
        method=subject.name,
        method_version=method.version,
        params=params,
        given={},
    )


class _Interrupted(Exception):  # noqa: N818  (named for what happened)
    pass


class _Interrupt(Observer):
    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:  # noqa: ARG002
        if len(history) == self._epochs:
            raise _Interrupted


def parameters_of(model: nn.Module) -> State:
    """Return copies of the model's parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def state_of(model: nn.Module) -> State:
    """Return copies of all that the model stores: parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def changed_tensors(one: State, other: State) -> list[str]:
    """Return names of what is not the same, to the last bit; NaN equals NaN."""
    return [
        name for name in {**one, **other} if name not in one or name not in other or not _equal(one[name], other[name])
    ]


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
