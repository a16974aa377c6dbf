"""How fast a run would train and be evaluated on the device at hand: a few real steps on made-up images.

What is not in it: reading and decoding images that stay in files, which other threads do meanwhile and which may be the
slower part; audits; latency. A policy that skips changes while it trains: it is measured as it starts.
"""

import math
import resource
import sys
import time
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from dynbench.backbones import build_backbone
from dynbench.data import DatasetInfo, dataset_info
from dynbench.data.epoch import Augment, epoch_batches
from dynbench.data.image_files import AHEAD
from dynbench.data.split import Data, Split, TestSplit
from dynbench.device import on_device, usable_precision
from dynbench.estimate.estimate import checkpoint_bytes, epoch_images, noise, run_images
from dynbench.evaluation.trained import Trained
from dynbench.isolate.call import call
from dynbench.isolate.child import Ask
from dynbench.isolate.limits import ChildEnded
from dynbench.method import Method
from dynbench.plan.run import Run
from dynbench.recipe.resizing import epoch_sides
from dynbench.record.machine import describe_machine
from dynbench.stage import Progress, Stage, apply_edits
from dynbench.suite.schema import Evaluation, Limits
from dynbench.train.trainer import StageTrainer


class PeakMemory:
    """From its making on: of a CUDA device what torch has allocated there, of the CPU what this process holds.

    A process's peak cannot be set back: what it has taken before counts too.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.start = self._now()
        """Bytes that are taken already."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _now(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return int(psutil.Process().memory_info().rss)

    @property
    def bytes(self) -> int:
        """Return the most memory that was taken so far, in bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def at(self, batch: int, measured: int, fixed: int) -> int:
        """Return the peak in steps of `batch` images, from one in steps of `measured` images.

        All but `fixed` bytes grow with them.
        """
        return fixed + max(0, self.bytes - fixed) * batch // measured


STEPS = 5
"""Timed at the most, after one that is not; fewer where a step takes longer than `STEP_SECONDS`."""
PROBE = 8
"""Images of the first step on a CPU."""
STEP_SECONDS = 4.0
"""Steps of a whole batch that would take longer on a CPU are measured with fewer images."""
PASSES = 3
"""Over the validation split when a run is trained; the test split is then read once."""


@dataclass(frozen=True)
class StageRate:
    """`images_per_second` of a training stage in steps of `batch` images; `seconds` that all of it would take."""

    name: str
    batch: int
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class Throughput:
    """`evaluation`: seconds of all evaluations.

    `memory`: bytes at the most, of the device where it has its own, else of the process; with the recipe's batches and
    the data set, where that is held in memory.
    """

    device: str
    threads: int
    precision: str
    stages: tuple[StageRate, ...]
    evaluation: float
    memory: int

    @property
    def training(self) -> float:
        """Seconds of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Return the seconds of training and evaluation."""
        return self.training + self.evaluation


def measure_throughput(run: Run, evaluation: Evaluation, device: torch.device) -> Throughput:
    """Measure the throughput.

    Raises what the method raises, and torch.OutOfMemoryError where the batches are too large for the device.
    """
    info, method = dataset_info(run.data), run.make_method()
    torch.manual_seed(0)
    model = method.build(build_backbone(run.built, info.shape, info.num_classes))
    model = on_device(model, device, run.recipe.channels_last)
    bench, found = _Bench(run, info, model, device), []
    stages = method.stages(run.recipe)
    for stage in stages:
        apply_edits(stage, model, lambda count: noise(info.shape, count).to(device))
        if stage.epochs:
            found.append(bench.train(stage))
    looks = sum(math.ceil(stage.epochs / evaluation.validate_every) for stage in stages)
    seconds = bench.evaluate(method, evaluation.batch_size, looks)
    machine = describe_machine(str(device), usable_precision(run.recipe.precision, device))
    memory = bench.memory + _held(run, info)
    return Throughput(machine.device_name, machine.threads, machine.precision, tuple(found), seconds, memory)


class _Bench:
    """Measures one run's model, whose stages are tried in order."""

    def __init__(self, run: Run, info: DatasetInfo, model: nn.Module, device: torch.device) -> None:
        self._run, self._info, self._model, self._device = run, info, model, device
        self._batch = min(run.recipe.batch_size, run_images(run, info))
        self._measured = self._batch
        self.memory = 0
        """Bytes, at the most, so far."""

    def train(self, stage: Stage) -> StageRate:
        """Try a few steps of it."""
        peak = PeakMemory(self._device)
        self._measured = self._batch if self._device.type == "cuda" else min(self._batch, PROBE)
        each = self._step(stage, 1)
        fitting = int(STEP_SECONDS / each)
        if self._measured < self._batch:
            self._measured = max(self._measured, min(self._batch, fitting))
        each = self._step(stage, max(1, min(STEPS, int(STEPS * STEP_SECONDS / (each * self._measured)))))
        fixed = peak.start + checkpoint_bytes(stage, self._model)  # gradients are as large as the state, or smaller
        self.memory = max(self.memory, peak.at(self._batch, self._measured, fixed))
        return StageRate(stage.name, self._measured, 1 / each, self._whole_images(stage) * each)

    def _whole_images(self, stage: Stage) -> float:
        """The stage's images, those of less than the whole size in proportion to their pixels."""
        whole = self._info.shape[1]
        sides = epoch_sides(self._run.recipe.progressive_resizing, stage.epochs, whole)
        return epoch_images(self._run, self._info) * sum((side / whole) ** 2 for side in sides)

    def _step(self, stage: Stage, steps: int) -> float:
        """Seconds of an image in `steps` steps of the trainer, after one that is not timed."""
        run, data = self._run, _noise_data(self._run, self._info, self._measured)
        split = data.train.to(self._device)
        trainer = StageTrainer(stage, self._model, data, split, run.recipe, 0, self._device)
        augment = Augment(run.recipe.augmentation) if data.augment else None
        last = stage.epochs - 1  # of the whole size
        self._model.train()
        started = 0.0
        for step in range(steps + 1):
            for images, labels in epoch_batches(split, self._measured, step, augment):
                loss = trainer.step(trainer.prepared(images, last), labels, Progress(0, stage.epochs, 0.0))
            if step in {0, steps}:
                float(loss)  # waits for a GPU
            if step == 0:
                started = time.perf_counter()
        return (time.perf_counter() - started) / (steps * self._measured)

    def evaluate(self, method: Method, batch_size: int, looks: int) -> float:
        """Return seconds of all evaluations of the run, `looks` at the validation split while it trains among them."""
        run, info, device = self._run, self._info, self._device
        data = _noise_data(run, info, min(batch_size, self._measured if device.type == "cpu" else batch_size))
        trained = Trained.of(method, self._model, data, device, run.recipe.channels_last, len(data.train))
        images, points = data.train.images.to(device), trained.points
        for _ in range(2):  # the first time is not counted
            started = time.perf_counter()
            trained.predict(images, points)
            seconds = time.perf_counter() - started
        validation = run.data.validation or info.validation
        return ((looks + PASSES) * validation + info.test_images) * seconds / len(images)


def _noise_data(run: Run, info: DatasetInfo, images: int) -> Data:
    """Noise of the data set's shapes, as much in each split; images from files are not cropped again."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, *info.shape), dtype=torch.uint8, generator=generator)
    split = Split(pixels, torch.randint(info.num_classes, (images,), generator=generator))
    half = (0.5,) * info.shape[0]
    augment = run.data.augment and not info.in_files
    return Data(split, split, TestSplit(lambda: split), half, half, info.num_classes, augment)


def _held(run: Run, info: DatasetInfo) -> int:
    """Bytes of images that a run keeps: all of them, or the batches that are decoded ahead."""
    ahead = (AHEAD + 1) * run.recipe.batch_size
    return math.prod(info.shape) * (ahead if info.in_files else info.training_images + info.test_images)


def measure_isolated(run: Run, evaluation: Evaluation, device: torch.device, limits: Limits) -> Throughput | str:
    """Run `measure_throughput` in a child process; return the reason when the child fails."""
    try:
        found: Throughput = call(_measure, run, evaluation, device, limits=limits)
    except (ChildEnded, OSError) as error:
        return str(error)
    return found


def _measure(_ask: Ask, run: Run, evaluation: Evaluation, device: torch.device) -> Throughput:
    return measure_throughput(run, evaluation, device)
