"""The record of one run: versioned JSON, and beside it the per-image arrays (`.npz`).

Records are the truth; tables, plots, checks and MLflow are made from them alone.

Units: MACs per image, accuracies in per cent, seconds. No number is NaN or infinite, and every whole one fits into 64
bits; what a record has to be besides, `dynbench.record.validity` says.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dynbench.plan.run import Run
from dynbench.record.machine import Machine

SCHEMA_VERSION = 1
LARGEST = 2**63 - 1
"""Whole number that a table, an array and a database can hold."""
LATEST = 1e11
"""Seconds since 1970: some three thousand years from now, and still milliseconds of 64 bits."""

Count = Annotated[int, Field(ge=0, le=LARGEST)]
AtLeastOne = Annotated[int, Field(ge=1, le=LARGEST)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]
Positive = Annotated[float, Field(ge=1e-9, le=LARGEST)]
"""What is divided by."""
PerCent = Annotated[float, Field(ge=0, le=100)]
Moment = Annotated[float, Field(ge=0, le=LATEST)]
"""Seconds since 1970."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EpochRecord(_Part):
    """One epoch; `time` is when it ended, in seconds since 1970. Validation is of the first operating point."""

    stage: str
    epoch: Count
    time: Moment
    seconds: Amount
    loss: float
    lr: Amount
    val_top1: PerCent | None = None
    val_macs: Amount | None = None


class StageBudget(_Part):
    """What a stage cost.

    `train_macs`: forward and backward as dispatched, images times MACs of one image. One of 0 epochs is edits alone, or
    the calibration at the end: its `images` are those that these were given.
    """

    name: str
    epochs: Count
    images: Count
    train_macs: Count
    seconds: Amount
    edit_macs: Count = 0
    """What the edit before the stage dispatched, all of it together; it is not among `train_macs`. 0 in records from
    before it was counted."""


class Budget(_Part):
    """Everything that was spent on a run, and on the weights that it started from."""

    stages: tuple[StageBudget, ...]
    pretrained: tuple[StageBudget, ...] = ()

    @property
    def epochs(self) -> int:
        """Return all epochs, pretraining included."""
        return sum(stage.epochs for stage in (*self.pretrained, *self.stages))

    @property
    def train_macs(self) -> int:
        """Return all training MACs, pretraining included."""
        return sum(stage.train_macs for stage in (*self.pretrained, *self.stages))

    @property
    def images_per_second(self) -> float | None:
        """Of the run's own training; None where it trained nothing."""
        trained = [stage for stage in self.stages if stage.epochs]
        seconds = sum(stage.seconds for stage in trained)
        return sum(stage.images for stage in trained) / seconds if seconds else None

    @property
    def edit_macs(self) -> int:
        """MACs of edits and calibration, which are not among those of the training."""
        return sum(stage.edit_macs for stage in (*self.pretrained, *self.stages))

    @property
    def pretrained_epochs(self) -> int:
        """Return the epochs of what the run started from."""
        return sum(stage.epochs for stage in self.pretrained)

    @property
    def pretrained_train_macs(self) -> int:
        """Return the training MACs of what the run started from."""
        return sum(stage.train_macs for stage in self.pretrained)

    @property
    def seconds(self) -> float:
        """Return the wall time of all stages, pretraining included."""
        return sum(stage.seconds for stage in (*self.pretrained, *self.stages))


def times_the_macs(one: float, other: float) -> float:
    """Return how many times the MACs of `other` `one` has.

    Less than one MAC counts as one: an operating point that multiplies nothing has its ratios too.
    """
    return max(1.0, one) / max(1.0, other)


class Macs(_Part):
    """MACs per image over a split; the first four over images, then the mean of each kind of layer."""

    mean: Amount
    p50: Amount
    p95: Amount
    max: Count
    backbone: Amount
    shortcuts: Amount
    gates: Amount
    """Gates: whatever the method added."""


class LayerMacs(_Part):
    """One layer: its whole cost, and the mean over the test images of what was spent."""

    name: str
    kind: Literal["backbone", "shortcut", "control"]
    macs: Count
    mean: Amount


class Timing(_Part):
    """Wall-clock time of one batch size, in milliseconds a call, on `calls` batches of real images in `rounds` passes.

    Means are over images of their median over rounds; percentiles are over all raw samples. `realised`: saved time over
    saved MACs, on the same images; 1 when every saved MAC was saved time.
    """

    batch: AtLeastOne
    calls: AtLeastOne
    rounds: AtLeastOne
    mean_ms: Positive
    p50_ms: Amount
    p90_ms: Amount
    p99_ms: Amount
    dense_mean_ms: Positive
    dense_p50_ms: Amount
    throughput_ips: Amount
    macs_mean: Amount
    """Of the timed images, accounted."""
    realised: Amount
    realised_best: Amount | None = None
    """The same against the dense backbone on the fastest engine, `best_engine`, eager PyTorch included. None: no static
    engine was timed at this batch size."""
    best_engine: str | None = None
    dense_apart_p50_ms: Amount | None = None
    """The dense backbone in a process that never imported the plugin, asked in between; None in older records."""


class EngineTiming(_Part):
    """The dense backbone on one engine at one batch size; figures as in `Timing`."""

    batch: AtLeastOne
    calls: AtLeastOne
    rounds: AtLeastOne
    mean_ms: Positive
    p50_ms: Amount
    p90_ms: Amount
    p99_ms: Amount
    throughput_ips: Amount
    of_eager: Positive
    """Mean time as a fraction of eager PyTorch's, timed in turns with it in one process."""


class EngineRecord(_Part):
    """An engine that the dense backbone, BN folded, could be deployed on.

    `absent`: why it could not be timed, at all or at the batch sizes that are not among its timings. `version` is empty
    when it is not installed.
    """

    name: str
    version: str
    absent: str | None = None
    timings: tuple[EngineTiming, ...] = ()


class Latency(_Part):
    """Latency of one operating point's executor on one machine.

    The dense backbone, with BN folded, was timed in between on the same engine. `engines`: the dense backbone
    elsewhere, eager PyTorch first, in a process of their own; empty when none was asked for. `measured`: seconds since
    1970.
    """

    engine: str
    precision: str
    threads: AtLeastOne
    macs_dense: AtLeastOne
    timings: tuple[Timing, ...]
    machine: Machine
    command: str
    measured: Moment
    engines: tuple[EngineRecord, ...] = ()

    @property
    def single(self) -> Timing | None:
        """One image at a time, if that was timed."""
        return next((timing for timing in self.timings if timing.batch == 1), None)


class PointRecord(_Part):
    """One operating point on the validation and the test split."""

    name: str
    val_top1: PerCent
    test_top1: PerCent
    test_top5: PerCent
    val_macs: Amount
    macs: Macs
    layers: tuple[LayerMacs, ...]
    audited: bool = False
    """Whether executed MACs were shown to equal accounted MACs, image by image."""
    audit_images: Count = 0
    """On how many images, of both splits (in older records, of validation); 0: the method has no executor."""
    audit_difference: Amount = 0.0
    """Largest difference of the executor's logits from evaluation's, relative to the image's largest logit."""
    latency: Latency | None = None


class Tracked(_Part):
    """Where MLflow has this record.

    A `uri` of `sqlite:///mlflow.db` is the file in the results folder. `epochs` of its history and, when `complete`,
    its results and artifacts have been sent. An empty `run_id`: nothing yet.
    """

    uri: str
    run_id: str
    epochs: Count = 0
    complete: bool = False


class Record(_Part):
    """One run: what was asked, what it cost, what came out, on what."""

    schema_version: int = Field(SCHEMA_VERSION, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    run_id: str
    status: Literal["finished", "failed"]
    run: Run
    error: str | None = None
    traceback: str | None = None
    macs_dense: AtLeastOne
    """MACs of one image through the suite's dense backbone, at the suite's width."""
    budget: Budget
    history: tuple[EpochRecord, ...] = ()
    points: tuple[PointRecord, ...] = ()
    plugin: str
    """Package and version that the method came from."""
    static: bool | None = None
    """Whether the method spends the same on every image by its design. None in older records: dense does."""
    own_formulas: tuple[str, ...] = ()
    """Operators that FLOPs were counted of by a formula that neither torch nor dynbench brought: their MACs are as the
    plugin says. Empty in records from before it was noted."""
    machine: Machine
    world_size: AtLeastOne = 1
    """Processes that trained the run together, each on a device like `machine.device`, when it was finished. Each took
    recipe.batch_size / world_size images a step, which its batch statistics are of."""
    commit: str
    command: str
    started: Moment
    finished: Moment
    tracked: Tracked | None = None

    @property
    def batch_per_device(self) -> int:
        """Training images that each process took in a step."""
        return self.run.recipe.batch_size // self.world_size

    @property
    def is_static(self) -> bool:
        """Return whether the method spends the same on every image by its design."""
        return self.run.method == "dense" if self.static is None else self.static
