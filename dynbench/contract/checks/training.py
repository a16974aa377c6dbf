"""Training: what the harness's own trainer gets when it trains the method for a few steps."""

from copy import deepcopy
from math import isfinite
from typing import TYPE_CHECKING

import torch

from dynbench.build import data_for
from dynbench.contract.promise import DoesNotApply
from dynbench.contract.short_training import ShortTraining, changed_tensors, parameters_of, state_of, train
from dynbench.train.calibration import calibrate_model

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


def trains(subject: "Subject") -> str | None:
    """Every stage that has epochs trains: its loss stays finite, and it changes parameters."""
    trained = subject.trained
    for epoch in trained.history:
        if not isfinite(epoch.loss):
            return f"stage {epoch.stage}: the loss of epoch {epoch.epoch + 1} is {epoch.loss}"
    idle = _idle_stage(trained)
    return f"stage {idle}: training changes no parameter" if idle else None


def _idle_stage(trained: ShortTraining) -> str | None:
    """A stage after which every parameter is what it was before."""
    states = [*trained.log.starts.values(), parameters_of(trained.model)]
    for stage, before, after in zip(trained.log.starts, states[:-1], states[1:], strict=True):
        if not changed_tensors(before, after):
            return stage
    return None


def calibration(subject: "Subject") -> str | None:
    """`calibrate` sets buffers alone, to the same values each time, and does not ask for the test split."""
    trained = subject.trained
    data = data_for(trained.method, subject.data)
    if data.calibration is None:
        raise DoesNotApply("it does not calibrate")
    states = []
    for _ in range(2):
        model = deepcopy(trained.model)
        calibrate_model(trained.method, model, data, torch.device("cpu"), seed=0, channels_last=True)
        states.append(state_of(model))
    different = changed_tensors(*states)
    return f"calibrated twice, it has other values in {_listed(different)}" if different else None


def gradients(subject: "Subject") -> str | None:
    """A gradient reaches every parameter that is trained."""
    trained = subject.trained
    without = [
        name
        for name, parameter in trained.model.named_parameters()
        if parameter.requires_grad and id(parameter) not in trained.log.reached
    ]
    if not without:
        return None
    return (
        f"no gradient reaches {_listed(without)}: the loss does not depend on it, or a part is detached; what is not "
        "to be trained needs requires_grad_(False)"
    )


def loss_takes_no_step(subject: "Subject") -> str | None:
    """`loss` computes and the harness takes the steps: every step is counted in the budget."""
    log = subject.trained.log
    return f"computing the loss changes {_listed(sorted(log.changed))}" if log.changed else None


def same_seed(subject: "Subject") -> str | None:
    """The same seed trains to the same weights, to the last bit."""
    return _difference(subject.trained, train(subject), "trained twice from one seed, it has other values in")


def resumes(subject: "Subject") -> str | None:
    """Interrupted after an epoch and continued in a new model, it ends with the same weights, to the last bit."""
    resumed = train(subject, interrupted=True)
    return _difference(subject.trained, resumed, "interrupted and continued, it has other values in")


def _difference(one: ShortTraining, other: ShortTraining, what: str) -> str | None:
    different = changed_tensors(state_of(one.model), state_of(other.model))
    if not different:
        return None
    return (
        f"{what} {_listed(different)}; does it keep something outside the model, or draw from a generator of its own?"
    )


def _listed(names: list[str]) -> str:
    """The first of them, and how many there are more."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
