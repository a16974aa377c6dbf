"""What MLflow is told of a run and its record.

Steps are epochs of the whole run, times milliseconds since 1970.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dynbench.data.catalogue import caveat
from dynbench.plan.run import Run
from dynbench.record.schema import EpochRecord, PointRecord, Record

LAST_OF_EPOCH = "seconds"
"""Metrics of an epoch are sent in order: where MLflow has this one it has the whole epoch."""


class Value(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    time: int
    step: int


class Text(NamedTuple):
    """A parameter or a tag."""

    key: str
    text: str


def milliseconds(seconds: float) -> int:
    """Return seconds since 1970 as MLflow has them."""
    return int(seconds * 1000)


def epoch_values(history: Sequence[EpochRecord], first: int) -> Iterator[Value]:
    """Yield the metrics of a run's epochs from number `first` on."""
    for step, epoch in enumerate(history[first:], start=first):
        time = milliseconds(epoch.time)
        for key in ("loss", "lr", "val_top1", "val_macs", LAST_OF_EPOCH):
            value = getattr(epoch, key)
            if value is not None:
                yield Value(key, value, time, step)


def result_values(record: Record) -> Iterator[Value]:
    """Yield the final metrics, one step after the last epoch. Points other than the first carry their names."""
    time, step = milliseconds(record.finished), len(record.history)
    yield Value("macs_dense", record.macs_dense, time, step)
    yield Value("train_macs", record.budget.train_macs, time, step)
    yield Value("epochs_pretrained", record.budget.pretrained_epochs, time, step)
    yield Value("train_macs_pretrained", record.budget.pretrained_train_macs, time, step)
    yield Value("train_seconds", record.budget.seconds, time, step)
    for index, point in enumerate(record.points):
        prefix = f"{_allowed(point.name)}/" if index else ""
        for key, value in _point_results(point):
            yield Value(prefix + key, value, time, step)


def _point_results(point: PointRecord) -> Iterator[tuple[str, float]]:
    yield "test_top1", point.test_top1
    yield "test_top5", point.test_top5
    yield "val_top1", point.val_top1
    for key, value in point.macs:
        yield f"macs_{key}", value
    single = point.latency.single if point.latency else None
    if single is not None:
        yield "latency_ms_p50", single.p50_ms
        yield "dense_latency_ms_p50", single.dense_p50_ms
        yield "realised", single.realised
        if single.realised_best is not None:
            yield "realised_best", single.realised_best


def run_parameters(run: Run) -> Iterator[Text]:
    """Yield what was asked for."""
    yield Text("run_id", run.run_id)
    yield Text("method", run.method)
    yield from _flatten("method", run.params)
    yield Text("backbone", run.backbone.name)
    yield Text("width", str(run.built.width))
    yield Text("dataset", run.data.name)
    yield Text("seed", str(run.seed))
    yield Text("epochs", str(run.recipe.epochs))
    yield from _flatten("recipe", run.recipe.model_dump(mode="json", exclude={"epochs"}))


def start_tags(run: Run) -> Iterator[Text]:
    """Yield what is known when the run starts."""
    yield Text("dynbench.kind", "run")
    yield Text("dynbench.run_id", run.run_id)
    yield Text("label", run.label)
    if warning := caveat(run.data.name):
        yield Text("dataset_caveat", f"{run.data.name}: {warning}")


def suite_tags() -> Iterator[Text]:
    """Yield the tags that tell dynbench's experiments from others."""
    yield Text("dynbench.kind", "suite")


def result_tags(record: Record) -> Iterator[Text]:
    """Status, origin, and the machine it ran on."""
    yield Text("status", record.status)
    yield Text("plugin", record.plugin)
    yield Text("commit", record.commit)
    yield Text("command", record.command)
    yield Text("world_size", str(record.world_size))
    yield from _flatten("machine", record.machine.model_dump(exclude={"versions"}))
    yield from _flatten("version", record.machine.versions)
    if record.error is not None:
        yield Text("error", record.error)


def _flatten(prefix: str, value: Any) -> Iterator[Text]:
    """Nested dicts as `prefix.key.key`; what is None is left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{_allowed(str(key))}", inner)
    elif value is not None:
        yield Text(prefix, str(value))


def _allowed(name: str) -> str:
    """`name` in the characters that MLflow takes, slashes left out."""
    return re.sub(r"[^\w\-. :]", "_", name)
