"""Calibration: after the last stage a method sets its thresholds, on held-out images that no figure is read from."""

import time

import torch
from torch import nn

from dynbench.cost import evaluating
from dynbench.counter.training import TrainingCounter
from dynbench.data.split import Data
from dynbench.guards.decoy_labels import made_up
from dynbench.guards.model_changes import parameters_kept, steps_are
from dynbench.guards.side_effects import watched
from dynbench.method import Method
from dynbench.record.schema import StageBudget

NAME = "calibration"


def calibrate_model(
    method: Method, model: nn.Module, data: Data, device: torch.device, seed: int, channels_last: bool = False
) -> StageBudget | None:
    """Let the method calibrate its model in place, on `data.calibration`.

    What that cost, or None where there is nothing to be done. `seed`: of torch's generators meanwhile.

    Raises AuditFailed when the plugin asked for the test split, changed parameters or took optimizer steps. The labels
    of the validation images that figures are read from are made-up ones while it runs.
    """
    aside, doing = data.calibration, "while it was calibrated"
    if aside is None:
        return None
    started = time.perf_counter()
    images = data.normalise(device, channels_last)(aside.images[:].to(device))
    torch.manual_seed(seed)
    with (
        evaluating(model),
        made_up(data.validation.labels, data.num_classes),
        data.test.locked(doing),
        parameters_kept(model, doing),
        steps_are(0, doing),
        watched(doing),
        TrainingCounter() as counter,
    ):
        method.calibrate(model, images, aside.labels.to(device).clone())
    macs = counter.macs
    seconds = time.perf_counter() - started
    return StageBudget(name=NAME, epochs=0, images=len(aside), train_macs=0, seconds=seconds, edit_macs=macs)
