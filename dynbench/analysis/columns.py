"""The flat table: one row per run and operating point, one row for a failed run. A public contract.

`COLUMNS` gives order, names, dtypes, units and meanings. Columns are only ever added, at the end. Every column is
nullable: a failed run has no results, and whole numbers stay whole numbers beside the gap.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from dynbench.record.schema import Latency, PointRecord, Record, Timing

Value = str | int | float | bool | None
DType = Literal["string", "Int64", "Float64", "boolean"]


@dataclass(frozen=True)
class Entry:
    """What one row is made from; `point` is None for a failed run."""

    record: Record
    point: PointRecord | None


@dataclass(frozen=True)
class Column:
    """One column of the contract. `unit` is empty for names and counts."""

    name: str
    dtype: DType
    unit: str
    meaning: str
    value: Callable[[Entry], Value]


def _spent(value: Callable[[Record], Value]) -> Callable[[Entry], Value]:
    """A part of the budget; what a failed run had spent is not recorded, so it is empty and not 0."""
    return lambda entry: value(entry.record) if entry.record.status == "finished" else None


def _result(value: Callable[[PointRecord], Value]) -> Callable[[Entry], Value]:
    return lambda entry: None if entry.point is None else value(entry.point)


def _latency(value: Callable[[Latency], Value]) -> Callable[[Entry], Value]:
    """Of a point that was timed."""
    return _result(lambda point: value(point.latency) if point.latency and point.latency.timings else None)


def _single(value: Callable[[Timing], Value]) -> Callable[[Entry], Value]:
    """Of a point that was timed image by image."""
    return _latency(lambda latency: None if latency.single is None else value(latency.single))


def _params(entry: Entry) -> str:
    return json.dumps(entry.record.run.given, sort_keys=True, separators=(",", ":"))


COLUMNS: tuple[Column, ...] = (
    Column("suite", "string", "", "name of the suite", lambda e: e.record.run.suite),
    Column("run_id", "string", "", "id of the run: a hash of what affects its result", lambda e: e.record.run_id),
    Column("method", "string", "", "registered name of the method", lambda e: e.record.run.method),
    Column("params", "string", "JSON", "parameters that differ from the defaults, keys sorted", _params),
    Column("point", "string", "", "operating point of the trained model", _result(lambda p: p.name)),
    Column("backbone", "string", "", "name of the backbone", lambda e: e.record.run.built.name),
    Column("width", "Float64", "", "width of the backbone as built; 1: its own", lambda e: e.record.run.built.width),
    Column("dataset", "string", "", "name of the data set", lambda e: e.record.run.data.name),
    Column("seed", "Int64", "", "seed of the run", lambda e: e.record.run.seed),
    Column("status", "string", "", "finished or failed", lambda e: e.record.status),
    Column("epochs", "Int64", "epochs", "epochs trained, pretraining included", _spent(lambda r: r.budget.epochs)),
    Column(
        "train_macs",
        "Int64",
        "MACs",
        "MACs of the training, forward and backward, pretraining included",
        _spent(lambda r: r.budget.train_macs),
    ),
    Column("val_top1", "Float64", "%", "top-1 accuracy on the validation split", _result(lambda p: p.val_top1)),
    Column("test_top1", "Float64", "%", "top-1 accuracy on the test split", _result(lambda p: p.test_top1)),
    Column("test_top5", "Float64", "%", "top-5 accuracy on the test split", _result(lambda p: p.test_top5)),
    Column("macs_mean", "Float64", "MACs/image", "mean over the test images", _result(lambda p: p.macs.mean)),
    Column("macs_p50", "Float64", "MACs/image", "median over the test images", _result(lambda p: p.macs.p50)),
    Column("macs_p95", "Float64", "MACs/image", "95th percentile over the test images", _result(lambda p: p.macs.p95)),
    Column("macs_max", "Int64", "MACs/image", "costliest test image", _result(lambda p: p.macs.max)),
    Column(
        "macs_dense",
        "Int64",
        "MACs/image",
        "the suite's dense backbone, at the suite's width",
        lambda e: e.record.macs_dense,
    ),
    Column("macs_gates", "Float64", "MACs/image", "gates, mean", _result(lambda p: p.macs.gates)),
    Column(
        "audited",
        "boolean",
        "",
        "whether executed MACs were shown to equal the accounted ones, image by image",
        _result(lambda p: p.audited),
    ),
    Column("device", "string", "", "device that the run was made on", lambda e: e.record.machine.device),
    Column(
        "torch_version",
        "string",
        "",
        "version of PyTorch",
        lambda e: e.record.machine.versions.get("torch"),
    ),
    Column("commit", "string", "", "commit of dynbench, -dirty when its tree differed", lambda e: e.record.commit),
    Column("macs_backbone", "Float64", "MACs/image", "backbone, mean", _result(lambda p: p.macs.backbone)),
    Column("macs_shortcuts", "Float64", "MACs/image", "shortcuts, mean", _result(lambda p: p.macs.shortcuts)),
    Column(
        "train_seconds",
        "Float64",
        "s",
        "wall time of the training, pretraining included",
        _spent(lambda r: r.budget.seconds),
    ),
    Column(
        "train_precision", "string", "", "precision of the training as executed", lambda e: e.record.machine.precision
    ),
    Column("error", "string", "", "why the run failed", lambda e: e.record.error),
    Column("latency_ms_p50", "Float64", "ms", "one image, median of all samples", _single(lambda t: t.p50_ms)),
    Column("latency_ms_p90", "Float64", "ms", "one image, 90th percentile", _single(lambda t: t.p90_ms)),
    Column("latency_ms_p99", "Float64", "ms", "one image, 99th percentile", _single(lambda t: t.p99_ms)),
    Column(
        "dense_latency_ms_p50",
        "Float64",
        "ms",
        "one image through the dense backbone, timed in between",
        _single(lambda t: t.dense_p50_ms),
    ),
    Column("realised", "Float64", "", "saved time over saved MACs, one image", _single(lambda t: t.realised)),
    Column(
        "throughput_ips",
        "Float64",
        "images/s",
        "at the largest batch that was timed",
        _latency(lambda latency: max(latency.timings, key=lambda t: t.batch).throughput_ips),
    ),
    Column("threads", "Int64", "", "threads of the timing", _latency(lambda latency: latency.threads)),
    Column("precision", "string", "", "precision of the timing", _latency(lambda latency: latency.precision)),
    Column("engine", "string", "", "engine of the timing", _latency(lambda latency: latency.engine)),
    Column(
        "realised_best",
        "Float64",
        "",
        "as realised, against the dense backbone on best_engine",
        _single(lambda t: t.realised_best),
    ),
    Column(
        "best_engine",
        "string",
        "",
        "the engine on which the dense backbone was fastest, one image, eager PyTorch included",
        _single(lambda t: t.best_engine),
    ),
    Column(
        "epochs_pretrained",
        "Int64",
        "epochs",
        "epochs of the weights that it started from",
        _spent(lambda r: r.budget.pretrained_epochs),
    ),
    Column(
        "train_macs_pretrained",
        "Int64",
        "MACs",
        "training MACs of the weights that it started from",
        _spent(lambda r: r.budget.pretrained_train_macs),
    ),
    Column(
        "static",
        "boolean",
        "",
        "whether the method spends the same on every image by its design",
        lambda e: e.record.is_static,
    ),
    Column(
        "world_size",
        "Int64",
        "",
        "processes that trained the run together, each on its share of a step",
        lambda e: e.record.world_size,
    ),
    Column(
        "train_images_per_second",
        "Float64",
        "images/s",
        "of its own training, without validation; pretraining excluded",
        _spent(lambda r: r.budget.images_per_second),
    ),
    Column(
        "edit_macs",
        "Int64",
        "MACs",
        "MACs of edits between stages and of calibration; not among train_macs",
        _spent(lambda r: r.budget.edit_macs),
    ),
)
"""Order, names and dtypes are pinned by a test."""

DTYPES: dict[str, str] = {column.name: column.dtype for column in COLUMNS}
"""For reading the table back: `pandas.read_csv(path, dtype=DTYPES, keep_default_na=False, na_values=[""])`."""


def flat_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return the table of `records`, in their order, with the dtypes of `COLUMNS`."""
    entries = [entry for record in records for entry in _entries(record)]
    return pd.DataFrame(
        {column.name: pd.Series([column.value(e) for e in entries], dtype=column.dtype) for column in COLUMNS}
    )


def _entries(record: Record) -> Iterator[Entry]:
    if record.status == "failed":
        yield Entry(record, None)
    for point in record.points:
        yield Entry(record, point)
